import ByteAccess
import Synchronization

/// The bytes of a storage: where they lie in the file, and how they are read.
///
/// A deflated record was checked whole when the file was opened. A stored record is read in place, and its CRC is checked
/// once, in one pass over it, before any of its bytes are given out.
final class Storage: Sendable {
    let byteCount: UInt64
    /// Where the bytes begin in the file, as they are or deflated.
    let begin: UInt64
    /// Whether the file has the bytes as they are.
    var isStored: Bool { deflated == nil }
    private let reader: FileReader
    private let deflated: DeflatedEntry?
    private let entry: ZipArchive.Entry?
    private let isChecked = Mutex(false)

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

    /// Checks the CRC of a stored record, once.
    func validate() throws {
        guard let entry, isStored else { return }
        try isChecked.withLock { isChecked in
            guard !isChecked else { return }
            var crc: UInt32 = 0
            var offset: UInt64 = 0
            var buffer = [UInt8](repeating: 0, count: Int(min(entry.size, 1 << 20)))
            while offset < entry.size {
                try Interruption.check()
                let count = Int(min(entry.size - offset, UInt64(buffer.count)))
                try buffer.withUnsafeMutableBytes { buffer in
                    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
                    try reader.read(at: entry.begin + offset, into: part)
                    crc = CRC32.update(crc, UnsafeRawBufferPointer(part))
                }
                offset += UInt64(count)
            }
            try ZipArchive.check(crc, entry, file: reader.path)
            isChecked = true
        }
    }

    /// Fills `buffer` with the storage's bytes from `offset` on.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        if let deflated {
            try deflated.read(at: offset, into: buffer)
        } else {
            try reader.read(at: begin + offset, into: buffer)
        }
    }
}
