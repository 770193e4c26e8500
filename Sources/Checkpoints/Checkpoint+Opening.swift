import ByteAccess
import Containers

extension Checkpoint {
    /// The longest `config.json` that is read, in bytes.
    static let configLimit: UInt64 = 1 << 26

    /// Opens a checkpoint.
    ///
    /// - Parameters:
    ///   - path: a file of tensors of any container, a shard index (both told by content), or a directory with one
    ///     checkpoint (`CheckpointDirectory` says which).
    ///   - entire: whether a training checkpoint is taken with all its tensors, under their full names; otherwise the
    ///     model in it is taken, and `notes` says so.
    ///
    /// Quantised weights appear under their plain names (`Quantisation`), and the tensors of a GGUF model under the Hub's
    /// (`GGUFModel`), unless the file is taken entire.
    ///
    /// Throws what opening the files throws, with an `IndexRule` where index, shards or directory break a rule.
    public static func open(_ path: String, entire: Bool = false) throws -> Checkpoint {
        let stored = try openStored(path, entire: entire)
        return entire ? stored.dequantised() : stored.asModel()
    }

    /// Opens a checkpoint with its tensors as they are stored.
    ///
    /// - Throws: `.notFound` where there is no such file, the directory holds no checkpoint, or a shard is not there (`MissingShard`);
    ///   `.refused` for a directory with several checkpoints (`AmbiguousCheckpoint`) or with shards and no index (`MissingIndex`);
    ///   `.unsupported` for one that holds only weights in other formats; `.malformed` with an `IndexRule` where an index breaks a rule
    ///   or disagrees with its shards, with `InvalidJSON` or `InvalidUTF8` where config.json is no JSON object; what
    ///   `ContainerKind.open` throws for each file; `.interrupted` where a signal stops the opening of shards.
    public static func openStored(_ path: String, entire: Bool = false) throws -> Checkpoint {
        if FileSystem.isDirectory(path) {
            switch try CheckpointDirectory(path).choice() {
            case .file(let name): return try openFile(FileSystem.join(path, name), given: path, directory: path, entire: entire)
            case .index(let name): return try openIndex(name, in: path, given: path, entire: entire)
            }
        }
        do {
            return try openFile(path, given: path, directory: nil, entire: entire)
        } catch let error as PeftfileError where error.rule == ForeignFile.json.rule {
            return try openIndex(FileSystem.fileName(of: path), in: FileSystem.directory(of: path), given: path, entire: entire)
        }
    }

    private static func openFile(
        _ file: String, given path: String, directory: String?, entire: Bool
    ) throws -> Checkpoint {
        let opened = try ContainerKind.open(file)
        var shards = [Shard(fileName: FileSystem.fileName(of: file), file: opened)]
        if let gguf = opened as? GGUFFile, gguf.value("split.count")?.intValue ?? 1 > 1 { shards = try parts(of: file) }
        let notes = entire ? [] : takeModels(&shards)
        return try Checkpoint(
            path: path, directory: directory, shards: shards, index: nil, indexFileName: nil,
            config: config(in: FileSystem.directory(of: file)), notes: notes)
    }

    /// All files of a split GGUF model, by the name of one.
    private static func parts(of file: String) throws -> [Shard] {
        let directory = FileSystem.directory(of: file)
        let names = GGUFFileNames.all(of: FileSystem.fileName(of: file))
        guard names.count > 1 else {
            throw IndexRule.missingShard.broken(
                "is one of several parts of a model, and its name does not say which", file: file,
                help: "parts are named NAME-00001-of-00003.gguf")
        }
        if let missing = names.first(where: { !FileSystem.exists(FileSystem.join(directory, $0)) }) {
            throw IndexRule.missingShard.broken(
                "the part \(missing) is not there", file: file, help: "the model is not complete: fetch \(missing)")
        }
        return try openShards(names, in: directory)
    }

    /// Puts the model in place of each training checkpoint that holds one.
    private static func takeModels(_ shards: inout [Shard]) -> [String] {
        var notes: [String] = []
        for (number, shard) in shards.enumerated() {
            guard let part = shard.file.modelPart else { continue }
            let rest = shard.file.tensors.count - part.file.tensors.count
            notes.append(
                "\(shard.fileName.printable) is a training checkpoint: the \(part.file.tensors.count) tensors under "
                    + "\"\(part.key.text)\" are its model" + (rest > 0 ? ", \(rest) others are left out: \(named(shard, without: part.key))" : ""))
            shards[number] = Shard(fileName: shard.fileName, file: part.file)
        }
        return notes
    }

    /// The first names that do not stand under a key.
    private static func named(_ shard: Shard, without key: ExactString) -> String {
        let others = shard.file.tensors.lazy.map(\.name.text).filter { !$0.hasPrefix(key.text + ".") }
        let first = others.prefix(4).map(\.printable)
        return first.prefix(3).joined(separator: ", ") + (first.count > 3 ? ", …" : "")
    }

    private static func openIndex(
        _ name: String, in directory: String, given path: String, entire: Bool
    ) throws -> Checkpoint {
        let indexPath = FileSystem.join(directory, name)
        let index = try ShardIndex.open(indexPath)
        if let missing = index.shardNames.first(where: { !FileSystem.exists(FileSystem.join(directory, $0)) }) {
            throw IndexRule.missingShard.broken(
                "the shard \(missing) is named and not there", file: indexPath,
                help: "the checkpoint is not complete: fetch \(missing)")
        }
        var shards = try openShards(index.shardNames, in: directory)
        let notes = entire ? [] : takeModels(&shards)
        return try Checkpoint(
            path: path, directory: directory, shards: shards, index: index, indexFileName: name,
            config: config(in: directory), notes: notes)
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
        // A link that leads nowhere, as a careless copy of the Hub's cache has them, is an error and not a model without a config.
        guard FileSystem.exists(path) else { return nil }
        let bytes = try FileReader(path: path).allBytes(limit: configLimit)
        guard case .object(let object) = try JSONValue.parse(bytes, file: path, allowing: .python) else {
            throw PeftfileError(.malformed, "is not a JSON object", file: path, rule: "InvalidJSON")
        }
        return object
    }
}
