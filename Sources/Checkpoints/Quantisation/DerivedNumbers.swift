import Synchronization

/// Numbers that are made of a whole tensor, piece by piece, by all workers that ask for them while they are not there.
final class DerivedNumbers: Sendable {
    private let pieces: [Piece]
    private let whole = Mutex<[Double]?>(nil)

    private final class Piece: Sendable {
        let values = Mutex<[Float]?>(nil)
    }

    init(pieces count: Int) { pieces = (0..<count).map { _ in Piece() } }

    /// The numbers: `whole` of what `piece` makes of each piece, one behind the other.
    func values(piece make: (Int) throws -> [Float], whole combine: ([Float]) -> [Double]) throws -> [Double] {
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
            let result = combine(all)
            for piece in pieces { piece.values.withLock { $0 = [] } }
            whole = result
            return result
        }
    }
}
