import ByteAccess

/// The entries of a zip archive, read from its end and checked whole: names, sizes, places, and that no two share a byte.
///
/// Entries are never files here and names never paths: nothing is unpacked. Memory is the central directory and about 100
/// bytes an entry.
///
/// Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3; the defence against overlapping entries is that of
/// Fifield, "A better zip bomb" (2019).
struct ZipArchive: Sendable {
    /// One entry.
    struct Entry: Sendable, Hashable {
        var name: ExactString
        /// Deflated, or stored as it is.
        var isDeflated: Bool
        var crc: UInt32
        /// Bytes in the archive.
        var storedSize: UInt64
        /// Bytes of the content; the same where it is stored.
        var size: UInt64
        /// Where the entry's own header stands.
        var header: UInt64
        /// Where its bytes begin.
        var begin: UInt64 = 0
        /// The general purpose bits.
        var flags: UInt16
        var end: UInt64 { begin + storedSize }
    }

    let reader: FileReader
    /// In the order of the directory.
    let entries: [Entry]
    /// The bytes of the central directory.
    let directory: Range<UInt64>
    private let positions: [ExactString: Int]

    /// The most bytes of a central directory that are read; an archive with 10^6 entries has less.
    static let directoryLimit: UInt64 = 100_000_000
    /// Deflate gives at most 258 bytes for two bits, which is 1032 for a byte.
    static let highestRatio: UInt64 = 1032

    /// The entry called `name`, byte for byte.
    subscript(name: ExactString) -> Entry? { positions[name].map { entries[$0] } }

    init(_ reader: FileReader) throws {
        let end = try ZipEndRecord(reader)
        let bytes = try reader.bytes(at: end.directory.lowerBound, count: end.directory.count)
        var entries = try ZipArchive.entries(in: bytes, end: end, file: reader.path)
        var positions: [ExactString: Int] = [:]
        positions.reserveCapacity(entries.count)
        for (position, entry) in entries.enumerated() {
            guard positions.updateValue(position, forKey: entry.name) == nil else {
                throw ZipRule.name.broken(
                    "two entries are called \"\(entry.name.text.printable)\"", file: reader.path, offset: entry.header)
            }
        }
        try ZipArchive.locate(&entries, before: end.directory.lowerBound, reader)
        self.reader = reader
        self.entries = entries
        self.positions = positions
        directory = end.directory
    }

    /// The bytes of a small entry, its CRC checked.
    func content(_ entry: Entry, limit: UInt64) throws -> [UInt8] {
        guard entry.size <= limit else {
            throw ZipRule.entry.broken(
                "\"\(entry.name.text.printable)\" has \(entry.size) bytes; at most \(limit) are read", file: reader.path,
                offset: entry.header)
        }
        var bytes: [UInt8]
        if entry.isDeflated {
            bytes = []
            _ = try InflateStream.walk(entry, in: reader) { bytes.append(contentsOf: $0) }
        } else {
            bytes = try reader.bytes(at: entry.begin, count: Int(entry.size))
        }
        try ZipArchive.check(CRC32.of(bytes), entry, file: reader.path)
        return bytes
    }

    /// Holds a CRC against the entry's.
    static func check(_ crc: UInt32, _ entry: Entry, file: String) throws {
        guard crc == entry.crc else {
            throw ZipRule.crc.broken(
                "the CRC-32 of \"\(entry.name.text.printable)\" is \(hex(crc)), and \(hex(entry.crc)) is recorded",
                file: file, offset: entry.begin,
                help: "the file is damaged, or torch saved it without CRCs (torch.serialization.set_crc32_options(False))")
        }
    }

    private static func hex(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Finds where each entry's bytes begin, by its own header, and refuses entries that share any.
    private static func locate(_ entries: inout [Entry], before limit: UInt64, _ reader: FileReader) throws {
        for index in entries.indices { entries[index].begin = try begin(of: entries[index], limit: limit, reader) }
        var last: Entry?
        for entry in entries.sorted(by: { ($0.header, $0.begin) < ($1.header, $1.begin) }) {
            if let last, entry.header < last.end {
                throw ZipRule.overlap.broken(
                    "\"\(entry.name.text.printable)\" lies inside \"\(last.name.text.printable)\"", file: reader.path,
                    offset: entry.header)
            }
            last = entry
        }
    }

    /// Reads an entry's own header and holds it against the directory.
    private static func begin(of entry: Entry, limit: UInt64, _ reader: FileReader) throws -> UInt64 {
        func broken(_ message: String) -> PeftfileError {
            ZipRule.localHeader.broken(
                "\"\(entry.name.text.printable)\": \(message)", file: reader.path, offset: entry.header)
        }
        let name = Array(entry.name.text.utf8)
        guard entry.header <= limit, limit - entry.header >= UInt64(30 + name.count) else {
            throw broken("its header lies outside the archive")
        }
        let bytes = try reader.bytes(at: entry.header, count: 30 + name.count)
        guard bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) else { throw broken("there is no header at its place") }
        guard bytes.number(UInt16.self, at: 26).map(Int.init) == name.count, bytes[30...].elementsEqual(name) else {
            throw broken("its header has another name")
        }
        guard bytes.number(UInt16.self, at: 6) == entry.flags,
            bytes.number(UInt16.self, at: 8) == (entry.isDeflated ? 8 : 0)
        else { throw broken("its header has another method or other flags") }
        // Bit 3: CRC and sizes follow the data, and the header has zeros or, as torch writes it, the numbers too. Where
        // there are numbers they are the directory's; all ones stand for a zip64 field.
        let recorded: [(Int, UInt64)] = [(14, UInt64(entry.crc)), (18, entry.storedSize), (22, entry.size)]
        for (offset, expected) in recorded {
            let value = bytes.number(UInt32.self, at: offset) ?? 0
            let isAbsent = value == 0 && entry.flags & 8 != 0 || offset != 14 && value == .max
            guard isAbsent || UInt64(value) == expected else { throw broken("its header has another CRC or size") }
        }
        let begin = entry.header + 30 + UInt64(name.count) + UInt64(bytes.number(UInt16.self, at: 28) ?? 0)
        guard begin <= limit, entry.storedSize <= limit - begin else {
            throw ZipRule.entry.broken(
                "\"\(entry.name.text.printable)\" ends outside the archive", file: reader.path, offset: entry.header)
        }
        return begin
    }
}
