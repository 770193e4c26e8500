import ByteAccess

extension ZipArchive {
    /// The entries of a central directory, in its order; their own headers are not read yet.
    static func entries(in bytes: [UInt8], end: ZipEndRecord, file: String) throws -> [Entry] {
        var entries: [Entry] = []
        entries.reserveCapacity(Int(end.count))
        var position = 0
        while position < bytes.count {
            let (entry, next) = try self.entry(in: bytes, at: position, base: end.directory.lowerBound, file: file)
            entries.append(entry)
            position = next
        }
        guard UInt64(entries.count) == end.count else {
            throw ZipRule.directory.broken(
                "the directory has \(entries.count) entries, and the end record says \(end.count)", file: file,
                offset: end.directory.lowerBound)
        }
        return entries
    }

    /// Reads one entry, its fields in the order of the format.
    private static func entry(
        in bytes: [UInt8], at position: Int, base: UInt64, file: String
    ) throws -> (Entry, next: Int) {
        let offset = base + UInt64(position)
        guard bytes.count - position >= 46, bytes[position...].starts(with: [0x50, 0x4B, 0x01, 0x02]) else {
            throw ZipRule.directory.broken("there is no entry where one should be", file: file, offset: offset)
        }
        func short(_ field: Int) -> UInt16 { bytes.number(UInt16.self, at: position + field) ?? 0 }
        func long(_ field: Int) -> UInt64 { UInt64(bytes.number(UInt32.self, at: position + field) ?? 0) }
        let flags = short(8)
        let method = short(10)
        let crc = UInt32(long(16))
        var storedSize = long(20)
        var size = long(24)
        let nameCount = Int(short(28))
        let extraCount = Int(short(30))
        let commentCount = Int(short(32))
        let disk = short(34)
        var header = long(42)
        let next = position + 46 + nameCount + extraCount + commentCount
        guard next <= bytes.count else {
            throw ZipRule.directory.broken("an entry ends outside the directory", file: file, offset: offset)
        }
        let nameBytes = Array(bytes[(position + 46)..<(position + 46 + nameCount)])
        guard nameBytes.withUnsafeBytes({ UTF8Validation.firstInvalidByte(in: $0) }) == nil else {
            throw ZipRule.name.broken("the name of an entry is not UTF-8", file: file, offset: offset)
        }
        let name = ExactString(String(decoding: nameBytes, as: UTF8.self))
        func broken(_ message: String) -> PeftfileError {
            ZipRule.entry.broken("\"\(name.text.printable)\" \(message)", file: file, offset: offset)
        }
        try widen(
            &size, &storedSize, &header, extra: bytes[(position + 46 + nameCount)..<(next - commentCount)],
            broken: broken)
        // Bits 1 and 2 are hints to deflate, 3 puts CRC and sizes behind the data, 11 says that names are UTF-8.
        guard flags & ~0x080E == 0 else { throw broken("is encrypted, or is a patch") }
        guard method == 0 || method == 8 else { throw broken("is compressed with method \(method)") }
        guard disk == 0 else { throw broken("is on another disk") }
        guard method == 8 || storedSize == size else { throw broken("is stored, and its two sizes differ") }
        guard storedSize <= base, header <= base else { throw broken("ends outside the archive") }
        let (most, overflow) = storedSize.multipliedReportingOverflow(by: highestRatio)
        guard overflow || size <= most else {
            throw ZipRule.ratio.broken(
                "\"\(name.text.printable)\" declares \(size) bytes in \(storedSize) compressed ones, which deflate "
                    + "cannot give", file: file, offset: offset)
        }
        let entry = Entry(
            name: name, isDeflated: method == 8, crc: crc, storedSize: storedSize, size: size, header: header,
            flags: flags)
        return (entry, next)
    }

    /// Takes the fields of 32 bits that are all ones from the zip64 extra field.
    private static func widen(
        _ size: inout UInt64, _ storedSize: inout UInt64, _ header: inout UInt64, extra: ArraySlice<UInt8>,
        broken: (String) -> PeftfileError
    ) throws {
        let isWide = [size, storedSize, header].map { $0 == 0xFFFF_FFFF }
        guard isWide.contains(true) else { return }
        let extra = Array(extra)
        var position = 0
        while let tag = extra.number(UInt16.self, at: position), let count = extra.number(UInt16.self, at: position + 2) {
            guard tag == 1 else {
                position += 4 + Int(count)
                continue
            }
            var field = position + 4
            let end = field + Int(count)
            func take() throws -> UInt64 {
                guard field + 8 <= end, let value = extra.number(UInt64.self, at: field) else {
                    throw broken("has a zip64 field that is too short")
                }
                field += 8
                return value
            }
            if isWide[0] { size = try take() }
            if isWide[1] { storedSize = try take() }
            if isWide[2] { header = try take() }
            return
        }
        throw broken("lacks its zip64 field")
    }
}
