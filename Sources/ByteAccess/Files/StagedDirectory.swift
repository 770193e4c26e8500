import CPlatform
import SystemLibrary

/// A directory that appears whole or not at all.
///
/// It is built as `.NAME.peftfile-ID` beside its target and given its name in one step by `publish`. Files are put into
/// it with `FileWriter`, which makes their bytes durable. It is locked while it is built, so that two runs never build one
/// directory, and what a run that was killed has left is known to be nobody's.
public final class StagedDirectory {
    /// The path the directory is to have.
    public let target: String
    /// The path it has until it is published.
    public let path: String
    /// Whether `path` is ours to remove; false until it is made and locked, so that a refused `init` removes nothing.
    private var isOpen = false
    /// Holds the lock; -1 where there is none.
    private var descriptor: Int32 = -1

    /// Makes the directory.
    ///
    /// - Parameters:
    ///   - id: ends the name; the same plan gives the same id, so that a later run finds what an earlier one left.
    ///   - resuming: whether what an earlier run left in the directory is kept; without it, it is removed.
    /// - Throws: code `exists` where another run is building the directory.
    public init(target: String, id: String, resuming: Bool = false) throws {
        let name = FileSystem.fileName(of: target)
        guard !name.isEmpty, name != ".", name != ".." else {
            throw PeftfileError(.usage, "the output's path names no directory that can be made", file: target)
        }
        self.target = target
        path = FileSystem.temporaryPath(for: target, id: id)
        // lstat, so that a symbolic link planted at this name is refused and not written through.
        switch FileSystem.kind(of: path, followingLinks: false) {
        case nil:
            // Another run may have made it just now: the lock decides.
            do { try FileSystem.makeDirectory(path) } catch let error as PeftfileError where error.code == .exists {}
        case .directory: break
        default:
            throw PeftfileError(
                .exists, "is in the place of the directory in which the output is built", file: path,
                help: "remove it: rm \(path.shellQuoted)")
        }
        try lock()
        isOpen = true
        if !resuming { try clear() }
    }

    deinit {
        discard()
        if descriptor >= 0 { close(descriptor) }
    }

    private func lock() throws {
        descriptor = SystemError.retrying { open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }
        guard descriptor >= 0 else { throw SystemError.last("cannot open", file: path) }
        switch -peftfile_lock(descriptor) {
        case EWOULDBLOCK:
            throw PeftfileError(
                .exists, "another run is building this output now, in \(path)", file: target, rule: "OutputBusy",
                help: "wait for it, or choose another output")
        // A file system without locks: nothing tells two runs apart there.
        case let status: if status != 0, status != ENOLCK, status != EOPNOTSUPP { throw SystemError.make(status, "cannot lock", file: path) }
        }
        // Who waited for neither may have published or removed the directory before the lock was ours.
        var (held, named) = (stat(), stat())
        guard fstat(descriptor, &held) == 0, lstat(path, &named) == 0, held.st_ino == named.st_ino, held.st_dev == named.st_dev
        else {
            throw PeftfileError(
                .exists, "another run has just built this output", file: target, rule: "OutputBusy", help: "look at it first")
        }
    }

    /// Removes what is in the directory, but for the entries named.
    ///
    /// - Throws: `.io` where the directory cannot be listed or an entry not removed; `.notFound` where the directory or
    ///   an entry is gone meanwhile.
    public func clear(but kept: Set<String> = []) throws {
        for name in try FileSystem.list(path) where !kept.contains(name) { try FileSystem.remove(self.path(of: name)) }
    }

    /// The path inside the staged directory of what will be `name` in the target.
    public func path(of name: String) -> String { FileSystem.join(path, name) }

    /// Gives the directory its name.
    ///
    /// A target that exists and is not an empty directory is refused with code `exists`, unless `replacing`: then the
    /// two are exchanged in one step and what was there is removed. Where it throws before that, the target is as it was
    /// and the staged directory is still there, for `discard` or a later run. Errors of the last two steps, removing
    /// what was replaced and making the name durable, leave the new directory in place.
    ///
    /// - Parameter durable: false leaves it to the system when names and bytes reach the disk.
    public func publish(replacing: Bool = false, durable: Bool = true) throws {
        guard isOpen else { throw PeftfileError(.io, "the output was published or discarded before", file: target) }
        if durable { try FileSystem.synchroniseTree(path) }
        let parent = FileSystem.directory(of: target)
        switch FileSystem.kind(of: target, followingLinks: false) {
        case nil:
            try FileSystem.rename(path, to: target, replacing: false)
            isOpen = false
        case .directory where !FileSystem.isNonEmptyDirectory(target):
            // rename(2) puts a directory in the place of an empty one, and fails where it came to be filled.
            try FileSystem.rename(path, to: target, replacing: true)
            isOpen = false
        case _? where !replacing: throw FileSystem.existsError(target)
        default: try replaceTarget()
        }
        if durable { try FileSystem.synchroniseDirectory(parent) }
    }

    private func replaceTarget() throws {
        let status = -peftfile_rename_exchange(path, target)
        switch status {
        case 0:
            isOpen = false
            try FileSystem.remove(path)
        case EINVAL, ENOSYS, EOPNOTSUPP:
            // The file system cannot exchange: for a moment nothing is at the target, and a failure puts the old back.
            let old = path + ".old"
            try FileSystem.rename(target, to: old, replacing: false)
            do {
                try FileSystem.rename(path, to: target, replacing: false)
            } catch {
                try FileSystem.rename(old, to: target, replacing: false)
                throw error
            }
            isOpen = false
            try FileSystem.remove(old)
        default: throw SystemError.make(status, "cannot replace", file: target)
        }
    }

    /// Removes the staged directory with all that is in it; the target is as it was. Does nothing after `publish`.
    public func discard() {
        guard isOpen else { return }
        isOpen = false
        // What cannot be removed stays under a name that says whose it is; there is nobody left to tell.
        try? FileSystem.remove(path)
    }

    /// Leaves the staged directory where it is, for a later run to take up with `resuming`.
    public func keep() { isOpen = false }
}
