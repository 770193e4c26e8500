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

    /// Holds the snapshot, or the folder of it that the id names, against what the commit has: by the cached listing of its files
    /// where there is one, else by links without a file and by the shards that an index names.
    ///
    /// - Throws: `HubSnapshotIncomplete`, with every file that is missing or cut short and the command that fetches them.
    public func requireComplete(_ need: Need) throws {
        let tree = HubTree(repository: repository, commit: commit)
        if let inner = id.path, !FileSystem.isDirectory(path) { return try requireFile(inner, tree) }
        let prefix = id.path.map { $0 + "/" } ?? ""
        var lack = Lack(prefix: prefix)
        guard let tree else {
            let names = try FileSystem.list(path)
            lack.missing = names.filter { FileSystem.kind(of: FileSystem.join(path, $0)) == nil }
            for name in names where name.hasSuffix(".safetensors.index.json") && !lack.missing.contains(name) {
                let index = try ShardIndex.open(FileSystem.join(path, name))
                lack.missing += index.shardNames.filter { !names.contains($0) }
            }
            guard lack.isEmpty else { throw incomplete(lack, of: nil) }
            return try requireWeights(need, listed: [], prefix)
        }
        let files = tree.files.filter { $0.name.hasPrefix(prefix) }
        let names = files.map { String($0.name.dropFirst(prefix.count)) }
        for (file, name) in zip(files, names) where HubSnapshot.isNeeded(name, need, among: names) { lack.add(name, presence(of: file)) }
        guard lack.isEmpty else { throw incomplete(lack, of: files.count) }
        try requireWeights(need, listed: names.filter { !$0.contains("/") && HubSnapshot.mayBeWeights($0) }, prefix)
    }

    /// A path inside that leads to no directory: a file, or what was never fetched.
    private func requireFile(_ inner: String, _ tree: HubTree?) throws {
        var lack = Lack(prefix: "")
        if let file = tree?.files.first(where: { $0.name == inner }) {
            lack.add(inner, presence(of: file))
        } else if FileSystem.kind(of: path) == nil {
            let below = tree?.files.map(\.name).filter { $0.hasPrefix(inner + "/") } ?? []
            guard tree == nil || !below.isEmpty else {
                throw PeftfileError(
                    .notFound, "commit \(commit.prefix(8)) has no file or folder of this name", file: place, rule: "HubPath",
                    help: "check the path in the repository")
            }
            lack.missing = below.isEmpty ? [inner] : below
        }
        guard !lack.isEmpty else { return }
        guard tree == nil, !HubSnapshot.mayBeWeights(inner), !inner.hasSuffix(".json") else { throw incomplete(lack, of: nil) }
        // A name that may be a folder's: the pattern fetches what is below it, and the file of that name.
        throw incomplete(lack, of: nil, help: id.downloadCommand(including: inner + "*"))
    }

    /// Whether a file of the listing is there with all of its bytes.
    private enum Presence { case whole, missing, cut(has: UInt64, of: UInt64) }

    private func presence(of file: HubTree.File) -> Presence {
        let path = FileSystem.join(directory, file.name)
        guard FileSystem.isRegularFile(path), let reader = try? FileReader(path: path) else { return .missing }
        return reader.size == file.size ? .whole : .cut(has: reader.size, of: file.size)
    }

    /// What a folder of a snapshot lacks.
    private struct Lack {
        /// The folder's path with a slash behind it; empty for the snapshot itself.
        let prefix: String
        var missing: [String] = []
        var cut: [(name: String, has: UInt64, of: UInt64)] = []
        var isEmpty: Bool { missing.isEmpty && cut.isEmpty }

        mutating func add(_ name: String, _ presence: Presence) {
            switch presence {
            case .whole: break
            case .missing: missing.append(name)
            case .cut(let has, let size): cut.append((name, has, size))
            }
        }
    }

    /// A snapshot without any file of weights is one of which only configs or tokenizers were fetched. What lies in folders is
    /// left to whoever opens them.
    private func requireWeights(_ need: Need, listed: [String], _ prefix: String) throws {
        guard need != .config else { return }
        let names = try FileSystem.list(path)
        guard !names.contains(where: { HubSnapshot.mayBeWeights($0) || FileSystem.isDirectory(FileSystem.join(path, $0)) }) else { return }
        guard listed.isEmpty else {
            throw incomplete(
                Lack(prefix: prefix, missing: listed), of: nil, what: listed.count == 1 ? "its file of weights is" : "its files of weights are")
        }
        throw PeftfileError(
            .notFound, "no file of weights is in the cache at commit \(commit.prefix(8)) (\(path)); it has "
                + (names.isEmpty ? "none at all" : names.joined(separator: ", ")),
            file: place, rule: "HubSnapshotIncomplete", help: prefix.isEmpty ? id.downloadCommand() : id.downloadCommand(including: prefix + "*"))
    }

    private static func mayBeWeights(_ name: String) -> Bool {
        TorchFileNames.mayBeWeights(name) || name.hasSuffix(GGUFFileNames.ending) || CheckpointDirectory.isIndex(name)
    }

    /// The id with the path inside it.
    private var place: String { id.path.map { "\(id)/\($0)" } ?? id.description }

    /// - Parameter count: the files that the listing has there; nil where there is none.
    private func incomplete(_ lack: Lack, of count: Int?, what: String? = nil, help: String? = nil) -> PeftfileError {
        var parts: [String] = []
        let missing = lack.missing.sorted()
        if !missing.isEmpty {
            let isInterrupted = ((try? FileSystem.list(FileSystem.join(repository, "blobs"))) ?? [])
                .contains { $0.hasSuffix(".incomplete") }
            let verb = missing.count == 1 ? "is" : "are"
            let subject = what ?? count.map { "\(missing.count) of its \($0) files \(verb)" } ?? "\(missing.count) file\(missing.count == 1 ? " is" : "s are")"
            parts.append(
                "\(subject) not in the cache at commit \(commit.prefix(8))\(isInterrupted ? ", where a download was broken off" : ""): "
                    + missing.joined(separator: ", "))
        }
        parts += lack.cut.map {
            $0.has < $0.of
                ? "\($0.name) is cut short: \(HubSnapshot.grouped($0.has)) of \(HubSnapshot.grouped($0.of)) bytes are there"
                : "\($0.name) has \(HubSnapshot.grouped($0.has)) bytes, and \(HubSnapshot.grouped($0.of)) at the Hub"
        }
        let files = (lack.missing + lack.cut.map(\.name)).sorted().map { lack.prefix + $0 }
        // A plain download takes what is there for whole, whatever its size.
        return PeftfileError(
            .notFound, parts.joined(separator: "; "), file: place, rule: "HubSnapshotIncomplete",
            help: help ?? id.downloadCommand(files, anew: !lack.cut.isEmpty))
    }

    /// A count with commas between groups of three digits.
    private static func grouped(_ count: UInt64) -> String {
        let digits = Array(String(count))
        return digits.indices.map { (digits.count - $0) % 3 == 0 && $0 > 0 ? ",\(digits[$0])" : String(digits[$0]) }.joined()
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
        let names = ["model", "adapter_model", "pytorch_model", "diffusion_pytorch_model"]
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
