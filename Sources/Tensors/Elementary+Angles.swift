/// Sine and cosine in float64, with the same bits on every processor.
///
/// With n = round(x · 2/π) and r = x − n·π/2, |r| ≤ π/4 + 2⁻²⁰, sin x and cos x are ±sin r or ±cos r, by n modulo 4.
///
/// *Reduction.* π/2 is the sum of three doubles, the first two with all of their 53 bits. For |n| < 2²⁰ the first
/// difference x − n·P₁ is exact by fused multiply-add: both are multiples of 2⁻⁷³ that nearly cancel, and x, no smaller
/// than π/4 where n ≠ 0, is one of 2⁻⁵³. The second product is kept in two parts, so r is a sum of two doubles whose
/// error is that of the third part, below 2⁻⁸⁵·|n|·2⁻⁵³, and of rounding its low part.
///
/// *Series.* sin r = r + r³·p(r²) with p of nine terms leaves out r²¹/21! < 2⁻⁷², cos r = 1 − r²/2 + r⁴·q(r²) with q of
/// nine r²²/22! < 2⁻⁷⁷. r³·p is at most 0.081 and off by at most four roundings, 0.33 units of a result from 0.5 to 0.71 and
/// less of a smaller one; in the cosine r² is exact in two doubles and r⁴·q at most 0.016. So a result is within 0.85 ulp of
/// the real value; the test holds that against 80-bit arithmetic.
///
/// Only +, −, ·, fma and rounding to a whole number are used, each as IEEE 754 says.
extension Elementary {
    /// The largest argument of `sine` and `cosine`; beyond it they give NaN, and who calls refuses first.
    public static let largestAngle = 0x1p20

    /// sin x for |x| ≤ 2²⁰; −0 stays −0.
    public static func sine(_ x: Double) -> Double {
        guard x.magnitude <= largestAngle else { return .nan }
        if x == 0 { return x }
        let angle = Reduced(x)
        switch angle.quadrant {
        case 0: return angle.sine
        case 1: return angle.cosine
        case 2: return -angle.sine
        default: return -angle.cosine
        }
    }

    /// cos x for |x| ≤ 2²⁰.
    public static func cosine(_ x: Double) -> Double {
        guard x.magnitude <= largestAngle else { return .nan }
        let angle = Reduced(x)
        switch angle.quadrant {
        case 0: return angle.cosine
        case 1: return -angle.sine
        case 2: return -angle.cosine
        default: return angle.sine
        }
    }

    /// x − n·π/2 as a sum of two doubles.
    private struct Reduced {
        let high: Double
        let low: Double
        let quadrant: Int

        init(_ x: Double) {
            let multiple = (x * 0x1.45F306DC9C883p-1).rounded(.toNearestOrEven)
            // |multiple| < 2²¹.
            quadrant = Int(multiple) & 3
            // π/2 = P₁ + P₂ + P₃ + …, each the nearest double of what is left.
            let first = x.addingProduct(-multiple, 0x1.921FB54442D18p+0)
            let second = multiple * 0x1.1A62633145C07p-54
            let secondRest = (-second).addingProduct(multiple, 0x1.1A62633145C07p-54)
            // first − second = high + rest, exactly (Knuth's two-sum).
            high = first - second
            let back = high - first
            let rest = (first - (high - back)) - (second + back)
            low = (rest - secondRest).addingProduct(-multiple, -0x1.F1976B7ED8FBCp-110)
        }

        /// ±1/3!, 1/5!, … 1/19!; 1/4!, 1/6!, … 1/20!.
        private static let sineTerms: [Double] = [
            -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362_880, -1.0 / 39_916_800, 1.0 / 6_227_020_800,
            -1.0 / 1_307_674_368_000, 1.0 / 355_687_428_096_000, -1.0 / 121_645_100_408_832_000,
        ]
        private static let cosineTerms: [Double] = [
            1.0 / 24, -1.0 / 720, 1.0 / 40_320, -1.0 / 3_628_800, 1.0 / 479_001_600, -1.0 / 87_178_291_200,
            1.0 / 20_922_789_888_000, -1.0 / 6_402_373_705_728_000, 1.0 / 2_432_902_008_176_640_000,
        ]

        private static func series(_ terms: [Double], _ square: Double) -> Double {
            var sum = 0.0
            for term in terms.reversed() { sum = term.addingProduct(sum, square) }
            return sum
        }

        /// sin(h + l) = sin h + l·cos h up to l².
        var sine: Double {
            let square = high * high
            let cubic = high * square * Reduced.series(Reduced.sineTerms, square)
            return high + (cubic + low.addingProduct(-0.5 * square, low))
        }

        /// cos(h + l) = cos h − l·sin h up to l².
        var cosine: Double {
            let square = high * high
            let squareRest = (-square).addingProduct(high, high)
            let half = 0.5 * square
            let head = 1 - half
            let quartic = square * square * Reduced.series(Reduced.cosineTerms, square)
            // 1 − half is rounded; what it lost is (1 − head) − half.
            let tail = ((1 - head) - half) + (quartic - high * low - 0.5 * squareRest)
            return head + tail
        }
    }
}
