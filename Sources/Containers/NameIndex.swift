public import ByteAccess

/// Finds names in an array that its owner keeps: the position for a name, in constant time, without a second copy of
/// the names.
///
/// An open-addressing hash table of positions, at most half full. The hash is Swift's keyed SipHash, so that a file
/// cannot be made whose names collide.
public struct NameIndex: Sendable {
    /// A position, or -1 where free; the count is 0 or a power of two.
    private var slots: [Int32]

    /// A table with room for `count` names.
    public init(count: Int = 0) {
        precondition(count < 1 << 30, "a header of 100 MB holds fewer names than this")
        guard count > 0 else {
            slots = []
            return
        }
        let needed = count * 2
        var capacity = 8
        while capacity < needed { capacity *= 2 }
        slots = [Int32](repeating: -1, count: capacity)
    }

    /// Enters the name at `position`, which `name` gives; returns the position that has this name already, if any.
    public mutating func insert(_ position: Int, name: (Int) -> ExactString) -> Int? {
        let slot = slot(of: name(position), name: name)
        if slots[slot] >= 0 { return Int(slots[slot]) }
        slots[slot] = Int32(position)
        return nil
    }

    /// The position of `wanted`.
    public func find(_ wanted: ExactString, name: (Int) -> ExactString) -> Int? {
        guard !slots.isEmpty else { return nil }
        let position = slots[slot(of: wanted, name: name)]
        return position < 0 ? nil : Int(position)
    }

    /// The slot that holds `wanted`, or the free one where it belongs.
    private func slot(of wanted: ExactString, name: (Int) -> ExactString) -> Int {
        let mask = slots.count - 1
        var slot = wanted.hashValue & mask
        while slots[slot] >= 0, name(Int(slots[slot])) != wanted { slot = (slot + 1) & mask }
        return slot
    }
}
