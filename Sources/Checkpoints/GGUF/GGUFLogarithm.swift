/// The natural logarithm in float64, by arithmetic alone, so that it is the same number on every machine: libm's differ.
///
/// With x = m·2ᵏ, √½ ≤ m < √2, and s = (m − 1)/(m + 1), |s| ≤ 0.172:
///
///     ln x = k·ln 2 + 2·(s + s³/3 + s⁵/5 + …)
///
/// Fourteen terms leave 2·s²⁹/29 < 2⁻⁷⁶. k·ln 2 is added in two parts, of which the first has 32 bits and k·first no error. The result is
/// within 2 ulp, and rounded to F32 or less it is the logarithm's own rounding but for one value in about 2²⁷.
public enum GGUFLogarithm {
    /// ln x; NaN for a number below zero.
    public static func of(_ x: Double) -> Double {
        guard x > 0, x.isFinite else { return x == 0 ? -.infinity : x > 0 ? x : .nan }
        var (m, k) = (x.significand, Double(x.exponent))
        if m > 1.4142135623730951 { (m, k) = (m / 2, k + 1) }
        let s = (m - 1) / (m + 1)
        let square = s * s
        var sum = 0.0
        for term in stride(from: 27, through: 1, by: -2) { sum = sum * square + 1 / Double(term) }
        return k * 0x1.62e42feep-1 + (2 * s * sum + k * 0x1.a39ef35793c76p-33)
    }
}
