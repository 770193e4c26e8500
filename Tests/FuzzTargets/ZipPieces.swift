import TestSupport

/// An archive cut into what zip is made of: headers, names, contents, the directory's records, the end.
///
/// It follows the central directory and believes it; what it cannot follow is one piece.
enum ZipPieces {
    struct Entry {
        var name: [UInt8]
        /// As it lies in the archive.
        var data: Range<Int>
        var method: UInt64
        var header: Int
        var record: Range<Int>
    }

    /// The entries of an archive in the order of its directory, or nil where it has another form.
    static func entries(of file: [UInt8]) -> [Entry]? {
        guard file.count >= 22, file.count < 1 << 20 else { return nil }
        var end = file.count - 22
        while end >= 0, file.little(4, at: end) != 0x0605_4B50 { end -= 1 }
        guard end >= 0, let start = file.little(4, at: end + 16), let count = file.little(2, at: end + 10), start < UInt64(file.count),
            count < 200
        else { return nil }
        var position = Int(start)
        var entries: [Entry] = []
        for _ in 0..<count {
            guard file.little(4, at: position) == 0x0201_4B50, let nameLength = file.little(2, at: position + 28),
                let extra = file.little(2, at: position + 30), let comment = file.little(2, at: position + 32),
                let size = file.little(4, at: position + 20), let header = file.little(4, at: position + 42),
                let method = file.little(2, at: position + 10)
            else { return nil }
            let next = position + 46 + Int(nameLength + extra + comment)
            guard next <= file.count, header < UInt64(file.count), let localName = file.little(2, at: Int(header) + 26),
                let localExtra = file.little(2, at: Int(header) + 28)
            else { return nil }
            let begin = Int(header + 30 + localName + localExtra)
            guard begin + Int(size) <= file.count else { return nil }
            entries.append(
                Entry(
                    name: Array(file[(position + 46)..<(position + 46 + Int(nameLength))]), data: begin..<(begin + Int(size)),
                    method: method, header: Int(header), record: position..<next))
            position = next
        }
        return entries
    }

    /// The archive in pieces, in the order of the file; nothing is left out.
    static func of(_ file: [UInt8]) -> [[UInt8]] {
        guard let entries = entries(of: file) else { return [file] }
        var cuts: Set<Int> = [0, file.count]
        for entry in entries {
            cuts.formUnion([entry.header, min(entry.header + 30, file.count), entry.data.lowerBound, entry.data.upperBound])
            cuts.formUnion([entry.record.lowerBound, entry.record.lowerBound + 46, entry.record.upperBound])
        }
        let places = cuts.sorted()
        return zip(places, places.dropFirst()).map { Array(file[$0..<$1]) }
    }
}
