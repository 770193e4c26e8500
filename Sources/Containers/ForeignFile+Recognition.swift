public import ByteAccess

extension ForeignFile {
    /// What the file is by its first bytes, or nil where they say nothing.
    ///
    /// - Throws: `.io` where the first bytes or the last one cannot be read. A damaged zip archive is no error here.
    public static func identify(_ reader: FileReader) throws -> ForeignFile? {
        let prefix = try reader.bytes(at: 0, count: Int(min(reader.size, 1024)))
        let found = identify(prefix: prefix)
        if found == nil, reader.size > 0, try reader.bytes(at: reader.size - 1, count: 1) == PicklePrefix.end {
            return PicklePrefix(prefix, isWhole: reader.size == prefix.count).isPickle ? .pickle : nil
        }
        guard found == .zip else { return found }
        // Written anew by another tool, the records can have any order.
        let names = (try? ZipArchive(reader))?.entries.map { Array($0.name.text.utf8) } ?? []
        if names.contains(where: { $0.suffix(9).elementsEqual("/data.pkl".utf8) }) { return .torch }
        return names.contains { $0.suffix(4).elementsEqual(".npy".utf8) } ? .npz : .zip
    }

    /// What a file is that begins with `prefix`.
    static func identify(prefix: [UInt8]) -> ForeignFile? {
        func has(_ magic: [UInt8], at offset: Int = 0) -> Bool { prefix.dropFirst(offset).starts(with: magic) }
        func has(_ text: StaticString, at offset: Int = 0) -> Bool {
            prefix.dropFirst(offset).starts(
                with: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
        // https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: the version line comes first.
        if has("version https://git-lfs.github.com/spec/") || has("version https://hawser.github.com/spec/") {
            let fields = lfsFields(prefix)
            return .gitLFSPointer(oid: fields["oid"], size: fields["size"])
        }
        if has("GGUF") || has("FUGG") { return .gguf }
        // Local file header, end of an empty archive, or the mark of a split one.
        if has([0x50, 0x4B, 0x03, 0x04]) { return zipContent(prefix) }
        if has([0x50, 0x4B, 0x05, 0x06]) || has([0x50, 0x4B, 0x07, 0x08]) { return .zip }
        if has([0x93]), has("NUMPY", at: 1) { return .numpyArray }
        if has([0x1F, 0x8B, 0x08]) { return .gzip }
        if has([0x28, 0xB5, 0x2F, 0xFD]) { return .zstandard }
        if has([0x89]), has("HDF\r\n", at: 1) { return .hdf5 }
        if has("ustar", at: 257) { return .tar }
        // Torch's form before 1.6 is five pickles, the first of them this magic number
        // (torch.serialization.MAGIC_NUMBER).
        if TorchContent.magicLength(prefix) != nil { return .torch }
        // PROTO and a version from 2 to 5, with an opcode behind it; 0 is none, and stands there in the length of a
        // header.
        if prefix.count > 2, prefix[0] == 0x80, (2...5).contains(prefix[1]), prefix[2] != 0 { return .pickle }
        return textContent(prefix)
    }

    /// A zip archive by the name of its first entry: torch writes `NAME/data.pkl` or another file of that folder first,
    /// NumPy only `.npy` entries.
    private static func zipContent(_ prefix: [UInt8]) -> ForeignFile {
        guard prefix.count > 30 else { return .zip }
        let length = Int(prefix[26]) | Int(prefix[27]) << 8
        let name = prefix[30...].prefix(length)
        if name.suffix(4).elementsEqual(".npy".utf8) { return .npz }
        let last = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).last ?? []
        let torchRecords = [
            "data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", "constants.pkl",
        ]
        return torchRecords.contains { last.elementsEqual($0.utf8) } ? .torch : .zip
    }

    /// HTML and JSON, behind a byte order mark and whitespace.
    private static func textContent(_ prefix: [UInt8]) -> ForeignFile? {
        var text = prefix[...]
        if text.starts(with: [0xEF, 0xBB, 0xBF]) { text = text.dropFirst(3) }
        text = text.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let lowered = String(
            decoding: text.prefix(64).map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
        if ["<!doctype html", "<html", "<head", "<body", "<?xml"].contains(where: lowered.hasPrefix) {
            return .htmlPage
        }
        guard text.first == UInt8(ascii: "{") else { return nil }
        // A JSON object: a quote or a closing brace behind the brace and whitespace.
        let next = text.dropFirst().first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        return next == UInt8(ascii: "\"") || next == UInt8(ascii: "}") ? .json : nil
    }

    /// The "key value" lines of a pointer; only values of the prescribed characters are taken over.
    private static func lfsFields(_ prefix: [UInt8]) -> [String: String] {
        var fields: [String: String] = [:]
        for line in prefix.split(separator: 0x0A) {
            let parts = line.split(separator: 0x20, maxSplits: 1)
            guard parts.count == 2, parts[1].allSatisfy({ (0x21...0x7E).contains($0) }) else { continue }
            fields[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
        }
        return fields
    }
}
