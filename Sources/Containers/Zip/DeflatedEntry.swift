import ByteAccess

/// A deflated entry that can be read from any position in bounded memory.
///
/// Opening inflates it once, in pieces, to check it whole (its stream, its size, its CRC), and keeps copies of the
/// stream's state on the way: one at least every 8 MiB of content, at most 256, of about 40 KiB each. A read goes on
/// from the nearest state before it; the states that reads ended in are kept for the next ones, so that reading in order
/// inflates nothing twice.
final class DeflatedEntry: Sendable {
    let entry: ZipArchive.Entry
    private let reader: FileReader
    private let states: [InflateStream]
    private let resting = Mutex<[InflateStream]>([])
    /// States of reads that are kept.
    private static let restingLimit = 4

    init(_ entry: ZipArchive.Entry, in reader: FileReader) throws {
        self.entry = entry
        self.reader = reader
        let step = max(8 << 20, entry.size / 256 + 1)
        var states: [InflateStream] = []
        var crc: UInt32 = 0
        try InflateStream.walk(
            entry, in: reader,
            noting: { stream in
                guard stream.position / step > UInt64(states.count), !stream.isAtEnd else { return }
                states.append(try InflateStream(copying: stream))
            },
            { crc = CRC32.update(crc, $0) })
        try ZipArchive.check(crc, entry, file: reader.path)
        self.states = states
    }

    /// Fills `buffer` with the content from `offset` on.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        let stream = try takeStream(before: offset)
        if stream.position < offset {
            var skipped = [UInt8](repeating: 0, count: Int(min(offset - stream.position, 1 << 18)))
            while stream.position < offset {
                let count = Int(min(offset - stream.position, UInt64(skipped.count)))
                let given = try skipped.withUnsafeMutableBytes {
                    try stream.next(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<count]))
                }
                guard given > 0 else { throw stream.broken("it ended while it was read") }
            }
        }
        guard try stream.next(into: buffer) == buffer.count else {
            throw stream.broken("it ended while it was read")
        }
        resting.withLock { resting in
            if resting.count == Self.restingLimit { resting.removeFirst() }
            resting.append(stream)
        }
    }

    /// A stream at or before `offset`, the nearest there is; the caller's own.
    private func takeStream(before offset: UInt64) throws -> InflateStream {
        let state = states.last { $0.position <= offset }
        let rested: InflateStream? = resting.withLock { resting in
            let candidates = resting.indices.filter {
                resting[$0].position <= offset && resting[$0].position >= state?.position ?? 0
            }
            guard let index = candidates.max(by: { resting[$0].position < resting[$1].position }) else { return nil }
            return resting.remove(at: index)
        }
        if let rested { return rested }
        return try state.map { try InflateStream(copying: $0) } ?? InflateStream(entry, in: reader)
    }
}
