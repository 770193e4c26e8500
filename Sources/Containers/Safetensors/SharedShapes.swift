import Tensors

/// Shapes while a header is read: those that were seen before are handed out again, and no second array is allocated for them.
///
/// The layers of a model repeat a dozen shapes, and an array of two dimensions takes 64 bytes, half as much as its tensor's part
/// of the header. The last shape of each of 64 hashes is kept; of others only memory is lost.
struct SharedShapes {
    private var known = [Shape](repeating: [], count: 64)
    private var dimensions: Shape = []
    private var hash: UInt = 0

    /// Begins a shape.
    mutating func begin() {
        dimensions.removeAll(keepingCapacity: true)
        hash = 0
    }

    /// The next dimension, outermost first.
    mutating func append(_ dimension: Int) {
        dimensions.append(dimension)
        // Fibonacci hashing: 2^64 over the golden ratio.
        hash = (hash ^ UInt(bitPattern: dimension)) &* 0x9E37_79B9_7F4A_7C15
    }

    /// The shape of all that were appended.
    mutating func end() -> Shape {
        let slot = Int(hash >> (UInt.bitWidth - 6))
        // A copy of its own: what is kept has no spare room, and `dimensions` is written again.
        if known[slot] != dimensions { known[slot] = dimensions.withUnsafeBufferPointer { Shape($0) } }
        return known[slot]
    }
}
