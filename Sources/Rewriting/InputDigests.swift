import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The SHA-256 of all of an input's files and of its config. Adapters and training states are small enough to be read once more for
/// it; of a base, the receipt has sizes and headers.
struct InputDigests {
    /// In hex, by the file's name.
    private var files: [String: String] = [:]
    private var config: (name: String, digest: String)?

    /// - Parameter config: the input's config, of which the bytes count that were parsed; nil where it has none.
    init(of checkpoint: Checkpoint, config: AdapterConfig?) throws {
        for shard in checkpoint.shards { files[shard.fileName] = SHA256.hex(try shard.file.reader.sha256()) }
        if let config, let digest = config.digest { self.config = (FileSystem.fileName(of: config.path), digest) }
    }

    init(of adapter: Adapter) throws { try self.init(of: adapter.checkpoint, config: adapter.config) }

    /// As long as the digests of this input, for a receipt that is only measured.
    init(measuring checkpoint: Checkpoint, config: AdapterConfig?) {
        let digest = String(repeating: "0", count: 64)
        for shard in checkpoint.shards { files[shard.fileName] = digest }
        if let config, config.digest != nil { self.config = (FileSystem.fileName(of: config.path), digest) }
    }

    /// The input's entry of a receipt with `sha256` of each file, `config_file` and `config_sha256`.
    func added(to input: JSONValue) -> JSONValue {
        guard case .object(var object) = input else { return input }
        object["files"] = .array(
            (object["files"]?.arrayValue ?? []).map { file in
                guard case .object(var entry) = file, let name = entry["name"]?.stringValue else { return file }
                entry["sha256"] = files[name].map { .string($0) } ?? .null
                return .object(entry)
            })
        object["config_file"] = config.map { .string($0.name) } ?? .null
        object["config_sha256"] = config.map { .string($0.digest) } ?? .null
        return .object(object)
    }
}
