import CPlatform
import SystemLibrary

/// A regular file opened for reading at any position, or bytes that are read as one.
///
/// The file is read with pread and never mapped: a mapped file that somebody truncates kills the process with SIGBUS,
/// where pread lets us say what happened. The size is taken once, at opening. Reads from several threads do not
/// disturb each other.
public final class FileReader: Sendable {
    /// The path that was opened.
    public let path: String
    /// Bytes of the file when it was opened.
    public let size: UInt64
    /// -1 where the bytes are in memory.
    let descriptor: Int32
    private let memory: [UInt8]
    /// When the content had last changed at opening.
    private let changed: ContentTime

    /// Bytes that are in memory already, read as a file would be. Errors name `path`.
    public init(bytes: [UInt8], path: String) {
        self.path = path
        size = UInt64(bytes.count)
        descriptor = -1
        memory = bytes
        changed = ContentTime()
    }

    /// Opens `path`, following symbolic links. Directories, FIFOs, sockets and devices are refused.
    ///
    /// - Throws: `.notFound` where nothing is at `path`, or it holds a NUL; `.refused` where it is no regular file; `.io` where the
    ///   system does not let us open it.
    public init(path: String) throws {
        guard !path.utf8.contains(0) else {
            throw PeftfileError(.notFound, "the path holds a NUL character", file: path)
        }
        // Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it. It has no effect on regular files.
        let descriptor = SystemError.retrying { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else { throw SystemError.last("cannot open", file: path) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let error = SystemError.last("cannot open", file: path)
            close(descriptor)
            throw error
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            throw PeftfileError(
                .refused, isDirectory ? "is a directory, not a file" : "is not a regular file", file: path,
                help: isDirectory ? nil : "put a regular file in its place, or take it away")
        }
        self.path = path
        self.size = UInt64(max(0, status.st_size))
        self.descriptor = descriptor
        memory = []
        changed = ContentTime(of: descriptor)
    }

    private struct ContentTime: Equatable {
        private var (seconds, nanoseconds) = (0, 0)

        init() {}

        init(of descriptor: Int32) {
            var time = timespec()
            if peftfile_content_time(descriptor, &time) == 0 { (seconds, nanoseconds) = (Int(time.tv_sec), Int(time.tv_nsec)) }
        }
    }

    /// What was read is of one piece only where nobody wrote to the file meanwhile.
    ///
    /// - Throws: `.io` with rule `InputChanged` where the content's time or the size are others than at opening.
    public func requireUnchanged() throws {
        guard descriptor >= 0 else { return }
        var status = stat()
        guard fstat(descriptor, &status) != 0 || UInt64(max(0, status.st_size)) == size, ContentTime(of: descriptor) == changed else {
            throw PeftfileError(
                .io, "was written to while it was read, and the output would be of two files", file: path, rule: "InputChanged",
                help: "run the command again when nothing writes to it")
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Fills `buffer` with the bytes from `offset` on. Throws where the file ends before the buffer is full.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let base = buffer.baseAddress else { return }
        let (end, overflow) = offset.addingReportingOverflow(UInt64(buffer.count))
        guard !overflow, end <= size, let start = off_t(exactly: offset) else {
            throw PeftfileError(
                .io, "cannot read \(buffer.count) bytes: the file has \(size)", file: path, offset: offset)
        }
        guard descriptor >= 0 else {
            memory.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(end)])) }
            return
        }
        var done = 0
        while done < buffer.count {
            let count = SystemError.retrying {
                pread(descriptor, base + done, buffer.count - done, start + off_t(done))
            }
            if count < 0 { throw SystemError.last("cannot read", file: path) }
            if count == 0 {
                throw PeftfileError(
                    .io, "the file shrank while it was read: it had \(size) bytes", file: path,
                    offset: offset + UInt64(done))
            }
            done += count
        }
    }

    /// The `count` bytes from `offset` on.
    ///
    /// - Throws: `.io` where the file does not have these bytes, has shrunk since it was opened, or cannot be read.
    public func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
        // Held against the size before anything is allocated: the count may come from the file itself.
        guard count >= 0, UInt64(count) <= size, offset <= size - UInt64(count) else {
            throw PeftfileError(.io, "cannot read \(count) bytes: the file has \(size)", file: path, offset: offset)
        }
        return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            try read(
                at: offset, into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[..<count])))
            initialized = count
        }
    }

    /// All bytes of the file, which may have at most `limit`.
    ///
    /// - Throws: `.refused` where the file has more than `limit` bytes; `.io` where it has shrunk since it was opened or cannot be read.
    public func allBytes(limit: UInt64) throws -> [UInt8] {
        guard size <= limit else {
            throw PeftfileError(.refused, "the file has \(size) bytes; at most \(limit) are read", file: path)
        }
        return try bytes(at: 0, count: Int(size))
    }
}
