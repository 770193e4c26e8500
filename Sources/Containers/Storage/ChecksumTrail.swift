/// The CRC-32 of a record, taken of the parts of it that are read anyway.
///
/// Parts may come in any order and from several threads. Neighbours are joined, CRC(a ‖ b) from CRC(a), CRC(b) and the length
/// of b; what lies in a part that is known already is not counted twice. What nobody read is read when the CRC is asked for.
struct ChecksumTrail {
    private struct Part {
        var range: Range<UInt64>
        var crc: UInt32
    }

    private var parts: [Part] = []
    /// Whether anything was read.
    private(set) var isTouched = false

    /// A view that hops through its storage leaves many parts; beyond this many, what it reads is read again at the end.
    private static let limit = 4096

    /// Takes note of bytes that were read.
    mutating func add(_ crc: UInt32, of range: Range<UInt64>) {
        isTouched = true
        guard !range.isEmpty, parts.count < ChecksumTrail.limit else { return }
        let index = position(of: range.lowerBound)
        if index > 0, parts[index - 1].range.upperBound > range.lowerBound { return }
        if index < parts.count, parts[index].range.lowerBound < range.upperBound { return }
        parts.insert(Part(range: range, crc: crc), at: index)
        join(at: index + 1)
        join(at: index)
    }

    /// The CRC of the whole record.
    ///
    /// - Parameter read: the CRC of bytes that were not read so far.
    func crc(of count: UInt64, reading read: (Range<UInt64>) throws -> UInt32) throws -> UInt32 {
        var crc: UInt32 = 0
        var end: UInt64 = 0
        for part in parts {
            if part.range.lowerBound > end {
                crc = CRC32.joined(crc, try read(end..<part.range.lowerBound), count: part.range.lowerBound - end)
            }
            crc = CRC32.joined(crc, part.crc, count: UInt64(part.range.count))
            end = part.range.upperBound
        }
        return end < count ? CRC32.joined(crc, try read(end..<count), count: count - end) : crc
    }

    /// The first part that does not begin before `offset`.
    private func position(of offset: UInt64) -> Int {
        var (low, high) = (0, parts.count)
        while low < high {
            let middle = (low + high) / 2
            if parts[middle].range.lowerBound < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Makes one of two neighbours that touch.
    private mutating func join(at index: Int) {
        guard index > 0, index < parts.count, parts[index - 1].range.upperBound == parts[index].range.lowerBound else { return }
        let second = parts.remove(at: index)
        parts[index - 1].crc = CRC32.joined(parts[index - 1].crc, second.crc, count: UInt64(second.range.count))
        parts[index - 1].range = parts[index - 1].range.lowerBound..<second.range.upperBound
    }
}
