/// tanh, σ, erf, sin and cos by other formulas than those that output bytes come from, in plain float64.
enum SecondElementary {
    /// Lambert's continued fraction x / (1 + x²/(3 + x²/(5 + …))) for |x| ≤ 1: 14 levels leave out less than 2^-70, all
    /// terms are positive, so each level adds at most 3 units of relative error and divides what came from below by at
    /// least 3. Beyond, x is halved and tanh(2y) = 2t / (1 + t²) doubles it again: that does not enlarge a relative error
    /// of t (the factor is (1 − t²) / (1 + t²)) and adds 3 units. With at most 5 doublings the error is below 24 units.
    static func tanh(_ x: Double) -> Double {
        guard x.magnitude < 22 else { return x.isNaN ? .nan : x < 0 ? -1 : 1 }
        var y = x
        var doublings = 0
        while y.magnitude > 1 {
            y /= 2
            doublings += 1
        }
        let square = y * y
        var denominator = 29.0
        for odd in stride(from: 27.0, through: 1, by: -2) { denominator = odd + square / denominator }
        var t = y / denominator
        for _ in 0..<doublings { t = 2 * t / (1 + t * t) }
        return t
    }

    static func sigmoid(_ x: Double) -> Double { 0.5 + 0.5 * tanh(x / 2) }

    /// What `sine` and `cosine` are off by at most, for arguments up to 2²⁰.
    static let angleError = 0x1p-47

    static func sine(_ x: Double) -> Double {
        let half = halfAngle(x)
        return 2 * half.sine * half.cosine
    }

    static func cosine(_ x: Double) -> Double {
        let half = halfAngle(x)
        return (half.cosine - half.sine) * (half.cosine + half.sine)
    }

    /// sin and cos of half the angle x − 2πn, |x − 2πn| ≤ π, from the tangent t of its quarter: 2t / (1 + t²) and
    /// (1 − t²) / (1 + t²).
    ///
    /// The tangent is Lambert's continued fraction y / (1 − y²/(3 − y²/(5 − …))) for |y| ≤ π/4, where 12 levels leave out
    /// less than 2^-60. 2π is a sum of two doubles: with n below 2^18 the angle is off by 2^18·2^-106 and one unit of
    /// itself; the fraction, the two quotients and the product of the caller add fewer than 20 units of 1.
    private static func halfAngle(_ x: Double) -> (sine: Double, cosine: Double) {
        let turns = (x / 6.283_185_307_179_586).rounded()
        let angle = x.addingProduct(-turns, 0x1.921FB54442D18p+2).addingProduct(-turns, 0x1.1A62633145C07p-52)
        let y = angle / 4
        let square = y * y
        var denominator = 25.0
        for odd in stride(from: 23.0, through: 1, by: -2) { denominator = odd - square / denominator }
        let t = y / denominator
        return (2 * t / (1 + t * t), (1 - t * t) / (1 + t * t))
    }

    /// What `erf` is off by at most.
    static let erfError = 0x1p-43

    /// The power series 2/√π (x − x³/3 + x⁵/(2!·5) − …) up to 1.5, else 1 − erfc by its continued fraction.
    ///
    /// *Series.* Term n is off by at most 3n + 2 units of itself, 41 where n ≤ 13 and it is above 2^-21; adding up is off
    /// by at most 40 units of the sum of magnitudes, 2/√π ∫ e^(t²) dt < 4.6 at 1.5: below 4.6·82·2^-53 < 2^-44 together.
    /// 40 terms leave out less than 2^-100.
    ///
    /// *Fraction.* 80 levels leave out less than 2^-49 of erfc(1.5) < 0.034. e^(−x²) is taken to the power 1/64, where
    /// (1 − t)/(1 + t) with t = tanh(x²/128) ≤ 0.28 is within 40 units, and squared six times, which makes 2⁶·(40 + 1)
    /// of them: erfc is within 2^-41 of itself and so within 2^-45.
    static func erf(_ x: Double) -> Double {
        let size = x.magnitude
        guard size < 6 else { return x.isNaN ? .nan : x < 0 ? -1 : 1 }
        let square = size * size
        if size <= 1.5 {
            var (power, sum) = (x, x)
            for n in 1..<40 {
                power *= -square / Double(n)
                sum += power / Double(2 * n + 1)
            }
            return sum * 1.128_379_167_095_512_6
        }
        let t = tanh(square / 128)
        var bell = (1 - t) / (1 + t)
        for _ in 0..<6 { bell *= bell }
        var fraction = size
        for n in stride(from: 80.0, to: 0, by: -1) { fraction = size + n / 2 / fraction }
        let value = 1 - bell * 0.564_189_583_547_756_3 / fraction
        return x < 0 ? -value : value
    }
}
