import ByteAccess
internal import CZlib

/// CRC-32 as zip has it.
enum CRC32 {
    static func of(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0
        bytes.withUnsafeBytes { crc = update(crc, $0) }
        return crc
    }

    /// The CRC of what came before, followed by `bytes`.
    static func update(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        UInt32(
            truncatingIfNeeded: crc32_z(
                uLong(crc), bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), z_size_t(bytes.count)))
    }

    /// The CRC of two runs of bytes, one behind the other.
    ///
    /// - Parameter count: how many bytes the second run has.
    static func joined(_ first: UInt32, _ second: UInt32, count: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: crc32_combine(uLong(first), uLong(second), Int(count)))
    }
}

/// A raw deflate stream of a zip entry at some position of its content. A copy of it can go on from there.
///
/// zlib's state knows the address of its `z_stream`, which therefore lives on the heap and does not move. A stream is
/// used by one thread at a time; `DeflatedEntry` sees to it.
final class InflateStream: @unchecked Sendable {
    private let stream: UnsafeMutablePointer<z_stream>
    /// Bytes of content given so far.
    private(set) var position: UInt64 = 0
    /// Compressed bytes used so far.
    private(set) var consumed: UInt64 = 0
    private(set) var isAtEnd = false
    private var input: [UInt8] = []
    private var inputPosition = 0
    private let entry: ZipArchive.Entry
    private let reader: FileReader

    /// Bytes of compressed input read at once.
    private static let inputSize = 1 << 16

    init(_ entry: ZipArchive.Entry, in reader: FileReader) throws {
        self.entry = entry
        self.reader = reader
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // Negative: raw deflate without zlib's header, with the largest window.
        guard inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            stream.deallocate()
            throw PeftfileError(.io, "zlib has no memory", file: reader.path)
        }
    }

    /// A copy at the same position.
    init(copying other: InflateStream) throws {
        entry = other.entry
        reader = other.reader
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard inflateCopy(stream, other.stream) == Z_OK else {
            stream.deallocate()
            throw PeftfileError(.io, "zlib has no memory", file: other.reader.path)
        }
        (position, consumed, isAtEnd) = (other.position, other.consumed, other.isAtEnd)
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Gives the next bytes of the content, as many as `output` has room for, fewer at its end.
    ///
    /// Throws ZipData where the stream is damaged, or does not end with the entry.
    func next(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < output.count, !isAtEnd {
            if inputPosition == input.count {
                let count = min(UInt64(Self.inputSize), entry.storedSize - consumed)
                input = try reader.bytes(at: entry.begin + consumed, count: Int(count))
                inputPosition = 0
            }
            let (status, used, given) = input.withUnsafeMutableBytes { input in
                let room = min(output.count - done, 1 << 30)
                stream.pointee.next_in = (input.baseAddress?.assumingMemoryBound(to: UInt8.self))
                    .map { $0 + inputPosition }
                stream.pointee.avail_in = UInt32(input.count - inputPosition)
                stream.pointee.next_out = (output.baseAddress?.assumingMemoryBound(to: UInt8.self)).map { $0 + done }
                stream.pointee.avail_out = UInt32(room)
                let before = input.count - inputPosition
                let status = inflate(stream, Z_NO_FLUSH)
                return (status, before - Int(stream.pointee.avail_in), room - Int(stream.pointee.avail_out))
            }
            inputPosition += used
            consumed += UInt64(used)
            done += given
            position += UInt64(given)
            if status == Z_STREAM_END {
                isAtEnd = true
            } else if status != Z_OK || used == 0 && given == 0 {
                throw broken("its deflate stream is damaged or ends too early")
            }
            guard position <= entry.size else { throw broken("it inflates to more than the \(entry.size) bytes declared") }
        }
        return done
    }

    /// The error of a stream that breaks ZipData.
    func broken(_ message: String) -> PeftfileError {
        ZipRule.data.broken(
            "\"\(entry.name.text.printable)\": \(message)", file: reader.path, offset: entry.begin + consumed)
    }

    /// Goes through the whole content in pieces and checks that it is the entry's: its size, its end, not its CRC.
    ///
    /// - Parameter visit: called with each piece; after it the stream, at the piece's end, may be copied.
    static func walk(
        _ entry: ZipArchive.Entry, in reader: FileReader, noting note: (InflateStream) throws -> Void = { _ in },
        _ visit: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let stream = try InflateStream(entry, in: reader)
        var buffer = [UInt8](repeating: 0, count: Int(min(max(entry.size, 1), 1 << 18)))
        while !stream.isAtEnd {
            try Interruption.check()
            try buffer.withUnsafeMutableBytes { buffer in
                // One byte of room more than the content may have shows a stream that goes on.
                let count = try stream.next(into: buffer)
                try visit(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            try note(stream)
        }
        guard stream.position == entry.size else {
            throw stream.broken("it inflates to \(stream.position) bytes, and \(entry.size) are declared")
        }
        guard stream.consumed == entry.storedSize else { throw stream.broken("bytes follow the deflate stream") }
    }
}
