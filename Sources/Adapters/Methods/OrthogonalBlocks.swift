/// Rotations made of small orthogonal blocks, as OFT and BOFT state them: expressions for many blocks of b × b that lie
/// below each other.
enum OrthogonalBlocks {
    /// `count` identities.
    static func identities(_ size: Int, count: Int) -> MatrixExpression {
        MatrixExpression.identity(size).rows(at: (0..<(count * size)).map { $0 % size })
    }

    /// The Cayley transform `(I − Q)·(I + Q)⁻¹` of skew-symmetric Q; it is `(I + Q)⁻¹·(I − Q)`, since the two commute.
    static func cayley(_ skew: MatrixExpression, size: Int, count: Int) -> MatrixExpression {
        let identities = identities(size, count: count)
        return (identities + skew).solving(identities - skew, count: count)
    }

    /// PEFT's Neumann series for the Cayley transform, `I + 2Q + 2Q² + … + 2Qᵗ⁻² + Qᵗ⁻¹` for t terms; for t = 2 it is
    /// I + 2Q, for t = 3 `I + 2Q + 2Q² + Q³`. Each power is the last one times Q.
    static func neumann(_ skew: MatrixExpression, size: Int, count: Int, terms: Int) -> MatrixExpression {
        var sum = identities(size, count: count)
        guard terms > 1 else { return sum }
        sum = sum + 2 * skew
        guard terms > 2 else { return sum }
        var power = MatrixExpression.batched(skew, skew, count: count)
        sum = sum + 2 * power
        for _ in stride(from: 3, to: terms - 1, by: 1) {
            power = .batched(power, skew, count: count)
            sum = sum + 2 * power
        }
        return sum + .batched(power, skew, count: count)
    }
}
