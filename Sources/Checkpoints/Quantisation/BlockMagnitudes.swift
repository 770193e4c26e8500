import ByteAccess

/// The largest magnitude of each block of a tensor, found piece by piece by all workers that ask for them while they are not there.
final class BlockMagnitudes: Sendable {
    /// All of them, and their mean.
    struct Values: Sendable {
        let all: [Float]
        /// The exact mean, rounded to F32.
        let mean: Float

        init(_ all: [Float]) {
            self.all = all
            mean = Float(all.reduce(0.0) { $0 + Double($1) } / Double(all.count))
        }
    }

    private let pieces: [Piece]
    private let whole = Mutex<Values?>(nil)

    private final class Piece: Sendable {
        let values = Mutex<[Float]?>(nil)
    }

    init(pieces count: Int) { pieces = (0..<count).map { _ in Piece() } }

    /// The values: what `piece` makes of each piece, one behind the other.
    func values(piece make: (Int) throws -> [Float]) throws -> Values {
        func fill(_ values: inout [Float]?, _ index: Int) throws { if values == nil { values = try make(index) } }
        if let known = whole.withLock({ $0 }) { return known }
        // First those that nobody is at, then those that others may still be at.
        for (index, piece) in pieces.enumerated() { _ = try piece.values.withLockIfAvailable { try fill(&$0, index) } }
        return try whole.withLock { whole in
            if let whole { return whole }
            var all: [Float] = []
            for (index, piece) in pieces.enumerated() {
                try piece.values.withLock { values in
                    try fill(&values, index)
                    all += values ?? []
                }
            }
            let result = Values(all)
            for piece in pieces { piece.values.withLock { $0 = [] } }
            whole = result
            return result
        }
    }
}
