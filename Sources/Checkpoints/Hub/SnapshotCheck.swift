public import ByteAccess
import Tensors

/// The files of a snapshot in the Hub's cache against the names of their blobs, offline.
///
/// The cache names the content of a file by the hash that the Hub gave it: SHA-256 (64 hex digits) for files that are stored as
/// large ones, git's SHA-1 (40) for the others. Where a snapshot holds files instead of links, the listing of the commit says the same.
///
/// Source: `_get_pointer_path` and `hf_hub_download` in huggingface_hub/file_download.py, whose blobs are called by the ETag.
public struct SnapshotCheck: Sendable {
    /// One file of the snapshot.
    public struct File: Sendable, Hashable {
        /// Its path in the snapshot.
        public var name: String
        /// The hash that it should have; nil where nothing says it.
        public var expected: Digest?
        /// The hash that it has; nil where it is not there, or was not taken because none is expected.
        public var actual: String?
        /// Whether it is not there.
        public var isMissing: Bool
        /// Whether a link leads to something else than a blob of its repository.
        public var leadsOut: Bool
        /// Whether it is not the file that the Hub has.
        public var isWrong: Bool { isMissing || leadsOut || expected.map { $0.hex != actual } ?? false }
    }

    /// A content's name.
    public struct Digest: Sendable, Hashable {
        /// Which hash it is.
        public enum Algorithm: String, Sendable {
            /// Of a large file: 64 hex digits of its bytes' SHA-256.
            case sha256
            /// Of any other: 40 hex digits, as git names a blob.
            case gitSHA1 = "git-sha1"
        }
        /// Which hash it is.
        public var algorithm: Algorithm
        /// The digits, 40 or 64.
        public var hex: String

        /// A hash by its digits; nil for text that is no hash, such as another server's ETag.
        init?(_ text: String) {
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { return nil }
            switch text.utf8.count {
            case 64: algorithm = .sha256
            case 40: algorithm = .gitSHA1
            default: return nil
            }
            hex = text
        }
    }

    /// The snapshot's directory.
    public let directory: String
    /// In the order of their names.
    public let files: [File]
    /// Whether every file is what the Hub has.
    public var isRight: Bool { !files.contains { $0.isWrong } }
    /// Files of weights of which nothing says what they should be.
    public var unjudgedWeights: [String] {
        files.filter { $0.actual == nil && !$0.isWrong }.map(\.name).filter { name in
            [".safetensors", ".bin", ".gguf", ".pt", ".pth", ".npz"].contains { name.hasSuffix($0) }
        }
    }

    /// Whether a directory is a snapshot of the cache: `models--…/snapshots/<commit>`.
    public static func isSnapshot(_ directory: String) -> Bool { repository(of: directory) != nil }

    private static func repository(of directory: String) -> (path: String, commit: String)? {
        guard FileSystem.isDirectory(directory), let path = try? FileSystem.resolved(directory) else { return nil }
        let commit = FileSystem.fileName(of: path)
        let snapshots = FileSystem.directory(of: path)
        let repository = FileSystem.directory(of: snapshots)
        guard HubCache.isCommit(commit), FileSystem.fileName(of: snapshots) == "snapshots",
            FileSystem.fileName(of: repository).hasPrefix("models--")
        else { return nil }
        return (repository, commit)
    }

    /// Hashes every file of a snapshot.
    ///
    /// - Parameter progress: called with the bytes hashed so far.
    /// - Throws: `HubSnapshot` where the directory is none; what reading throws.
    public init(directory: String, progress: (@Sendable (UInt64) -> Void)? = nil) throws {
        guard let (repository, commit) = SnapshotCheck.repository(of: directory) else {
            throw PeftfileError(.refused, "is no snapshot of the Hub's cache", file: directory, rule: "HubSnapshot")
        }
        let tree = HubTree(repository: repository, commit: commit)
        let listed = Dictionary((tree?.files ?? []).map { ($0.name, $0.digest) }, uniquingKeysWith: { first, _ in first })
        let blobs = try? FileSystem.resolved(FileSystem.join(repository, "blobs"))
        var done: UInt64 = 0
        self.directory = directory
        files = try SnapshotCheck.names(in: directory, depth: 16).map { name in
            let path = FileSystem.join(directory, name)
            var file = File(
                name: name, expected: listed[name] ?? nil, actual: nil, isMissing: !FileSystem.isRegularFile(path), leadsOut: false)
            guard !file.isMissing else { return file }
            if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink {
                let blob = FileSystem.linkTarget(of: path) ?? path
                file.leadsOut = FileSystem.directory(of: blob) != blobs || !HubOrigin.isBlobInPlace(blob, repository: repository)
                let named = Digest(FileSystem.fileName(of: blob))
                // Where name and listing both say something, the content must be what both say.
                if let named, let listed = file.expected, named != listed, named.algorithm == listed.algorithm {
                    file.leadsOut = true
                }
                file.expected = named ?? file.expected
            }
            if let expected = file.expected {
                file.actual = try SnapshotCheck.hash(path, expected.algorithm) { count in
                    done += count
                    progress?(done)
                }
            }
            return file
        }
    }

    /// Bytes of all files of a snapshot, which ``init(directory:progress:)`` hashes as far as something says what they should be.
    ///
    /// - Throws: `.notFound` where there is no such directory; `.io` where it or one below it cannot be listed, or a file not opened.
    public static func byteCount(of directory: String) throws -> UInt64 {
        try names(in: directory, depth: 16).reduce(0) { sum, name in
            let path = FileSystem.join(directory, name)
            guard FileSystem.isRegularFile(path) else { return sum }
            return sum + (try FileReader(path: path).size)
        }
    }

    /// The files below a directory, as paths from it; directories that are links are files that lead out.
    private static func names(in directory: String, depth: Int) throws -> [String] {
        try FileSystem.list(directory).flatMap { name -> [String] in
            let path = FileSystem.join(directory, name)
            guard depth > 0, FileSystem.kind(of: path, followingLinks: false) == .directory else { return [name] }
            return try names(in: path, depth: depth - 1).map { "\(name)/\($0)" }
        }
    }

    private static func hash(_ path: String, _ algorithm: Digest.Algorithm, _ progress: (UInt64) -> Void) throws -> String {
        let reader = try FileReader(path: path)
        var large = SHA256()
        var small = GitObjectName(size: reader.size)
        var offset: UInt64 = 0
        while offset < reader.size {
            try Interruption.check()
            let bytes = try reader.bytes(at: offset, count: Int(min(reader.size - offset, 1 << 20)))
            if algorithm == .sha256 { large.update(bytes) } else { small.update(bytes) }
            offset += UInt64(bytes.count)
            progress(UInt64(bytes.count))
        }
        return SHA256.hex(algorithm == .sha256 ? large.finalize() : small.finalize())
    }
}
