public import TestSupport

/// An input in the pieces that its format is made of, and the ways in which they go wrong.
public struct Pieces: Sendable {
    public var items: [[UInt8]]
    /// What the format has elsewhere: pieces that may come in, edges of its limits.
    public var dictionary: [[UInt8]]

    public init(_ items: [[UInt8]], dictionary: [[UInt8]] = []) {
        self.items = items
        self.dictionary = dictionary
    }

    public func joined() -> [UInt8] {
        var bytes: [UInt8] = []
        for item in items { bytes.append(contentsOf: item) }
        return bytes
    }

    /// The most pieces, so that mutants of mutants stay small.
    private static let limit = 4000

    /// Changes one thing.
    public mutating func mutate(_ random: inout SplitMix64) {
        guard !items.isEmpty else {
            items.append(word(&random))
            return
        }
        let place = Int(random.next() % UInt64(items.count))
        let other = Int(random.next() % UInt64(items.count))
        switch random.next() % 12 {
        case 0, 1: items[place] = word(&random)
        case 2: items.insert(word(&random), at: place)
        case 3: items[place] = items[other]
        case 4: items.insert(items[other], at: place)
        case 5: items.remove(at: place)
        case 6: items.swapAt(place, other)
        case 7:
            // A run of pieces again, somewhere else: a tensor, an entry, a nested list.
            let run = Array(items[place...].prefix(1 + Int(random.next() % 12)))
            if items.count + run.count < Self.limit { items.insert(contentsOf: run, at: other) }
        case 8: items.removeSubrange(min(place, other)..<min(max(place, other), min(place, other) + 12))
        case 9:
            let depth = 1 << Int(random.next() % 9)
            if items.count + depth < Self.limit {
                items.insert(contentsOf: [[UInt8]](repeating: items[place], count: depth), at: other)
            }
        case 10: Self.setNumber(&items[place], &random)
        default: Self.flip(&items[place], &random)
        }
    }

    private func word(_ random: inout SplitMix64) -> [UInt8] {
        dictionary.isEmpty
            ? [UInt8(truncatingIfNeeded: random.next())] : dictionary[Int(random.next() % UInt64(dictionary.count))]
    }

    /// Numbers at the edge of something, little-endian in as many bytes as are taken.
    private static let edges: [UInt64] = [
        0, 1, 2, 3, 7, 8, 31, 32, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 1 << 20, 0x7FFF_FFFF, 0x8000_0000,
        0xFFFF_FFFF, 0x1_0000_0000, 1 << 40, 1 << 53, UInt64(Int64.max) - 7, UInt64(Int64.max), 1 << 63, .max - 7, .max,
    ]

    /// Puts a number of 1, 2, 4 or 8 bytes into a piece.
    static func setNumber(_ bytes: inout [UInt8], _ random: inout SplitMix64) {
        guard !bytes.isEmpty else { return }
        let width = min(bytes.count, 1 << Int(random.next() % 4))
        let start = Int(random.next() % UInt64(bytes.count - width + 1))
        var value = edges[Int(random.next() % UInt64(edges.count))]
        if random.next() % 4 == 0 {
            // The number that stands there, and a little more or less.
            value = 0
            var index = start + width - 1
            while index >= start {
                value = value << 8 | UInt64(bytes[index])
                index -= 1
            }
            value = value &+ random.next() % 17 &- 8
        }
        var index = 0
        while index < width {
            bytes[start + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
            index += 1
        }
    }

    /// Changes a byte, takes one out or puts one in.
    static func flip(_ bytes: inout [UInt8], _ random: inout SplitMix64) {
        guard !bytes.isEmpty else { return }
        let place = Int(random.next() % UInt64(bytes.count))
        switch random.next() % 4 {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[place] ^= 1 << UInt8(random.next() % 8)
        case 2: bytes.remove(at: place)
        default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
        }
    }
}

extension Array where Element == UInt8 {
    /// The little-endian number of `width` bytes at `offset`; nil where the bytes end before it does.
    func little(_ width: Int, at offset: Int) -> UInt64? {
        guard offset >= 0, offset <= count - width else { return nil }
        var value: UInt64 = 0
        for index in stride(from: width - 1, through: 0, by: -1) { value = value << 8 | UInt64(self[offset + index]) }
        return value
    }

    static func little(_ value: UInt64, _ width: Int) -> [UInt8] {
        (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
}
