public import ByteAccess
public import Checkpoints
import Tensors

/// A file or directory with prompts in it: a training state, a saved adapter, or a whole model.
public struct PromptSource: Sendable {
    /// The path given by the caller.
    public let path: String
    /// The directory whose other files belong to it; nil for a file.
    public let directory: String?
    /// The file's tensors.
    public let checkpoint: Checkpoint
    /// `adapter_config.json`, or else `config.json`.
    public let config: AdapterConfig?
    /// The prompts in it.
    public let modules: [PromptModule]
    /// Tensors that no prompt accounts for: the rest of the model, heads.
    public let others: [StoredTensor]
    /// Whether the prompts' names had wrappers around them.
    private let isWrapped: Bool

    /// Opens a path and finds the prompts.
    ///
    /// - Throws: `.refused` with rule `PromptMissing` where there are none, and what the forms throw.
    public init(path: String) throws {
        let source = try PromptSource.open(path)
        try self.init(path: path, directory: source.directory, checkpoint: source.checkpoint, config: source.config)
        guard modules.isEmpty else { return }
        throw PeftfileError(
            .refused, "holds no prompt: neither prompt_embeddings nor the tensors of a prompt encoder", file: path,
            rule: "PromptMissing", help: "see what it is: peftfile inspect \(path.shellQuoted)")
    }

    /// Finds the prompts of an open checkpoint; there may be none.
    init(path: String, directory: String?, checkpoint: Checkpoint, config: AdapterConfig?) throws {
        self.path = path
        self.directory = directory
        self.checkpoint = checkpoint
        self.config = config
        do {
            let tensors = checkpoint.tensors.map { PromptTensor($0) }
            let found = try PromptForms.modules(among: tensors, config: config)
            let taken = Set(found.flatMap(\.tensors))
            let rest = tensors.filter { !taken.contains($0.stored) }.map(\.clean)
            modules = ControlTransform.markingInfixes(found, among: Set(rest))
        } catch let error as PeftfileError {
            throw error.inFile(path)
        }
        let claimed = Set(modules.flatMap(\.tensors))
        others = checkpoint.tensors.filter { !claimed.contains($0.name) }
        isWrapped = checkpoint.tensors.contains { claimed.contains($0.name) && PromptTensor($0).clean != $0.name }
    }

    /// The name that a tensor keeps in the source's own layout: where the prompts come out of what trainers wrap around modules,
    /// everything beside them does.
    public func cleanName(of tensor: StoredTensor) -> ExactString {
        isWrapped ? PromptTensor(tensor).clean : tensor.name
    }

    /// Whether any prompt has a reparametrization.
    public var isReparametrized: Bool { modules.contains(where: \.isReparametrized) }

    /// Weights and config of a path: PEFT's names first, then the adapters library's, then a checkpoint's.
    ///
    /// - Throws: what opening the files throws; nothing is asked of their content.
    public static func open(
        _ path: String
    ) throws -> (directory: String?, checkpoint: Checkpoint, config: AdapterConfig?) {
        guard FileSystem.isDirectory(path) else {
            return (nil, try Checkpoint.open(path), try config(in: FileSystem.directory(of: path)))
        }
        var directory = path
        if !FileSystem.exists(FileSystem.join(path, "adapter_config.json")), let inner = try? Adapter.adapterDirectory(in: path) {
            directory = inner
        }
        let config = try config(in: directory)
        for name in Adapter.weightNames where FileSystem.exists(FileSystem.join(directory, name)) {
            return (directory, try Checkpoint.open(FileSystem.join(directory, name)), config)
        }
        return (directory, try Checkpoint.open(directory), config)
    }

    static func config(in directory: String) throws -> AdapterConfig? {
        for name in ["adapter_config.json", "config.json"] {
            let path = FileSystem.join(directory, name)
            if FileSystem.isRegularFile(path) { return try AdapterConfig(path: path) }
        }
        return nil
    }
}

extension PromptSource {
    /// Elements and bytes of all tensors that belong to prompts.
    public var size: (parameters: UInt64, bytes: UInt64) {
        modules.flatMap(\.tensors).compactMap { checkpoint[$0] }.reduce((0, 0)) {
            ($0.0 + UInt64($1.info.elementCount), $0.1 + $1.byteCount)
        }
    }
}

extension PromptSource {
    /// The config.json of a base given as a directory, as a file in it, or as the file itself; nil for a name that is
    /// no path here.
    ///
    /// - Throws: `.notFound` for a directory without one.
    public static func baseConfig(at path: String) throws -> AdapterConfig? {
        guard FileSystem.exists(path) else { return nil }
        if !FileSystem.isDirectory(path), path.hasSuffix(".json"), !path.hasSuffix(".index.json") {
            return try AdapterConfig(path: path)
        }
        let directory = FileSystem.isDirectory(path) ? path : FileSystem.directory(of: path)
        let config = FileSystem.join(directory, "config.json")
        guard FileSystem.isRegularFile(config) else {
            throw PeftfileError(
                .notFound, "has no config.json, which tells layers and heads", file: directory, rule: "ConfigMissing",
                help: "give the base model's directory")
        }
        return try AdapterConfig(path: config)
    }
}
