import CPlatform
import SystemLibrary

/// A directory that appears whole or not at all.
///
/// It is built as `.NAME.peftfile-ID` beside its target and given its name in one step by `publish`. Files are put into
/// it with `FileWriter`, which makes their bytes durable. Who holds the ``OutputLock`` of the target knows that what is there was left by a run
/// that was killed.
public final class StagedDirectory {
    /// The path the directory is to have.
    public let target: String
    /// The path it has until it is published.
    public let path: String
    /// Whether `path` is ours to remove; false until it is made, so that a refused `init` removes nothing.
    private var isOpen = false
    /// Whether the target is the new directory, whatever was thrown afterwards.
    public private(set) var isInPlace = false

    /// Makes the directory.
    ///
    /// - Parameters:
    ///   - id: ends the name; the same plan gives the same id, so that a later run finds what an earlier one left.
    ///   - resuming: whether what an earlier run left in the directory is kept; without it, it is removed.
    /// - Throws: `.exists` where something that is no directory is in its place; what making or listing it throws.
    public init(target: String, id: String, resuming: Bool = false) throws {
        let name = FileSystem.fileName(of: target)
        guard !name.isEmpty, name != ".", name != ".." else {
            throw PeftfileError(.usage, "the output's path names no directory that can be made", file: target)
        }
        self.target = target
        path = FileSystem.temporaryPath(for: target, id: id)
        // lstat, so that a symbolic link planted at this name is refused and not written through.
        switch FileSystem.kind(of: path, followingLinks: false) {
        case nil: try FileSystem.makeDirectory(path)
        case .directory: break
        default:
            throw PeftfileError(
                .exists, "is in the place of the directory in which the output is built", file: path,
                help: "remove it: rm \(path.shellQuoted)")
        }
        isOpen = true
        if !resuming { try clear() }
    }

    deinit { discard() }

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
            (isOpen, isInPlace) = (false, true)
        case .directory where !FileSystem.isNonEmptyDirectory(target):
            // rename(2) puts a directory in the place of an empty one, and fails where it came to be filled.
            try FileSystem.rename(path, to: target, replacing: true)
            (isOpen, isInPlace) = (false, true)
        case _? where !replacing: throw FileSystem.existsError(target)
        default: try replaceTarget()
        }
        guard durable else { return }
        try inPlace("a power failure now may lose it") { try FileSystem.synchroniseDirectory(parent) }
    }

    /// What fails when the new directory has its name says so.
    private func inPlace(_ rest: String, _ step: () throws -> Void) throws {
        do { try step() } catch let error as PeftfileError {
            var copy = error
            copy.help = "\(target) is whole and in place; \(rest)"
            throw copy
        }
    }

    private func replaceTarget() throws {
        let status = -peftfile_rename_exchange(path, target)
        switch status {
        case 0:
            (isOpen, isInPlace) = (false, true)
            try inPlace("what it replaced is left in \(path)") { try FileSystem.remove(path) }
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
            (isOpen, isInPlace) = (false, true)
            try inPlace("what it replaced is left in \(old)") { try FileSystem.remove(old) }
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
