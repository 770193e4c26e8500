extension SecondElementary {
    /// What `exponential` is off by at most, relative to the value; results below 2^-1022 are 0 or off by 2^-1022.
    static let exponentialError = 0x1p-47

    /// eˣ = 2ⁿ·eʳ with n = x / ln 2 rounded and |r| < 0.35, by the power series in plain float64.
    ///
    /// ln 2 is taken in two parts, the first of 32 digits, so that n times it is exact: r is off by less than 2^-52. 18 terms
    /// leave out less than 2^-70, and adding up rounds 36 times by less than 2^-53: less than 2^-47 together.
    static func exponential(_ x: Double) -> Double {
        guard x.magnitude < 745 else { return x.isNaN ? .nan : x < 0 ? 0 : x > 709.8 ? .infinity : .nan }
        let multiple = (x * 1.442_695_040_888_963_4).rounded()
        let rest = (x - multiple * 0x1.62e42feep-1) - multiple * 0x1.a39ef35793c76p-33
        var sum = 1.0
        for n in stride(from: 18.0, through: 1, by: -1) { sum = 1 + sum * rest / n }
        // Two steps, since 2ⁿ alone may be no number where the result is one.
        let half = (Int(multiple) / 2, Int(multiple) - Int(multiple) / 2)
        return sum * Double(sign: .plus, exponent: half.0, significand: 1)
            * Double(sign: .plus, exponent: half.1, significand: 1)
    }
}
