import ByteAccess

/// The bytes of a storage: where they lie in the file, and how they are read.
///
/// A deflated record was checked whole when the file was opened. A stored record is read in place, and its CRC is checked
/// once: in one pass over it before any of its bytes are given out, or, for a reader that throws away what it made of them where
/// the check fails, of the bytes as they are read (``deferCheck()``).
final class Storage: Sendable {
    let byteCount: UInt64
    /// Bytes that the file has for it.
    var storedByteCount: UInt64 { entry?.storedSize ?? byteCount }
    /// Where the bytes begin in the file, as they are or deflated.
    let begin: UInt64
    /// Whether the file has the bytes as they are.
    var isStored: Bool { deflated == nil }
    private let reader: FileReader
    private let deflated: DeflatedEntry?
    private let entry: ZipArchive.Entry?
    private struct State {
        var isChecked = false
        /// What was read while the check waits; nil where it does not wait.
        var trail: ChecksumTrail?
    }
    private let state = Mutex(State())

    /// A record of a zip archive.
    init(_ entry: ZipArchive.Entry, in reader: FileReader) throws {
        (self.entry, self.reader) = (entry, reader)
        byteCount = entry.size
        begin = entry.begin
        deflated = entry.isDeflated ? try DeflatedEntry(entry, in: reader) : nil
    }

    /// Bytes of a file in the old form, which has no checksums.
    init(_ bytes: Range<UInt64>, in reader: FileReader) {
        self.reader = reader
        byteCount = bytes.upperBound - bytes.lowerBound
        begin = bytes.lowerBound
        (entry, deflated) = (nil, nil)
    }

    /// Whether the record has a CRC that nobody has checked.
    var isPending: Bool { entry != nil && isStored && !state.withLock { $0.isChecked } }

    /// Checks the CRC of a stored record, once; where the check waits, it goes on waiting.
    func validate() throws {
        guard let entry, isStored else { return }
        try state.withLock { state in
            guard !state.isChecked, state.trail == nil else { return }
            try ZipArchive.check(crc(of: 0..<entry.size, entry), entry, file: reader.path)
            state.isChecked = true
        }
    }

    /// From here on bytes are given out before the CRC is checked; ``finishCheck()`` does that.
    func deferCheck() {
        guard isPending else { return }
        state.withLock { if $0.trail == nil { $0.trail = ChecksumTrail() } }
    }

    /// Checks the CRC of a record of which bytes were given out: of those, and of what is read now because nobody did.
    func finishCheck() throws {
        guard let entry else { return }
        try state.withLock { state in
            guard !state.isChecked, let trail = state.trail, trail.isTouched else { return }
            let found = try trail.crc(of: entry.size) { try crc(of: $0, entry) }
            try ZipArchive.check(found, entry, file: reader.path)
            (state.isChecked, state.trail) = (true, nil)
        }
    }

    /// The CRC of a part of the record, read for nothing else.
    private func crc(of range: Range<UInt64>, _ entry: ZipArchive.Entry) throws -> UInt32 {
        var crc: UInt32 = 0
        var offset = range.lowerBound
        var buffer = [UInt8](repeating: 0, count: Int(min(UInt64(range.count), 1 << 20)))
        while offset < range.upperBound {
            try Interruption.check()
            let count = Int(min(range.upperBound - offset, UInt64(buffer.count)))
            try buffer.withUnsafeMutableBytes { buffer in
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
                try reader.read(at: entry.begin + offset, into: part)
                crc = CRC32.update(crc, UnsafeRawBufferPointer(part))
            }
            offset += UInt64(count)
        }
        return crc
    }

    /// Fills `buffer` with the storage's bytes from `offset` on.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        if let deflated {
            try deflated.read(at: offset, into: buffer)
        } else {
            try reader.read(at: begin + offset, into: buffer)
            guard entry != nil else { return }
            guard state.withLock({ $0.trail != nil }) else { return }
            let crc = CRC32.update(0, UnsafeRawBufferPointer(buffer))
            state.withLock { $0.trail?.add(crc, of: offset..<(offset + UInt64(buffer.count))) }
        }
    }
}
