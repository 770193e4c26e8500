import ByteAccess

/// The end of a zip archive: where its central directory is, and how many entries it has.
///
/// The directory must end where the end record (with zip64, the zip64 one) begins, and the archive's comment where the
/// file does: nothing before or after an archive is taken for part of it.
struct ZipEndRecord {
    let directory: Range<UInt64>
    let count: UInt64

    private static let signature: [UInt8] = [0x50, 0x4B, 0x05, 0x06]

    init(_ reader: FileReader) throws {
        func broken(_ message: String, at offset: UInt64? = nil) -> PeftfileError {
            ZipRule.endRecord.broken(
                message, file: reader.path, offset: offset,
                help: "the file is cut short or damaged: fetch it again")
        }
        // The record has 22 bytes and a comment of up to 65535.
        let window = Int(min(reader.size, 22 + 65535))
        let start = reader.size - UInt64(window)
        let tail = try reader.bytes(at: start, count: window)
        var found: [Int] = []
        for position in stride(from: tail.count - 22, through: 0, by: -1)
        where tail[position] == 0x50 && tail[position...].starts(with: ZipEndRecord.signature)
            && Int(tail.number(UInt16.self, at: position + 20) ?? 0) == tail.count - position - 22
        {
            found.append(position)
        }
        guard let position = found.first else { throw broken("the archive has no end record") }
        guard found.count == 1 else { throw broken("two end records fit the end of the file") }
        let at = start + UInt64(position)
        func short(_ offset: Int) -> UInt64 { UInt64(tail.number(UInt16.self, at: position + offset) ?? 0) }
        func long(_ offset: Int) -> UInt64 { UInt64(tail.number(UInt32.self, at: position + offset) ?? 0) }
        var (disk, directoryDisk) = (short(4), short(6))
        var (here, count, size, offset) = (short(8), short(10), long(12), long(16))
        var end = at
        if let wide = try ZipEndRecord.wide(reader, before: at) {
            // What the short record can hold it must say too.
            let agrees = (here == 0xFFFF || here == wide.here) && (count == 0xFFFF || count == wide.count)
                && (size == 0xFFFF_FFFF || size == wide.size) && (offset == 0xFFFF_FFFF || offset == wide.offset)
            guard agrees else { throw broken("the two end records disagree", at: at) }
            (here, count, size, offset, end) = (wide.here, wide.count, wide.size, wide.offset, wide.begin)
            (disk, directoryDisk) = (disk == 0xFFFF ? 0 : disk, directoryDisk == 0xFFFF ? 0 : directoryDisk)
        } else if count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
            throw broken("the zip64 end record is missing", at: at)
        }
        guard disk == 0, directoryDisk == 0, here == count else { throw broken("the archive is split", at: at) }
        let (sum, overflow) = offset.addingReportingOverflow(size)
        guard !overflow, sum == end else {
            throw ZipRule.directory.broken("the directory does not end at the end record", file: reader.path, offset: at)
        }
        guard size <= ZipArchive.directoryLimit, count <= size / 46 else {
            throw ZipRule.directory.broken(
                "the directory has \(size) bytes, which cannot hold the \(count) entries it says or are too many",
                file: reader.path, offset: offset)
        }
        directory = offset..<end
        self.count = count
    }

    /// The zip64 end record, where its locator stands before the end record.
    private static func wide(
        _ reader: FileReader, before end: UInt64
    ) throws -> (begin: UInt64, here: UInt64, count: UInt64, size: UInt64, offset: UInt64)? {
        guard end >= 20 else { return nil }
        let locator = try reader.bytes(at: end - 20, count: 20)
        guard locator.starts(with: [0x50, 0x4B, 0x06, 0x07]) else { return nil }
        func broken(_ message: String) -> PeftfileError {
            ZipRule.endRecord.broken(message, file: reader.path, offset: end - 20)
        }
        guard let begin = locator.number(UInt64.self, at: 8), locator.number(UInt32.self, at: 4) == 0,
            begin <= end - 20, end - 20 - begin >= 56
        else { throw broken("the zip64 locator points outside the archive") }
        let record = try reader.bytes(at: begin, count: 56)
        guard record.starts(with: [0x50, 0x4B, 0x06, 0x06]), let length = record.number(UInt64.self, at: 4),
            length == end - 20 - begin - 12, record.number(UInt32.self, at: 16) == 0,
            record.number(UInt32.self, at: 20) == 0, let here = record.number(UInt64.self, at: 24),
            let count = record.number(UInt64.self, at: 32), let size = record.number(UInt64.self, at: 40),
            let offset = record.number(UInt64.self, at: 48)
        else { throw broken("the zip64 end record is not where its locator says") }
        return (begin, here, count, size, offset)
    }
}
