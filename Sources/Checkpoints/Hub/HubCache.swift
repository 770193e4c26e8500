public import ByteAccess

/// The local cache of the Hugging Face Hub: read, never written.
///
///     <root>/models--org--name/refs/<revision>        a commit, 40 hex digits
///                              snapshots/<commit>/…   links to blobs, or files where links are not used
///                              blobs/<sha256 | git sha1>   files, or links into `<root>/blobs/<2 digits>/<64 digits>`
///                              trees/<commit>.json    what the commit holds (``HubTree``)
///
/// Source: huggingface_hub/constants.py for the root, `repo_folder_name` in file_download.py, `snapshot_download` in
/// _snapshot_download.py.
public struct HubCache: Sendable {
    /// The directory of the cache.
    public let root: String

    /// The cache in this directory, whether it is there or not. `~` and variables in the path are not expanded.
    public init(root: String) { self.root = root }

    /// The cache that the environment names: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `HF_HOME/hub`;
    /// `HF_HOME` is `XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface` where it is not set. A variable that is set and empty is set,
    /// as for `os.getenv`: with `HF_HOME=` the cache is `hub` in the working directory.
    public init(environment: [String: String]) {
        let paths = EnvironmentPaths(environment: environment)
        let cacheHome = environment["XDG_CACHE_HOME"] ?? FileSystem.join(paths.expanded("~"), ".cache")
        let home = paths.expanded(environment["HF_HOME"] ?? FileSystem.join(cacheHome, "huggingface"))
        root = paths.expanded(
            environment["HF_HUB_CACHE"] ?? environment["HUGGINGFACE_HUB_CACHE"] ?? FileSystem.join(home, "hub"))
    }

    /// The directory of a repository, whether it is there or not.
    public func directory(of id: HubID) -> String {
        FileSystem.join(root, "models--" + id.name.split(separator: "/").joined(separator: "--"))
    }

    /// Whether anything of the repository is in the cache.
    public func holds(_ id: HubID) -> Bool { FileSystem.isDirectory(directory(of: id)) }

    /// Whether a path leads into the cache, links followed.
    public func contains(_ path: String) -> Bool {
        // With `HF_HUB_CACHE=` repositories lie in the working directory, beside what is nobody's cache.
        let isHere = self.root.isEmpty
        guard let root = try? FileSystem.resolved(isHere ? "." : root) else { return false }
        var path = path
        while !FileSystem.exists(path) {
            let parent = FileSystem.directory(of: path)
            guard parent != path else { return false }
            path = parent
        }
        guard let real = try? FileSystem.resolved(path) else { return false }
        return isHere ? real.hasPrefix(FileSystem.join(root, "models--")) : real == root || real.hasPrefix(root + "/")
    }

    /// The snapshot of a repository at its revision.
    ///
    /// - Throws: `.notFound` where the repository, the revision or the snapshot is not in the cache, with the place that
    ///   was looked at and the command that fetches it.
    public func snapshot(of id: HubID) throws -> HubSnapshot {
        let repository = directory(of: id)
        func missing(_ message: String, rule: String) -> PeftfileError {
            PeftfileError(.notFound, message, file: id.description, rule: rule, help: id.downloadCommand())
        }
        guard FileSystem.isDirectory(repository) else {
            throw missing("is no path here, and is not in the Hub's cache (\(repository))", rule: "HubRepository")
        }
        let commit: String
        if HubCache.isCommit(id.revision) {
            commit = id.revision
        } else {
            let reference = FileSystem.join(FileSystem.join(repository, "refs"), id.revision)
            guard FileSystem.isRegularFile(reference) else {
                throw unknownRevision(of: id, reference, in: repository)
            }
            let text = String(decoding: try FileReader(path: reference).allBytes(limit: 4096), as: UTF8.self)
            commit = String(text.drop { $0.isWhitespace }.prefix { !$0.isWhitespace })
            guard HubCache.isCommit(commit) else {
                throw PeftfileError(
                    .malformed, "holds no commit of 40 hex digits", file: reference, rule: "HubRevision",
                    help: id.downloadCommand())
            }
        }
        let directory = FileSystem.join(FileSystem.join(repository, "snapshots"), commit)
        guard FileSystem.isDirectory(directory) else {
            throw missing("nothing of its commit \(commit) was downloaded (\(directory))", rule: "HubSnapshot")
        }
        return HubSnapshot(id: id, commit: commit, directory: directory, repository: repository)
    }

    /// What the cache has instead of a revision: others, or commits that were fetched by their hash.
    private func unknownRevision(of id: HubID, _ reference: String, in repository: String) -> PeftfileError {
        let known = HubCache.references(in: repository)
        let commits = ((try? FileSystem.list(FileSystem.join(repository, "snapshots"))) ?? []).filter(HubCache.isCommit)
        let what = known.isEmpty
            ? commits.isEmpty ? "none" : "none, and the commit\(commits.count == 1 ? "" : "s") \(commits.joined(separator: ", "))"
            : known.joined(separator: ", ")
        let other = known.isEmpty ? commits.first.map { "name the commit: \(id.name)@\($0)\(id.path.map { "/\($0)" } ?? ""), or " } ?? "" : ""
        return PeftfileError(
            .notFound, "the cache has no revision \(id.revision) of it (\(reference)); it has \(what)", file: id.description,
            rule: "HubRevision", help: other + id.downloadCommand())
    }

    static func isCommit(_ text: String) -> Bool {
        text.utf8.count == 40 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// The revisions that the cache knows, three directories deep at most: `refs/refs/pr/5`.
    private static func references(in repository: String) -> [String] {
        func names(_ directory: String, _ prefix: String, _ depth: Int) -> [String] {
            ((try? FileSystem.list(directory)) ?? []).flatMap { name -> [String] in
                let path = FileSystem.join(directory, name)
                if FileSystem.isDirectory(path) { return depth > 0 ? names(path, prefix + name + "/", depth - 1) : [] }
                return [prefix + name]
            }
        }
        return names(FileSystem.join(repository, "refs"), "", 3).sorted()
    }
}

/// `~` and `$NAME` in a path, as Python's `expanduser` and `expandvars` replace them.
struct EnvironmentPaths {
    let environment: [String: String]

    func expanded(_ path: String) -> String {
        var text = path
        if text == "~" || text.hasPrefix("~/") {
            // `expanduser`: without slashes at its end, and the root where nothing is left.
            var home = environment["HOME"] ?? ""
            while home.hasSuffix("/") { home.removeLast() }
            text = home + text.dropFirst()
            if text.isEmpty { text = "/" }
        }
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...].dropFirst()
            let braced = rest.first == "{"
            let name = (braced ? rest.dropFirst() : rest).prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            let after = rest.dropFirst(name.count + (braced ? 1 : 0))
            guard !name.isEmpty, !braced || after.first == "}", let value = environment[String(name)] else {
                // What names no variable stays as it is.
                result += "$"
                continue
            }
            result += value
            rest = braced ? after.dropFirst() : after
        }
        return result + rest
    }
}
