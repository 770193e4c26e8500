import Adapters
public import ByteAccess

/// The files of an adapter's directory.
public enum AdapterDirectory {
    /// A file, link or directory.
    public struct Entry: Sendable, Hashable {
        /// The name below the adapter's directory, with `/` between directories.
        public var name: String
        /// The path, from the caller's working directory.
        public var path: String
        /// What the entry is itself, a link not followed.
        public var kind: FileSystem.Kind

        /// The last component of the name.
        public var fileName: String { FileSystem.fileName(of: name) }
    }

    /// How deep and how far directories are listed: an adapter's directory has a few dozen files, and a hostile one shall
    /// not keep the gate busy.
    static let depthLimit = 8
    static let countLimit = 20_000

    /// All entries, a directory before its content; directories that hold an adapter of their own are not entered.
    static func entries(of directory: String) throws -> [Entry] {
        var result: [Entry] = []
        try list(directory, prefix: "", depth: 0, into: &result)
        return result
    }

    private static func list(_ directory: String, prefix: String, depth: Int, into result: inout [Entry]) throws {
        for name in try FileSystem.list(directory) {
            let path = FileSystem.join(directory, name)
            guard let kind = FileSystem.kind(of: path, followingLinks: false) else { continue }
            guard result.count < countLimit else {
                throw NotChecked("\(directory.printable) holds more than \(countLimit) files")
            }
            result.append(Entry(name: prefix + name, path: path, kind: kind))
            if kind == .directory, name != ".git", !isAdapter(path) {
                guard depth < depthLimit else { throw NotChecked("\(path.printable) is nested too deeply") }
                try list(path, prefix: "\(prefix)\(name)/", depth: depth + 1, into: &result)
            }
        }
    }

    /// The names that adapter weights have, in the order in which loaders look for them: PEFT's, the adapters library's, MLX's
    /// and diffusers'.
    static let weightNames = [
        "adapter_model.safetensors", "adapter_model.safetensors.index.json", "adapter_model.bin", "adapter.safetensors",
        "pytorch_adapter.bin", "adapters.safetensors", "adapters.npz", "pytorch_lora_weights.safetensors",
        "pytorch_lora_weights.bin",
    ]

    /// Whether a directory holds an adapter, whole or not.
    static func isAdapter(_ directory: String) -> Bool {
        (["adapter_config.json"] + weightNames).contains { FileSystem.exists(FileSystem.join(directory, $0)) }
    }

    /// Whether the adapters below it are parts of the one in this directory, as its method says.
    static func hasInnerAdapters(_ directory: String) -> Bool {
        guard let config = try? AdapterConfig(path: FileSystem.join(directory, "adapter_config.json")),
            let type = config.peftType
        else { return false }
        return MethodRegistry.method(named: type)?.hasInnerAdapters ?? false
    }

    /// The tensors of a directory: under one of the known names, or the only file that can hold any.
    static func weights(in directory: String) -> WeightsState {
        if let name = weightNames.first(where: { FileSystem.exists(FileSystem.join(directory, $0)) }) {
            return .opening(FileSystem.join(directory, name))
        }
        let names = ((try? FileSystem.list(directory)) ?? []).filter { name in
            [".safetensors", ".gguf", ".npz"].contains(where: name.hasSuffix)
        }
        if names.count == 1 { return .opening(FileSystem.join(directory, names[0])) }
        return (try? TrainingStates(in: directory).only()).map { .opening($0) } ?? .missing
    }
}
