import Tensors

/// The random numbers behind ``SubspaceClusters``: ``MersenneTwister``, which torch's CPU generator and numpy's legacy one seed in
/// one way, and torch's normal numbers to the accuracy of float32.
///
/// The normal numbers are real-valued here, not torch's float32 bits: what is made of them, a basis of a subspace, is held
/// against the adapter's own within 2⁻¹⁰.
/// Source: `normal_fill` in aten/src/ATen/native/cpu/DistributionTemplates.h; `mt19937_seed` in numpy/random/src/mt19937.
struct SeededNumbers {
    private var generator: MersenneTwister

    init(seed: UInt64) { generator = MersenneTwister(seed: seed) }

    /// The next 32 bits.
    mutating func bits() -> UInt32 { generator.random() }

    /// `count` ≥ 16 numbers of mean 0 and deviation 1. All are drawn uniform from 24 bits; in each group of 16, j and j + 8
    /// become √(−2·ln(1 − u))·cos 2πv and ·sin 2πv. A rest makes the last 16 drawn and made anew.
    mutating func normal(_ count: Int) -> [Double] {
        var values = (0..<count).map { _ in uniform() }
        for start in stride(from: 0, through: count - 16, by: 16) { SeededNumbers.pair(&values, start) }
        if count % 16 != 0, count >= 16 {
            for index in (count - 16)..<count { values[index] = uniform() }
            SeededNumbers.pair(&values, count - 16)
        }
        return values
    }

    private mutating func uniform() -> Double { Double(bits() & 0xFF_FFFF) * 0x1p-24 }

    private static func pair(_ values: inout [Double], _ start: Int) {
        for index in start..<(start + 8) {
            let radius = (-2 * logarithm(1 - values[index])).squareRoot()
            let angle = 2 * Double.pi * values[index + 8]
            values[index] = radius * Elementary.cosine(angle)
            values[index + 8] = radius * Elementary.sine(angle)
        }
    }

    /// ln x for x in (0, 1]: with x = m·2ᵉ and m in [1, 2), e·ln 2 + 2·artanh((m − 1)/(m + 1)), whose series in a number of at
    /// most 1/3 leaves out less than 2⁻⁵⁰ after 16 terms.
    private static func logarithm(_ x: Double) -> Double {
        let ratio = (x.significand - 1) / (x.significand + 1)
        var sum = 0.0
        for n in stride(from: 31.0, through: 1, by: -2) { sum = 1 / n + ratio * ratio * sum }
        return Double(x.exponent) * 0.693_147_180_559_945_3 + 2 * ratio * sum
    }
}
