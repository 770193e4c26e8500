/// A sum of squares or products of float64 numbers that neither overflows nor vanishes: `sum · 2^exponent`.
///
/// Squares of numbers beyond 2⁵¹² overflow float64, and those below 2⁻⁵³⁷ are 0. So blocks with such numbers are summed
/// after a multiplication by a power of two, which is exact but for what it makes subnormal, and the powers are kept
/// beside the sum. For all other blocks the exponent is 0.
struct ScaledSum: Sendable, Hashable {
    private(set) var sum = 0.0
    private(set) var exponent = 0

    init() {}

    init(_ sum: Double, exponent: Int = 0) {
        self.sum = sum
        self.exponent = exponent
    }

    static func += (left: inout ScaledSum, right: ScaledSum) {
        if right.sum == 0 { return }
        if left.sum == 0 {
            left = right
            return
        }
        let exponent = max(left.exponent, right.exponent)
        // What is shifted out on the way to the larger exponent is less than half a step of the sum.
        left.sum = ScaledSum.shifted(left.sum, by: left.exponent - exponent)
            + ScaledSum.shifted(right.sum, by: right.exponent - exponent)
        left.exponent = exponent
    }

    /// √(left / right), or nil where right is 0.
    static func rootOfRatio(_ left: ScaledSum, _ right: ScaledSum) -> Double? {
        guard right.sum > 0 else { return nil }
        // The exponents of squares are even.
        return shifted((left.sum / right.sum).squareRoot(), by: (left.exponent - right.exponent) / 2)
    }

    /// product / √(left · right), or nil where one of them is 0.
    static func cosine(_ product: ScaledSum, _ left: ScaledSum, _ right: ScaledSum) -> Double? {
        guard left.sum > 0, right.sum > 0 else { return nil }
        let ratio = product.sum / left.sum.squareRoot() / right.sum.squareRoot()
        let cosine = shifted(ratio, by: product.exponent - (left.exponent + right.exponent) / 2)
        return min(1, max(-1, cosine))
    }

    /// The sum divided by `count`, as far as float64 reaches.
    func mean(of count: Int) -> Double { ScaledSum.shifted(sum / Double(count), by: exponent) }

    /// value · 2^power.
    static func shifted(_ value: Double, by power: Int) -> Double {
        power == 0 ? value : Double(sign: .plus, exponent: power, significand: value)
    }
}
