public import ByteAccess
public import Checkpoints
public import Tensors

/// An adapter: its tensors under canonical keys, and its config.
public struct Adapter: Sendable {
    /// The path given by the caller.
    public let path: String
    /// The directory that holds the config, where there is one.
    public let directory: String?
    /// The tensors as stored.
    public internal(set) var checkpoint: Checkpoint
    /// `adapter_config.json`; nil for a bare file.
    public internal(set) var config: AdapterConfig?
    /// The stored tensors, in file order, each with its key taken apart.
    public internal(set) var keys: [AdapterKey]
    /// Tensors that hold the same bytes as another under a second spelling of its name; PEFT stores resized embeddings
    /// that way.
    public private(set) var copies: [ExactString]
    /// What the reader had to overlook or undo, in words.
    public internal(set) var warnings: [String]
    /// The training state that the adapter was taken out of, where its file holds the base's frozen weights too.
    public internal(set) var wholeState: WholeState?
    /// The convention that names, layouts and scales follow, where it is not PEFT's.
    var dialect: (any Dialect)?
    /// What the dialect's tensors are in terms of the stored ones, by name.
    var views: [ExactString: TensorView] = [:]
    /// The method of a part that a dialect cut out; nil where the config names it.
    var method: (any AdapterMethod)?

    /// Opens an adapter directory, or a file of tensors with or without a config beside it.
    ///
    /// A directory without a config of its own but with a single subdirectory that has one is an adapter saved under a
    /// name other than `default`.
    ///
    /// - Throws: `.refused` with rule `SeveralAdapters` for a directory that only has several adapters below it, `ConfigMissing` for
    ///   one that holds none, and `AmbiguousKey` where two names mean one tensor and hold different values; `.notFound` with rule
    ///   `AdapterWeightsMissing` for a directory with a config and no weights; what listing the directory and reading such tensors
    ///   throws; and what ``AdapterConfig/init(path:)`` and `Checkpoint.open` throw.
    public init(path: String) throws {
        self.path = path
        var warnings: [String] = []
        if FileSystem.isDirectory(path) {
            let directory = try Adapter.adapterDirectory(in: path)
            if directory != path {
                warnings.append("the adapter is read from its subdirectory \(FileSystem.fileName(of: directory))")
            }
            self.directory = directory
            // The config comes first: without it a directory is an adapter only if its one file is in a dialect.
            config = try Adapter.configPath(in: directory).map { try AdapterConfig(path: $0) }
            checkpoint = try Adapter.openTensors(in: directory, warnings: &warnings)
        } else {
            checkpoint = try Checkpoint.open(path)
            let parent = FileSystem.directory(of: path)
            let configPath = Adapter.isStranger(path) ? nil : Adapter.configPath(in: parent)
            directory = configPath.map { _ in parent }
            config = try configPath.map { try AdapterConfig(path: $0) }
        }
        dialect = DialectRegistry.dialect(of: DialectFile(path: path, checkpoint: checkpoint, config: config))
        if dialect != nil {
            keys = checkpoint.tensors.map { AdapterKey(stored: $0.name, module: $0.name, component: nil, leaf: "") }
            copies = []
            self.warnings = warnings + checkpoint.notes
            return
        }
        (keys, copies) = try Adapter.keys(of: checkpoint, path: path)
        try WholeState.requireOneModel(keys, path: path)
        if let state = WholeState(checkpoint, keys: keys, config: config) {
            (keys, checkpoint, wholeState) = (state.keys, state.adapterCheckpoint, state)
        }
        if !keys.isEmpty, keys.allSatisfy({ !$0.hadPrefix }), config?.peftType != nil, !keys.contains(where: \.isPrompt) {
            warnings.append(
                "no key starts with base_model.model.: PEFT itself loads none of these tensors")
        }
        self.warnings = warnings + checkpoint.notes
    }

    /// Whether `path` looks like an adapter: a directory with `adapter_config.json`, or a file beside one whose keys
    /// carry an adapter's suffixes.
    public static func isAdapter(_ path: String) -> Bool {
        if FileSystem.isDirectory(path) { return (try? adapterDirectory(in: path)) != nil }
        guard let checkpoint = try? Checkpoint.open(path) else { return false }
        return checkpoint.tensors.contains { AdapterKey($0.info.name).component != nil }
            || DialectRegistry.dialect(of: DialectFile(path: path, checkpoint: checkpoint, config: nil)) != nil
    }

    /// Whether a file stands beside the weights of an adapter and is in another library's dialect: the config there is not its own.
    public static func isStranger(_ path: String) -> Bool {
        let parent = FileSystem.directory(of: path)
        guard !weightNames.contains(FileSystem.fileName(of: path)),
            weightNames.contains(where: { FileSystem.exists(FileSystem.join(parent, $0)) }),
            // MLX' own config stands for all its files.
            let config = configPath(in: parent).flatMap({ try? AdapterConfig(path: $0) }), config.peftType != nil,
            let checkpoint = try? Checkpoint.open(path)
        else { return false }
        return DialectRegistry.dialect(of: DialectFile(path: path, checkpoint: checkpoint, config: nil)) != nil
    }

    /// Whether a pair called lora_A and lora_B may be several pairs in one, so that the two ranks differ.
    public var stacksFactors: Bool { dialect?.stacksFactors ?? false }

    /// Whether an update of the input embedding is one of the output head too, where the model ties the two: mlx-lm computes the head by
    /// the embedding, and with `ensure_weight_tying` PEFT builds the head's adapter from the embedding's, whether or not it is stored.
    public var movesTiedHead: Bool { dialect?.movesTiedHead ?? (config?["ensure_weight_tying"]?.boolValue == true) }

    /// Whether a module of this path is an embedding although its factors have a linear layer's names.
    public func isEmbedding(_ module: ExactString) -> Bool { dialect?.isEmbedding(module) ?? false }

    /// The adapter as if these tensors had their dimensions the other way round: for whoever asks what would fit.
    public func turning(_ tensors: Set<ExactString>) -> Adapter {
        var copy = self
        copy.checkpoint = checkpoint.turning(tensors)
        return copy
    }

    /// The tensor called `name`, as the method sees it.
    public func tensor(_ name: ExactString) -> TensorInfo? { views[name]?.info ?? checkpoint[name]?.info }

    /// The same with names as PEFT has them: where a base shows that they only look like a dialect's.
    ///
    /// - Throws: `.refused` where two names mean one tensor with other values; what reading these throws.
    func withoutDialect() throws -> Adapter {
        var copy = self
        copy.dialect = nil
        (copy.keys, copy.copies) = try Adapter.keys(of: checkpoint, path: path)
        return copy
    }

    /// Takes the names apart. Two that mean the same tensor must hold the same values.
    private static func keys(of checkpoint: Checkpoint, path: String) throws -> ([AdapterKey], [ExactString]) {
        var keys: [AdapterKey] = []
        keys.reserveCapacity(checkpoint.tensors.count)
        var copies: [ExactString] = []
        var adapterName: String?
        var seen: [ExactString: StoredTensor] = [:]
        for tensor in checkpoint.tensors {
            let key = AdapterKey(tensor.info.name).sharing(keys.last)
            if let name = key.adapterName {
                guard name == adapterName ?? name else {
                    throw PeftfileError(
                        .refused, "is of an adapter \(name.printable), and others are of \((adapterName ?? "").printable): the file holds several, as memory does",
                        file: path, tensor: key.stored, rule: "SeveralAdapters",
                        help: "save each for itself: model.save_pretrained(DIRECTORY, selected_adapters=[\"\(name.printable)\"])")
                }
                adapterName = name
            }
            guard let other = seen[key.canonical] else {
                seen[key.canonical] = tensor
                keys.append(key)
                continue
            }
            guard other.dtype == tensor.dtype, other.shape == tensor.shape,
                try checkpoint.read(other) == checkpoint.read(tensor)
            else {
                throw PeftfileError(
                    .refused, "means the same as \"\(other.name.text.printable)\" and holds other values", file: path,
                    tensor: key.stored, rule: "AmbiguousKey", help: "keep one of the two")
            }
            copies.append(key.stored)
        }
        return (keys, copies)
    }

    /// `adapter_config.json`, or OpenDelta's `config.json`, which names a `delta_type`; a model's own config does not.
    static func configPath(in directory: String) -> String? {
        let own = FileSystem.join(directory, "adapter_config.json")
        if FileSystem.exists(own) { return own }
        let other = FileSystem.join(directory, "config.json")
        guard FileSystem.isRegularFile(other), (try? AdapterConfig(path: other))?["delta_type"] != nil else { return nil }
        return other
    }

    /// The directory with the config: `path` itself, or its one subdirectory that has one.
    static func adapterDirectory(in path: String) throws -> String {
        if configPath(in: path) != nil || dialectFile(in: path) != nil { return path }
        let inner = try FileSystem.list(path).filter {
            FileSystem.exists(FileSystem.join(FileSystem.join(path, $0), "adapter_config.json"))
        }
        if inner.count == 1 { return FileSystem.join(path, inner[0]) }
        if inner.count > 1 {
            throw PeftfileError(
                .refused, "holds \(inner.count) adapters: \(inner.joined(separator: ", "))", file: path,
                rule: "SeveralAdapters", help: "name one: \(FileSystem.join(path, inner[0]))")
        }
        if let parts = DistributedCheckpoint(at: path) { throw parts.refusal(of: path) }
        let isModel = FileSystem.exists(FileSystem.join(path, "config.json"))
        throw PeftfileError(
            .refused, isModel ? "is a model and no adapter: it has no adapter_config.json" : "has no adapter_config.json",
            file: path, rule: "ConfigMissing",
            help: isModel
                ? "give the directory of an adapter, which PEFT's save_pretrained writes"
                : "copy the config that PEFT wrote beside the weights, or give the .safetensors file itself with --scale")
    }

    /// The names that adapter weights have, PEFT's before those of the adapters library.
    static let weightNames = [
        "adapter_model.safetensors", "adapter_model.safetensors.index.json", "adapter.safetensors",
        "adapters.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin", "pytorch_adapter.bin",
        "pytorch_lora_weights.bin", "adapters.npz",
    ]

    /// The one file of a directory without a config, if it is in a dialect.
    static func dialectFile(in directory: String) -> String? {
        guard let names = try? FileSystem.list(directory).filter({ TorchFileNames.mayBeWeights($0) || $0.hasSuffix(".gguf") }) else {
            return nil
        }
        let likely = names.filter { $0 == "pytorch_lora_weights.safetensors" || $0 == "adapters.safetensors" }
        guard let name = likely.first ?? (names.count == 1 ? names.first : nil) else { return nil }
        let path = FileSystem.join(directory, name)
        guard let checkpoint = try? Checkpoint.open(path) else { return nil }
        let file = DialectFile(path: path, checkpoint: checkpoint, config: nil)
        return DialectRegistry.dialect(of: file).map { _ in path }
    }

    /// torchtune's file beside PEFT's config: `adapter_N.pt` of an epoch, or `adapter_model.pt`.
    ///
    /// Source: `ADAPTER_MODEL_FNAME` and `save_checkpoint` in torchtune/training/checkpointing/_checkpointer.py.
    private static func torchtuneFile(in directory: String) throws -> String? {
        let config = try configPath(in: directory).map { try AdapterConfig(path: $0) }
        let names = try FileSystem.list(directory).filter { $0.hasPrefix("adapter_") && $0.hasSuffix(".pt") }
        let paths = names.map { FileSystem.join(directory, $0) }.filter { path in
            guard let checkpoint = try? Checkpoint.open(path) else { return false }
            return DialectRegistry.dialect(of: DialectFile(path: path, checkpoint: checkpoint, config: config)) != nil
        }
        guard paths.count < 2 else {
            throw PeftfileError(
                .refused, "holds \(paths.count) adapters: \(paths.map { FileSystem.fileName(of: $0).printable }.joined(separator: ", "))",
                file: directory, rule: "SeveralAdapters", help: "name one: \(paths[paths.count - 1].shellQuoted)")
        }
        return paths.first
    }

    private static func openTensors(in directory: String, warnings: inout [String]) throws -> Checkpoint {
        for name in weightNames {
            let path = FileSystem.join(directory, name)
            if FileSystem.exists(path) { return try Checkpoint.open(path) }
        }
        // PEFT's config says nothing of llama.cpp's file, which people keep beside it.
        if let path = dialectFile(in: directory), configPath(in: directory) == nil || path.hasSuffix(".gguf") {
            return try Checkpoint.open(path)
        }
        if let path = try torchtuneFile(in: directory) { return try Checkpoint.open(path) }
        // OpenDelta's directory is laid out as a model's.
        if !FileSystem.exists(FileSystem.join(directory, "adapter_config.json")) { return try Checkpoint.open(directory) }
        let path = try TrainingStates(in: directory).only()
        warnings.append("the adapter is read from \(FileSystem.fileName(of: path).printable), the one training state beside the config")
        return try Checkpoint.open(path)
    }
}
