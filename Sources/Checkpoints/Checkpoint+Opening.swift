import ByteAccess
import Containers

extension Checkpoint {
    /// The longest `config.json` that is read, in bytes.
    static let configLimit: UInt64 = 1 << 26

    /// Opens a checkpoint.
    ///
    /// - Parameter path: a file of tensors of any container, a shard index (both told by content), or a directory with one checkpoint
    ///   (`CheckpointDirectory` says which).
    ///
    /// Quantised weights appear under their plain names (`Quantisation`).
    ///
    /// Throws what opening the files throws, with an `IndexRule` where index, shards or directory break a rule.
    public static func open(_ path: String) throws -> Checkpoint { try openStored(path).dequantised() }

    /// Opens a checkpoint with its tensors as they are stored.
    public static func openStored(_ path: String) throws -> Checkpoint {
        if FileSystem.isDirectory(path) {
            switch try CheckpointDirectory(path).choice() {
            case .file(let name): return try openFile(FileSystem.join(path, name), given: path, directory: path)
            case .index(let name): return try openIndex(name, in: path, given: path)
            }
        }
        do {
            return try openFile(path, given: path, directory: nil)
        } catch let error as PeftfileError where error.rule == ForeignFile.json.rule {
            return try openIndex(FileSystem.fileName(of: path), in: FileSystem.directory(of: path), given: path)
        }
    }

    private static func openFile(_ file: String, given path: String, directory: String?) throws -> Checkpoint {
        try Checkpoint(
            path: path, directory: directory,
            shards: [Shard(fileName: FileSystem.fileName(of: file), file: ContainerKind.open(file))], index: nil,
            indexFileName: nil, config: config(in: FileSystem.directory(of: file)))
    }

    private static func openIndex(_ name: String, in directory: String, given path: String) throws -> Checkpoint {
        let indexPath = FileSystem.join(directory, name)
        let index = try ShardIndex.open(indexPath)
        if let missing = index.shardNames.first(where: { !FileSystem.exists(FileSystem.join(directory, $0)) }) {
            throw IndexRule.missingShard.broken(
                "the shard \(missing) is named and not there", file: indexPath,
                help: "the checkpoint is not complete: fetch \(missing)")
        }
        return try Checkpoint(
            path: path, directory: directory, shards: openShards(index.shardNames, in: directory), index: index,
            indexFileName: name, config: config(in: directory))
    }

    /// Opens the shards, several at a time: reading headers is mostly parsing.
    private static func openShards(_ names: [String], in directory: String) throws -> [Shard] {
        let slots = ShardSlots(count: names.count)
        try parallelForEach(count: names.count, jobs: Machine.availableCores) { number in
            slots[number] = Shard(
                fileName: names[number], file: try ContainerKind.open(FileSystem.join(directory, names[number])))
        }
        return slots.shards
    }

    /// `config.json` in a directory, in the dialect that Python writes; nil where there is none.
    static func config(in directory: String) throws -> JSONObject? {
        let path = FileSystem.join(directory, "config.json")
        guard FileSystem.isRegularFile(path) else { return nil }
        let bytes = try FileReader(path: path).allBytes(limit: configLimit)
        guard case .object(let object) = try JSONValue.parse(bytes, file: path, allowing: .python) else {
            throw PeftfileError(.malformed, "is not a JSON object", file: path, rule: "InvalidJSON")
        }
        return object
    }
}
