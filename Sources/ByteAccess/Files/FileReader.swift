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
    /// Size, and the times when content and inode last changed, at opening.
    private let change: String
    private let inode: UInt64
    /// What tells the file, as it was when it was opened, from what it becomes when it is written to or replaced: size, inode, and the
    /// times when its content and its inode last changed. The first time can be set to any value, and tools that copy restore it; the
    /// second cannot. The device is left out: after a restart of the machine it can have another number. Empty for bytes in memory.
    public var stamp: String { change.isEmpty ? "" : "\(inode) \(change)" }

    /// Bytes that are in memory already, read as a file would be. Errors name `path`.
    public init(bytes: [UInt8], path: String) {
        self.path = path
        size = UInt64(bytes.count)
        descriptor = -1
        memory = bytes
        (change, inode) = ("", 0)
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
        (change, inode) = (FileReader.change(of: descriptor), UInt64(status.st_ino))
    }

    private static func change(of descriptor: Int32) -> String {
        var (status, content, inode) = (stat(), timespec(), timespec())
        guard fstat(descriptor, &status) == 0, peftfile_file_times(descriptor, &content, &inode) == 0 else { return "" }
        return "\(status.st_size) " + [content, inode].map { "\($0.tv_sec).\($0.tv_nsec)" }.joined(separator: " ")
    }

    /// What was read is of one piece only where nobody wrote to the file meanwhile, and it can be read again only where its path still
    /// leads to it. Inodes are not compared: file systems in user space give one file another number when it is looked up again.
    ///
    /// - Throws: `.io` with rule `InputChanged` where the file is not as it was at opening, or another one is in its place.
    public func requireUnchanged() throws {
        guard descriptor >= 0 else { return }
        let (held, named) = (FileReader.change(of: descriptor), (try? FileReader(path: path))?.change)
        guard held == change, named == change else {
            throw PeftfileError(
                .io, held == named ? "was changed while it was read" : "was replaced or removed while it was read", file: path,
                rule: "InputChanged", help: "run the command again when nothing writes there")
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
