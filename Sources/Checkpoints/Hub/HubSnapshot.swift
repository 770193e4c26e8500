public import ByteAccess

/// One commit of a repository as the cache holds it, which may be less than the commit has.
public struct HubSnapshot: Sendable {
    /// The repository and revision that were asked for.
    public let id: HubID
    /// 40 hex digits.
    public let commit: String
    /// The directory with the files.
    public let directory: String
    let repository: String

    /// What a command is going to read.
    public enum Need: Sendable {
        /// The config alone.
        case config
        /// Weights and configs.
        case weights
        /// And the files that a merged directory takes along: tokenizer, templates, licence.
        case everything
    }

    /// Where the caller finds what the id names.
    public var path: String { id.path.map { FileSystem.join(directory, $0) } ?? directory }

    /// Holds the snapshot against what the commit has: by the cached listing of its files where there is one, else by
    /// links without a file and by the shards that an index names.
    ///
    /// - Throws: `HubSnapshotIncomplete`, with every file that is missing and the command that fetches them.
    public func requireComplete(_ need: Need) throws {
        if let inner = id.path {
            guard FileSystem.kind(of: path) == nil else { return }
            throw incomplete([inner], of: "the file asked for is")
        }
        if let tree = HubTree(repository: repository, commit: commit) {
            let missing = tree.files.filter { file in
                HubSnapshot.isNeeded(file.name, need, among: tree.files.map(\.name)) && !isPresent(file)
            }.map(\.name)
            guard missing.isEmpty else {
                throw incomplete(missing, of: "\(missing.count) of its \(tree.files.count) files \(missing.count == 1 ? "is" : "are")")
            }
            return try requireWeights(need, listed: tree.files.map(\.name).filter { !$0.contains("/") && HubSnapshot.mayBeWeights($0) })
        }
        let names = try FileSystem.list(directory)
        var missing = names.filter { FileSystem.kind(of: FileSystem.join(directory, $0)) == nil }
        for name in names where name.hasSuffix(".safetensors.index.json") && !missing.contains(name) {
            let index = try ShardIndex.open(FileSystem.join(directory, name))
            missing += index.shardNames.filter { !FileSystem.exists(FileSystem.join(directory, $0)) }
        }
        guard missing.isEmpty else {
            throw incomplete(missing.sorted(), of: "\(missing.count) file\(missing.count == 1 ? " is" : "s are")")
        }
        try requireWeights(need, listed: [])
    }

    /// A snapshot without any file of weights is one of which only configs or tokenizers were fetched. What lies in folders is
    /// left to whoever opens them.
    private func requireWeights(_ need: Need, listed: [String]) throws {
        guard need != .config else { return }
        let names = try FileSystem.list(directory)
        guard !names.contains(where: { HubSnapshot.mayBeWeights($0) || FileSystem.isDirectory(FileSystem.join(directory, $0)) }) else { return }
        guard listed.isEmpty else { throw incomplete(listed, of: "\(listed.count == 1 ? "its file of weights is" : "its files of weights are")") }
        throw PeftfileError(
            .notFound, "no file of weights is in the cache at commit \(commit.prefix(8)) (\(directory)); it has "
                + (names.isEmpty ? "none at all" : names.joined(separator: ", ")),
            file: id.description, rule: "HubSnapshotIncomplete", help: id.downloadCommand())
    }

    private static func mayBeWeights(_ name: String) -> Bool {
        TorchFileNames.mayBeWeights(name) || name.hasSuffix(GGUFFileNames.ending) || CheckpointDirectory.isIndex(name)
    }

    private func isPresent(_ file: HubTree.File) -> Bool {
        let path = FileSystem.join(directory, file.name)
        guard FileSystem.isRegularFile(path), let reader = try? FileReader(path: path) else { return false }
        return reader.size == file.size
    }

    private func incomplete(_ missing: [String], of what: String) -> PeftfileError {
        let isInterrupted = ((try? FileSystem.list(FileSystem.join(repository, "blobs"))) ?? [])
            .contains { $0.hasSuffix(".incomplete") }
        return PeftfileError(
            .notFound, "\(what) not in the cache at commit \(commit.prefix(8))\(isInterrupted ? ", where a download was broken off" : ""): "
                + missing.joined(separator: ", "),
            file: id.description, rule: "HubSnapshotIncomplete", help: id.downloadCommand(missing))
    }

    /// Whether a file of a listing is one that a command reads: of several formats of the weights the one that
    /// `CheckpointDirectory` prefers.
    static func isNeeded(_ name: String, _ need: Need, among all: [String]) -> Bool {
        if name == "config.json" || name == "adapter_config.json" { return true }
        guard need != .config else { return false }
        if let rank = formatRank(name) { return rank == all.compactMap(formatRank).min() }
        return need == .everything && SidecarFiles.isSidecar(name)
    }

    /// The order in which formats of weights are preferred; nil for what is none of the usual files of weights.
    private static func formatRank(_ name: String) -> Int? {
        let suffixes = [".safetensors.index.json", ".safetensors", ".bin.index.json", ".bin"]
        guard let place = suffixes.firstIndex(where: name.hasSuffix), !name.contains("/") else { return nil }
        let stem = name.dropLast(suffixes[place].count)
        let names = ["model", "adapter_model", "pytorch_model"]
        let isUsual = names.contains { stem == $0 } || names.contains { prefix in
            // model-00001-of-00003
            stem.hasPrefix(prefix + "-") && stem.dropFirst(prefix.count + 1).allSatisfy { $0.isNumber || "-of".contains($0) }
        }
        return isUsual ? place / 2 : nil
    }
}

/// The listing of a commit's files that huggingface_hub keeps beside snapshots.
///
///     {"format_version": 1, "files": {"config.json": {"size": 519, "blob_id": "<git sha1>"},
///                                     "model.safetensors": {"size": …, "lfs_sha256": "<sha256>", …}}}
///
/// Source: huggingface_hub/_tree_cache.py.
struct HubTree {
    struct File {
        var name: String
        var size: UInt64
        /// The name of its content.
        var digest: SnapshotCheck.Digest?
    }

    let files: [File]

    /// Nil where the cache has no listing, one of a later version, or one that cannot be read: huggingface_hub fetches such a
    /// listing anew and goes by what is there meanwhile (`_read_tree_cache_from_disk`).
    init?(repository: String, commit: String) {
        let path = FileSystem.join(FileSystem.join(repository, "trees"), commit + ".json")
        guard FileSystem.isRegularFile(path), let bytes = try? FileReader(path: path).allBytes(limit: 1 << 26),
            let document = try? JSONValue.parse(bytes, file: path, allowing: .python),
            document["format_version"]?.intValue == 1, let members = document["files"]?.objectValue?.members
        else { return nil }
        files = members.compactMap { member in
            guard let size = member.value["size"]?.uint64Value, let blob = member.value["blob_id"]?.stringValue else { return nil }
            let hash = member.value["lfs_sha256"]?.stringValue ?? blob
            return File(name: member.key.text, size: size, digest: SnapshotCheck.Digest(hash))
        }
        guard files.count == members.count else { return nil }
    }
}
