import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Zip archives that two readers could read as two, and those with 64-bit fields: rules ZipEnd to ZipData of `Formats/torch.md`.
@Suite struct ZipArchiveTests {
    private static let elements: [UInt8] = [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]
    private static let array = NPYBuilder.array(elements, shape: [2])
    private static func archive() throws -> [UInt8] { try ZipFile.archive([.init("w.npy", array)]) }

    private static func le(_ number: some FixedWidthInteger) -> [UInt8] { GGUFBuilder.little(number) }

    private static func number(_ bytes: [UInt8], at offset: Int, count: Int = 4) -> Int {
        bytes[offset..<(offset + count)].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private func refused(_ bytes: [UInt8], _ rule: ZipRule, _ words: String) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(bytes, to: "f")
        let error = #expect(throws: PeftfileError.self) { try NPZFile.open(path) }
        #expect(error?.rule == rule.rawValue && error?.code == .malformed && error?.file == path, "\(error as Any)")
        #expect(error?.message.contains(words) == true, "\(error as Any)")
    }

    private func accepted(_ bytes: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        let file = try NPZFile.open(directory.write(bytes, to: "f"))
        #expect(file.tensors.map(\.name) == ["w"] && file.tensors[0].shape == [2])
        #expect(try Pickles.bytes(of: file.tensors[0], in: file) == Self.elements)
    }

    // MARK: End records

    /// The comment of one end record is another: a reader from the front sees one archive, a reader from the back the other.
    @Test func twoEndRecordsAreRefused() throws {
        var bytes = try Self.archive()
        let end = Array(bytes.suffix(22))
        bytes.replaceSubrange((bytes.count - 2)..., with: Self.le(UInt16(22)))
        try refused(bytes + end, .endRecord, "two end records fit the end of the file")
        // A comment alone is none.
        bytes.replaceSubrange((bytes.count - 2)..., with: Self.le(UInt16(3)))
        try accepted(bytes + [0x50, 0x4B, 5])
        try refused(bytes + [0x50, 0x4B], .endRecord, "the archive has no end record")
    }

    /// The archive with a zip64 end record, and all ones in the old one but for `here`, the entries on this disk.
    private static func wide(here: UInt16 = .max, disk: UInt16 = .max, count: UInt64 = 1, place: UInt64? = nil) throws -> [UInt8] {
        let bytes = try archive()
        let (size, offset) = (UInt64(number(bytes, at: bytes.count - 10)), UInt64(number(bytes, at: bytes.count - 6)))
        let record = [0x50, 0x4B, 6, 6] + le(UInt64(44)) + [45, 0, 45, 0] + le(UInt64(0)) + le(count) + le(count) + le(size) + le(offset)
        let locator = [0x50, 0x4B, 6, 7] + le(UInt32(0)) + le(place ?? UInt64(bytes.count - 22)) + le(UInt32(1))
        let end = [0x50, 0x4B, 5, 6] + le(disk) + le(disk) + le(here) + le(UInt16.max) + le(UInt32.max) + le(UInt32.max) + le(UInt16(0))
        return Array(bytes.dropLast(22)) + record + locator + end
    }

    @Test func aZip64EndRecordIsRead() throws {
        try accepted(Self.wide())
        try accepted(Self.wide(here: 1, disk: 0))
        try refused(Self.wide(here: 2), .endRecord, "the two end records disagree")
        try refused(Self.wide(disk: 1), .endRecord, "the archive is split")
        try refused(Self.wide(count: 2), .directory, "cannot hold the 2 entries it says")
        for place in [UInt64.max, 1 << 40] {
            try refused(Self.wide(place: place), .endRecord, "the zip64 locator points outside the archive")
        }
        try refused(Self.wide(place: 0), .endRecord, "the zip64 end record is not where its locator says")
        // Without its locator there is nothing that all ones could stand for.
        var bytes = try Self.wide()
        bytes.removeSubrange((bytes.count - 42)..<(bytes.count - 22))
        try refused(bytes, .endRecord, "the zip64 end record is missing")
    }

    // MARK: Entries

    /// The archive whose only entry has all ones for its sizes and place in the directory, and this extra field.
    private static func wideEntry(extra: [UInt8]) throws -> [UInt8] {
        var bytes = try archive()
        let entry = number(bytes, at: bytes.count - 6)
        bytes.replaceSubrange((entry + 20)..<(entry + 28), with: le(UInt64.max))
        bytes.replaceSubrange((entry + 30)..<(entry + 32), with: le(UInt16(extra.count)))
        bytes.replaceSubrange((entry + 42)..<(entry + 46), with: le(UInt32.max))
        let size = UInt32(number(bytes, at: bytes.count - 10) + extra.count)
        bytes.replaceSubrange((bytes.count - 10)..<(bytes.count - 6), with: le(size))
        bytes.insert(contentsOf: extra, at: bytes.count - 22)
        return bytes
    }

    @Test func sizesAreTakenFromTheZip64Field() throws {
        let size = Self.le(UInt64(Self.array.count))
        let other = Self.le(UInt16(0x5455)) + Self.le(UInt16(3)) + [1, 2, 3]
        let field = Self.le(UInt16(1)) + Self.le(UInt16(24)) + size + size + Self.le(UInt64(0))
        try accepted(Self.wideEntry(extra: field))
        try accepted(Self.wideEntry(extra: other + field))
        let short = #""w.npy" has a zip64 field that is too short"#
        for count in [0, 7, 8, 16, 23] {
            try refused(Self.wideEntry(extra: Self.le(UInt16(1)) + Self.le(UInt16(count)) + (size + size + size).prefix(count)), .entry, short)
        }
        // What the field says it has is not there.
        try refused(Self.wideEntry(extra: Array(field.dropLast(8))), .entry, short)
        for extra in [[], other, Array(field.prefix(3))] {
            try refused(Self.wideEntry(extra: extra), .entry, #""w.npy" lacks its zip64 field"#)
        }
        let far = Self.le(UInt16(1)) + Self.le(UInt16(24)) + size + size + Self.le(UInt64.max)
        try refused(Self.wideEntry(extra: far), .entry, "ends outside the archive")
    }

    /// An entry's own header where another entry has its bytes, and where the directory begins.
    @Test func headersAreWhereEntriesAre() throws {
        let inner = try Self.archive()
        let entry = Array(inner.prefix(Self.number(inner, at: inner.count - 6)))
        var bytes = try ZipFile.archive([.init("a.npy", entry), .init("w.npy", Self.array)])
        let end = bytes.count - 22
        // The last entry of the directory ends with its place and its name.
        let place = end - 5 - 4
        bytes.replaceSubrange(place..<(place + 4), with: Self.le(UInt32(30 + 5)))
        try refused(bytes, .overlap, #""w.npy" lies inside "a.npy""#)
        let directory = Self.number(bytes, at: end + 16)
        for distance in [0, 34] {
            bytes.replaceSubrange(place..<(place + 4), with: Self.le(UInt32(directory - distance)))
            try refused(bytes, .localHeader, #""w.npy": its header lies outside the archive"#)
        }
        bytes.replaceSubrange(place..<(place + 4), with: Self.le(UInt32(directory - 35)))
        try refused(bytes, .localHeader, #""w.npy": there is no header at its place"#)
    }

    @Test func aSmallEntryIsSmall() throws {
        let directory = try TemporaryDirectory()
        for (count, rule, words) in [
            (17, "ZipEntry", #""a/byteorder" has 17 bytes; at most 16 are read"#), (16, "TorchByteOrder", "byteorder is neither little nor big"),
        ] {
            let file = try TorchBuilder.file(
                pickle: Pickles.whole(Pickles.emptyDict), storages: [], byteOrder: String(repeating: "l", count: count))
            let path = try directory.write(file, to: "f")
            let error = #expect(throws: PeftfileError.self) { try TorchFile.open(path) }
            #expect(error?.rule == rule && error?.message == words && error?.code == .malformed)
        }
    }

    // MARK: Deflated entries

    @Test func aDeflatedEntryIsOneWholeStream() throws {
        let whole = try ZipFile.deflated(Self.array)
        func file(_ data: [UInt8], _ content: [UInt8] = Self.array) throws -> [UInt8] {
            try ZipFile.archive([.init("w.npy", content, isDeflated: true, data: data)])
        }
        try accepted(file(whole))
        try refused(file(whole + [0]), .data, #""w.npy": bytes follow the deflate stream"#)
        try refused(file(whole.dropLast()), .data, "its deflate stream is damaged or ends too early")
        try refused(file([0xFF] + whole), .data, "its deflate stream is damaged or ends too early")
        let count = Self.array.count
        try refused(file(whole, Self.array + [0]), .data, "it inflates to \(count) bytes, and \(count + 1) are declared")
        try refused(file(whole, Self.array.dropLast()), .data, "it inflates to more than the \(count - 1) bytes declared")
    }

    /// A record that another program writes over between opening and reading: shorter content, or none.
    @Test func aDeflatedRecordThatChangedIsRefused() throws {
        var random = SplitMix64(seed: 9)
        let storage = (0..<4096).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let view = TorchBuilder.View(name: "w", key: "0", count: 1024, shape: [1024], strides: [1])
        let good = try TorchBuilder.file(pickle: TorchBuilder.pickle([view]), storages: [("0", storage)], isDeflated: true)
        let data = try ZipFile.deflated(storage)
        let place = try #require(good.indices.first { good[$0...].starts(with: data) })
        let short = try ZipFile.deflated(Array(storage.prefix(100)))
        for (replacement, offset, words) in [
            (short, 0, "it ended while it was read"), (short, 2000, "it ended while it was read"),
            ([UInt8](repeating: 0xFF, count: 8), 0, "its deflate stream is damaged or ends too early"),
        ] {
            let directory = try TemporaryDirectory()
            let path = try directory.write(good, to: "f")
            let file = try TorchFile.open(path)
            var changed = good
            changed.replaceSubrange(place..<(place + replacement.count), with: replacement)
            try directory.write(changed, to: "f")
            var part = [UInt8](repeating: 0, count: 1000)
            let error = #expect(throws: PeftfileError.self) {
                try part.withUnsafeMutableBytes { try file.read(file.tensors[0], at: UInt64(offset), into: $0) }
            }
            #expect(error?.rule == "ZipData" && error?.code == .malformed && error?.file == path)
            #expect(error?.message == "\"a/data/0\": \(words)", "\(error as Any)")
        }
    }
}
