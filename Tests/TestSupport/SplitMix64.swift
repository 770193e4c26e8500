/// A seeded generator, so that a failure can be repeated (S. Vigna's splitmix64).
public struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A finite double with any sign and fraction, and an exponent from `exponents`.
    public mutating func double(exponents: ClosedRange<Int>) -> Double {
        let exponent = Int.random(in: exponents, using: &self)
        let fraction = next() >> 12
        let significand = Double(bitPattern: 0x3FF0_0000_0000_0000 | fraction)
        return Double(sign: Bool.random(using: &self) ? .minus : .plus, exponent: exponent, significand: significand)
    }

    public mutating func doubles(_ count: Int, exponents: ClosedRange<Int> = -8...0) -> [Double] {
        (0..<count).map { _ in double(exponents: exponents) }
    }
}
