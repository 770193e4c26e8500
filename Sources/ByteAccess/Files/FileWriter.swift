import CPlatform
import SystemLibrary

/// A file that appears whole or not at all.
///
/// The bytes go to a temporary file beside the target; `commit` makes them durable (fsync), gives the file its name
/// (rename) and makes the name durable (fsync of the directory). Until then the target is as it was. The temporary is
/// opened with O_EXCL and O_NOFOLLOW, so a symbolic link planted at its name is refused and never followed. Where the
/// target itself is a symbolic link, replacing it replaces the link, not what it points to.
///
/// Order of the steps: the crash study "All File Systems Are Not Created Equal" (OSDI 2014).
public final class FileWriter: Sendable {
    private enum Phase { case writing, synchronised, committed, discarded }

    /// The target.
    public let path: String
    /// Where the bytes are until `commit`.
    public let temporaryPath: String
    private let replacing: Bool
    private let descriptor: Int32
    private let phase = Mutex(Phase.writing)

    /// Begins a file that is to be at `path`.
    ///
    /// - Parameters:
    ///   - replacing: whether a file at `path` may be replaced; without it, one that is there or comes to be there
    ///     before `commit` is refused with code `exists`.
    ///   - lock: of the output. Who holds it has one name for the temporary, `.NAME.peftfile-part`, and removes what a run that was killed
    ///     left there; without it, names differ for each writer of each process.
    /// - Throws: `.usage` where `path` names no file; `.exists` where a directory is there, the temporary is there, or a file that may
    ///   not be replaced; `.refused` where a FIFO, a socket or a device would be replaced; `.notFound` where the directory is
    ///   missing; `.noSpace` or `.io` where the system does not create the temporary.
    public init(path: String, replacing: Bool = false, lock: OutputLock? = nil) throws {
        let name = FileSystem.fileName(of: path)
        guard !name.isEmpty, name != ".", name != ".." else {
            throw PeftfileError(.usage, "the output's path names no file", file: path)
        }
        switch FileSystem.kind(of: path, followingLinks: false) {
        case nil: break
        case .directory: throw PeftfileError(.exists, "a directory is in the place of the output file", file: path)
        case _? where !replacing: throw FileSystem.existsError(path)
        case .regularFile, .symbolicLink: break
        case .other: throw PeftfileError(.refused, "is not a regular file and is not replaced", file: path)
        }
        self.path = path
        self.replacing = replacing
        var (temporary, opened) = ("", Int32(-1))
        // A process that was killed may have had the same number, in a container it often has. 100: somebody else is at work.
        for _ in 0..<100 {
            temporary = FileSystem.temporaryPath(for: path, id: lock == nil ? FileSystem.uniqueID() : "part")
            if lock != nil, [.regularFile, .symbolicLink].contains(FileSystem.kind(of: temporary, followingLinks: false)) { unlink(temporary) }
            opened = SystemError.retrying { open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o666) }
            if opened >= 0 || errno != EEXIST || lock != nil { break }
        }
        // Thrown while the object is incomplete, so that `deinit` does not remove what somebody else has put there.
        guard opened >= 0 else { throw SystemError.last("cannot create the temporary file", file: temporary) }
        temporaryPath = temporary
        descriptor = opened
    }

    deinit { discard() }

    /// Reserves room for `size` bytes and makes the file that long, so that a full disk shows before the work starts.
    ///
    /// - Throws: `.noSpace` where the disk has no room or takes no file of this size; `.io` where the system refuses for another reason.
    public func allocate(_ size: UInt64) throws {
        guard let length = off_t(exactly: size) else {
            throw PeftfileError(.noSpace, "no file system holds a file of \(size) bytes", file: path)
        }
        if length > 0 {
            var status = peftfile_reserve(descriptor, Int64(length))
            while status == -EINTR { status = peftfile_reserve(descriptor, Int64(length)) }
            switch -status {
            case 0, ENOSYS, EOPNOTSUPP, EINVAL: break
            default: throw SystemError.make(-status, "cannot reserve \(size) bytes", file: path)
            }
        }
        guard SystemError.retrying({ ftruncate(descriptor, length) }) == 0 else {
            throw SystemError.last("cannot reserve \(size) bytes", file: path)
        }
    }

    /// Writes all of `buffer` at `offset`. Writes from several threads to ranges that do not overlap are independent.
    ///
    /// - Throws: `.noSpace` where the disk is full or the file would grow too large; `.io` where no file has the offset, or the system
    ///   refuses for another reason.
    public func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws {
        guard let base = buffer.baseAddress else { return }
        guard let start = off_t(exactly: offset), off_t.max - start >= buffer.count else {
            throw PeftfileError(.io, "an offset that no file has", file: path, offset: offset)
        }
        var done = 0
        while done < buffer.count {
            let count = SystemError.retrying {
                pwrite(descriptor, base + done, buffer.count - done, start + off_t(done))
            }
            guard count > 0 else {
                throw count < 0
                    ? SystemError.last("cannot write", file: path)
                    : PeftfileError(.io, "cannot write: the system accepts no more bytes", file: path)
            }
            done += count
        }
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// - Throws: `.noSpace` or `.io`, as `write(_:at:)` of a buffer does.
    public func write(_ bytes: [UInt8], at offset: UInt64) throws {
        try bytes.withUnsafeBytes { try write($0, at: offset) }
    }

    /// Copies bytes from another file, inside the kernel where it can (file systems with reflinks then share blocks).
    ///
    /// - Throws: `.io` where `source` does not have the range or cannot be read, where no file has the offset, or where the system
    ///   refuses to write; `.noSpace` where the disk is full or the file would grow too large.
    public func copy(from source: FileReader, range: Range<UInt64>, to offset: UInt64) throws {
        guard range.upperBound <= source.size else {
            throw PeftfileError(
                .io, "cannot read up to byte \(range.upperBound): the file has \(source.size)", file: source.path)
        }
        let total = UInt64(range.count)
        guard let start = Int64(exactly: offset), Int64.max - start >= total else {
            throw PeftfileError(.io, "an offset that no file has", file: path, offset: offset)
        }
        var done: UInt64 = 0
        while done < total {
            // At most 1 GiB a call, which the kernel's own limit of 2^31 - 4096 allows.
            let step = min(total - done, 1 << 30)
            let copied = peftfile_copy_range(
                source.descriptor, Int64(range.lowerBound + done), descriptor, Int64(offset + done), step)
            if copied == -Int64(EINTR) { continue }
            if copied == -Int64(ENOSPC) || copied == -Int64(EDQUOT) {
                throw SystemError.make(ENOSPC, "cannot write", file: path)
            }
            // Not possible here (two file systems, an old kernel, a file system without it), or nothing copied, which
            // some virtual file systems answer for files with content: plain reads and writes say what is wrong.
            if copied <= 0 { break }
            done += UInt64(copied)
        }
        try copyThroughMemory(from: source, range: (range.lowerBound + done)..<range.upperBound, to: offset + done)
    }

    private func copyThroughMemory(from source: FileReader, range: Range<UInt64>, to offset: UInt64) throws {
        guard !range.isEmpty else { return }
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(min(UInt64(range.count), 1 << 20)), alignment: 4096)
        defer { buffer.deallocate() }
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(UInt64(buffer.count), range.upperBound - position))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            try source.read(at: position, into: part)
            try write(UnsafeRawBufferPointer(part), at: offset + (position - range.lowerBound))
            position += UInt64(count)
        }
    }

    /// Starts bringing written bytes to disk while the work goes on, so that `commit` has little left to wait for. A hint:
    /// what the system does not do now, `commit` does.
    public func startWriteback(_ range: Range<UInt64>) {
        guard let offset = Int64(exactly: range.lowerBound), let size = Int64(exactly: range.count) else { return }
        _ = peftfile_start_writeback(descriptor, offset, size)
    }

    /// Waits for bytes whose write-back was started, so that no more than a window of the file is ever waiting in memory.
    ///
    /// - Parameter dropping: whether the pages leave the cache; the next reader then finds the file on disk.
    /// - Throws: where the disk did not take the bytes. Linux tells a descriptor of such an error once, here or in fsync, so
    ///   what is told here must not be lost (`file_fdatawait_range` in mm/filemap.c).
    public func finishWriteback(_ range: Range<UInt64>, dropping: Bool) throws {
        guard let offset = Int64(exactly: range.lowerBound), let size = Int64(exactly: range.count) else { return }
        switch -peftfile_finish_writeback(descriptor, offset, size, dropping ? 1 : 0) {
        case let status where [EIO, ENOSPC, EDQUOT].contains(status):
            throw SystemError.make(status, "cannot bring written bytes to disk", file: path)
        default: break
        }
    }

    /// Makes the bytes durable, before ``commit(durable:)`` gives the file its name: for files that are to appear together. Nothing may
    /// be written after it.
    ///
    /// - Throws: `.io` or `.noSpace` where the disk does not take the bytes, or where the writer was committed or discarded before.
    public func synchronise() throws {
        guard phase.withLock({ $0 == .writing }) else { throw PeftfileError(.io, "the output was committed or discarded before", file: path) }
        let status = -peftfile_synchronise(descriptor)
        guard status == 0 else { throw SystemError.make(status, "cannot make the bytes durable", file: path) }
        phase.withLock { $0 = .synchronised }
    }

    /// Makes the bytes durable and gives the file its name. After this, or after it threw, the writer takes no more.
    ///
    /// - Parameter durable: false leaves it to the system when the bytes reach the disk; a power failure can then lose them.
    /// - Throws: `.io` where the writer was committed or discarded before, where the bytes or the name cannot be made durable, or
    ///   where the file cannot be given its name; `.exists` where, without `replacing`, something came to be at `path`;
    ///   `.noSpace` where the disk has no room. Where only the name cannot be made durable, the file is in place.
    public func commit(durable: Bool = true) throws {
        let before = phase.withLock { phase in
            defer { phase = .committed }
            return phase
        }
        guard before == .writing || before == .synchronised else {
            throw PeftfileError(.io, "the output was committed or discarded before", file: path)
        }
        do {
            let status = durable && before == .writing ? -peftfile_synchronise(descriptor) : 0
            // The descriptor is gone even where close fails, so it is not closed twice.
            guard close(descriptor) == 0 || errno == EINTR || status != 0 else {
                throw SystemError.last("cannot close", file: path)
            }
            guard status == 0 else { throw SystemError.make(status, "cannot make the bytes durable", file: path) }
            try FileSystem.rename(temporaryPath, to: path, replacing: replacing)
        } catch {
            unlink(temporaryPath)
            throw error
        }
        if durable { try FileSystem.synchroniseDirectory(FileSystem.directory(of: path)) }
    }

    /// Drops the file; the target is as it was. Does nothing after `commit`.
    public func discard() {
        let isFirst = phase.withLock { phase in
            guard phase == .writing || phase == .synchronised else { return false }
            phase = .discarded
            return true
        }
        guard isFirst else { return }
        close(descriptor)
        unlink(temporaryPath)
    }

    /// Writes a whole small file at once.
    ///
    /// - Parameter durable: false leaves it to the system when the bytes reach the disk.
    /// - Throws: what ``init(path:replacing:lock:)``, `write(_:at:)` and ``commit(durable:)`` throw.
    public static func write(_ bytes: [UInt8], to path: String, replacing: Bool = false, durable: Bool = true) throws {
        let writer = try FileWriter(path: path, replacing: replacing)
        do {
            try writer.write(bytes, at: 0)
            try writer.commit(durable: durable)
        } catch {
            writer.discard()
            throw error
        }
    }
}
