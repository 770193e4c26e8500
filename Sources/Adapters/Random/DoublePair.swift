/// An unevaluated sum of two float64 numbers, about 106 binary digits: T. J. Dekker, Numerische Mathematik 18 (1971).
struct DoublePair {
    var high: Double
    /// At most half a unit of the last place of `high`.
    var low: Double

    init(_ high: Double, _ low: Double = 0) { (self.high, self.low) = (high, low) }

    /// a + b for |a| ≥ |b|, without error.
    private static func ordered(_ a: Double, _ b: Double) -> DoublePair {
        let sum = a + b
        return DoublePair(sum, b - (sum - a))
    }

    /// Off by at most 2^-103 of |a| + |b|.
    static func + (a: DoublePair, b: DoublePair) -> DoublePair {
        let sum = a.high + b.high
        let part = sum - a.high
        // Knuth's error of the sum, whichever is the larger.
        let error = (a.high - (sum - part)) + (b.high - part)
        return ordered(sum, error + a.low + b.low)
    }

    static func - (a: DoublePair, b: DoublePair) -> DoublePair { a + DoublePair(-b.high, -b.low) }

    /// Off by at most 2^-102 of the product.
    static func * (a: DoublePair, b: DoublePair) -> DoublePair {
        let product = a.high * b.high
        let error = (-product).addingProduct(a.high, b.high)
        return ordered(product, error + (a.high * b.low + a.low * b.high))
    }

    /// Off by at most 2^-101 of the quotient.
    static func / (a: DoublePair, b: DoublePair) -> DoublePair {
        let first = a.high / b.high
        let rest = a - b * DoublePair(first)
        return ordered(first, rest.high / b.high)
    }
}
