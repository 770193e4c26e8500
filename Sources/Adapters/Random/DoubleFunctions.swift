/// ln, sin and cos in float64 with the same bits on every processor.
///
/// sin and cos are the series around 0, evaluated in ``DoublePair`` for |x| ≤ π/4 + 2^-20 and rounded once: terms up to
/// x²⁹ leave out less than 2^-110, the evaluation is off by less than 2^-96, so the result is the correctly rounded one but
/// where the real value lies within 2^-96 of the middle between two numbers.
enum DoubleFunctions {
    /// 1 / n! for n from 0 to 29.
    private static let inverseFactorials: [DoublePair] = (1...29).reduce(into: [DoublePair(1)]) { list, n in
        list.append((list.last ?? DoublePair(1)) / DoublePair(Double(n)))
    }

    /// π/2 in three parts, the last beyond float64's reach of the first two.
    private static let quarter = (0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110)

    static func sine(small x: DoublePair) -> DoublePair { series(x, from: 29) * x }
    static func cosine(small x: DoublePair) -> DoublePair { series(x, from: 28) }

    /// Σ (−x²)^k / n! over n = last, last − 2, … with the power of x that the lowest n asks for taken out.
    private static func series(_ x: DoublePair, from last: Int) -> DoublePair {
        let square = x * x
        var sum = inverseFactorials[last]
        for n in stride(from: last - 2, through: 0, by: -2) {
            sum = inverseFactorials[n] - sum * square
        }
        return sum
    }

    /// sin x for |x| < 2^20.
    static func sine(_ x: Double) -> Double { value(x, quarters: 0) }
    /// cos x for |x| < 2^20.
    static func cosine(_ x: Double) -> Double { value(x, quarters: 1) }

    private static func value(_ x: Double, quarters: Int) -> Double {
        let multiple = (x / quarter.0).rounded()
        let rest = DoublePair(x) - DoublePair(multiple) * DoublePair(quarter.0, quarter.1)
            - DoublePair(multiple * quarter.2)
        let turned = Int(multiple) + quarters
        let result = turned & 1 == 0 ? sine(small: rest) : cosine(small: rest)
        return turned & 2 == 0 ? result.high : -result.high
    }

    /// ln x for a normal x > 0, within 4 units of the last place or 2^-52: x = 2^e·m with √½ ≤ m < √2, and
    /// ln m = 2·(f + f³/3 + f⁵/5 + …) with f = (m − 1) / (m + 1), |f| < 0.172; terms up to f²⁷ leave out less than 2^-70.
    static func logarithm(_ x: Double) -> Double {
        var (exponent, part) = (Double(x.exponent), x.significand)
        if part > 2.0.squareRoot() {
            part /= 2
            exponent += 1
        }
        let f = (part - 1) / (part + 1)
        let square = f * f
        var sum = 1.0 / 27
        for n in stride(from: 25.0, through: 1, by: -2) { sum = sum * square + 1 / n }
        return exponent * 0x1.62e42fefa39efp-1 + (2 * f * sum + exponent * 0x1.abc9e3b39803fp-56)
    }
}
