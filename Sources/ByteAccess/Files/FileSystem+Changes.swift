import CPlatform
import struct Synchronization.Atomic
import SystemLibrary

/// How outputs are put in place: temporaries, renaming, durability, removal.
extension FileSystem {
    private static let counter = Atomic<Int>(0)

    /// An id that no other writer of this machine has at the moment: the process and a count.
    static func uniqueID() -> String { "\(getpid())-\(counter.add(1, ordering: .relaxed).newValue)" }

    /// Where the output `path` is built: `.NAME.peftfile-ID` beside it.
    ///
    /// File systems take names of up to 255 bytes, so a long NAME is cut, at a whole character.
    static func temporaryPath(for path: String, id: String) -> String {
        var name = fileName(of: path)
        while name.utf8.count + id.utf8.count > 240, !name.isEmpty { name.unicodeScalars.removeLast() }
        return join(directory(of: path), ".\(name).peftfile-\(id)")
    }

    static func existsError(_ path: String) -> PeftfileError {
        PeftfileError(.exists, "exists already and is not replaced", file: path, help: "--force replaces it")
    }

    /// Renames `source` to `target`. Without `replacing`, a target that exists is refused in the same step.
    static func rename(_ source: String, to target: String, replacing: Bool) throws {
        if !replacing {
            switch -peftfile_rename_exclusive(source, target) {
            case 0: return
            case EEXIST, ENOTEMPTY: throw existsError(target)
            // The kernel or the file system knows no such flag: look first, then rename. What comes to be there in
            // between is then replaced; nothing better is to be had there.
            case EINVAL, ENOSYS, EOPNOTSUPP: if exists(target) { throw existsError(target) }
            case let number: throw SystemError.make(number, "cannot rename \(source)", file: target)
            }
        }
        let status = peftfile_rename(source, target)
        guard status == 0 else { throw SystemError.make(-status, "cannot rename \(source)", file: target) }
    }

    /// Makes the names in a directory durable.
    ///
    /// - Throws: `.notFound` where there is no directory at `path`; `.io` where it cannot be opened; `.io` or
    ///   `.noSpace` where the disk does not take the names.
    public static func synchroniseDirectory(_ path: String) throws {
        let descriptor = SystemError.retrying { open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw SystemError.last("cannot open", file: path) }
        defer { close(descriptor) }
        // Some file systems (FUSE, network) have no fsync for directories and say EINVAL; there is nothing to wait for.
        let error = -peftfile_synchronise(descriptor)
        guard [0, EINVAL, ENOTSUP].contains(error) else {
            throw SystemError.make(error, "cannot make the names durable", file: path)
        }
    }

    /// Makes the names in a directory and in every directory below it durable; symbolic links are not followed.
    static func synchroniseTree(_ path: String) throws {
        for name in try list(path) {
            let entry = join(path, name)
            if kind(of: entry, followingLinks: false) == .directory { try synchroniseTree(entry) }
        }
        try synchroniseDirectory(path)
    }

    /// Removes a file, or a directory with all that is in it. Symbolic links are removed, never followed.
    ///
    /// - Throws: `.notFound` where nothing is at `path`; `.exists` where a directory was filled again meanwhile; `.io` where the system
    ///   refuses to list or remove something. What was removed until then is gone.
    public static func remove(_ path: String) throws {
        if kind(of: path, followingLinks: false) == .directory {
            for name in try list(path) { try remove(join(path, name)) }
            guard rmdir(path) == 0 else { throw SystemError.last("cannot remove", file: path) }
        } else {
            guard unlink(path) == 0 else { throw SystemError.last("cannot remove", file: path) }
        }
    }
}
