import ByteAccess

/// Which commit of which repository a file in the Hub's cache is, told by where it lies.
///
///     …/models--org--name/snapshots/<commit>/model.safetensors -> ../../blobs/<blob>
///
/// A blob is named by its content: 64 hex digits are the SHA-256 of a file in LFS, as weights are, 40 the SHA-1 that git gives
/// small files. Where links are not used there is no blob, and the commit still is.
public struct HubOrigin: Sendable, Hashable {
    /// `org/name`.
    public let repository: String
    /// 40 hex digits.
    public let commit: String
    /// The path in the repository; empty for all of it.
    public let inner: String

    /// The origin of a path; nil where it leads into no snapshot.
    public init?(of path: String) {
        // The directory is followed, the file's own link to its blob is not.
        let isDirectory = FileSystem.isDirectory(path)
        let place = isDirectory ? path : FileSystem.directory(of: path)
        guard let real = try? FileSystem.resolved(place) else { return nil }
        let parts = real.split(separator: "/").map(String.init)
        guard let position = parts.lastIndex(of: "snapshots"), position > 0, position + 1 < parts.count,
            parts[position - 1].hasPrefix("models--"), HubCache.isCommit(parts[position + 1])
        else { return nil }
        let name = String(parts[position - 1].dropFirst("models--".count)).replacing("--", with: "/")
        guard HubID(name: name) != nil else { return nil }
        repository = name
        commit = parts[position + 1]
        inner = (parts[(position + 2)...] + (isDirectory ? [] : [FileSystem.fileName(of: path)])).joined(separator: "/")
    }

    /// `org/name at 01234567`, and the path inside, as headings have it.
    public var shown: String { "\(repository) at \(commit.prefix(8))\(inner.isEmpty ? "" : ": \(inner.printable)")" }

    /// The command that fetches the file once more, over what is there.
    public var downloadCommand: String? {
        HubID(name: repository, revision: commit)?.downloadCommand(inner.isEmpty ? [] : [inner], anew: true)
    }

    /// The name of the blob that a file in a snapshot is a link to; nil where it is none.
    ///
    /// The link is followed once: a blob may be a link itself, into the store that all repositories of a cache share, where names are
    /// no hashes of the content.
    public static func blob(of path: String) -> String? {
        guard let blob = FileSystem.linkTarget(of: path) else { return nil }
        let name = FileSystem.fileName(of: blob)
        return isDigest(name) && FileSystem.fileName(of: FileSystem.directory(of: blob)) == "blobs" ? name : nil
    }

    /// Whether a blob of a repository is a file in its place, or a link into the store that the cache's repositories share:
    ///
    ///     models--org--name/blobs/<sha256> -> ../../blobs/9c/9c8b…   64 hex digits, the hash that Xet gives a file
    ///
    /// Source: huggingface_hub/utils/_shared_blobs.py.
    static func isBlobInPlace(_ blob: String, repository: String) -> Bool {
        guard FileSystem.kind(of: blob, followingLinks: false) == .symbolicLink else { return true }
        guard let stored = FileSystem.linkTarget(of: blob), FileSystem.kind(of: stored, followingLinks: false) == .regularFile,
            let store = try? FileSystem.resolved(FileSystem.join(FileSystem.directory(of: repository), "blobs"))
        else { return false }
        let name = FileSystem.fileName(of: stored)
        return isDigest(name) && name.utf8.count == 64 && FileSystem.directory(of: stored) == FileSystem.join(store, String(name.prefix(2)))
    }

    private static func isDigest(_ name: String) -> Bool {
        [40, 64].contains(name.utf8.count) && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}
