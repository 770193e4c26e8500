import CPlatform
import SystemLibrary

/// Keeps two runs from writing one output at once.
///
/// The lock is held on a file of its own, `.NAME.peftfile-lock` beside the output, which goes with it. A run that was killed leaves the empty file,
/// and no lock: the next one takes it up. File systems without locks tell no two runs apart.
public final class OutputLock {
    private let path: String
    private var descriptor: Int32 = -1

    /// Takes the lock.
    ///
    /// - Parameter target: the file or directory that is to be written.
    /// - Throws: `.exists` with rule `OutputBusy` where another run has it; `.io`, `.noSpace` or `.notFound` where the system does not let
    ///   a file be made beside the target.
    public init(target: String) throws {
        path = FileSystem.temporaryPath(for: target, id: "lock")
        let busy = PeftfileError(
            .exists, "another run is writing this output now", file: target, rule: "OutputBusy", help: "wait for it, or choose another output")
        // The holder removes the file before it lets go, so whoever gets the lock afterwards may hold one that has no name any more.
        for _ in 0..<100 {
            let opened = SystemError.retrying { open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600) }
            guard opened >= 0 else { throw SystemError.last("cannot make a file beside the output", file: target) }
            var (held, named) = (stat(), stat())
            switch -peftfile_lock(opened) {
            case EWOULDBLOCK:
                close(opened)
                throw busy
            case let status where status != 0 && status != ENOLCK && status != EOPNOTSUPP:
                close(opened)
                throw SystemError.make(status, "cannot lock", file: path)
            default: break
            }
            guard fstat(opened, &held) == 0, lstat(path, &named) == 0, held.st_ino == named.st_ino, held.st_dev == named.st_dev else {
                close(opened)
                continue
            }
            descriptor = opened
            return
        }
        throw busy
    }

    deinit { release() }

    /// Lets the next run begin. Does nothing the second time.
    public func release() {
        guard descriptor >= 0 else { return }
        unlink(path)
        close(descriptor)
        descriptor = -1
    }
}
