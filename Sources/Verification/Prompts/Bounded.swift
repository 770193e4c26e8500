/// Float64 numbers, each with a bound of its distance from the real value of the formula.
///
/// The bound holds for any computation of the same formula in float64 whose sums have as many terms and whose functions
/// are within `functionError`, in whatever order: for the one that writes and for the one that verifies. So the two
/// differ by at most twice the bound.
struct Bounded {
    var values: [Double]
    var errors: [Double]

    /// Stored numbers, which are exact.
    init(exact values: [Double]) {
        self.values = values
        errors = [Double](repeating: 0, count: values.count)
    }

    init(values: [Double], errors: [Double]) {
        self.values = values
        self.errors = errors
    }

    /// Half of the spacing of float64 at 1.
    static let unit = 0x1p-53
    /// Relative error of one call of tanh: ours is within 0.625 ulp, the one here within 24 units.
    static let functionError = 24 * unit

    /// γ(n) = n·u / (1 − n·u) (N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    static func gamma(_ n: Int) -> Double { Double(n) * unit / (1 - Double(n) * unit) }
}

/// One number with its bound; the arithmetic of the LSTM's cell.
///
/// For z = x·y: |ẑ − z| ≤ |x̂|·e_y + |ŷ|·e_x + e_x·e_y + u·|x̂·ŷ|; for a sum e_x + e_y + u·|x̂ + ŷ|. Twice u is taken, which
/// covers that the true and the computed magnitudes differ.
struct BoundedNumber {
    var value: Double
    var error: Double

    static func * (x: BoundedNumber, y: BoundedNumber) -> BoundedNumber {
        let value = x.value * y.value
        return BoundedNumber(
            value: value,
            error: x.value.magnitude * y.error + y.value.magnitude * x.error + x.error * y.error
                + 2 * Bounded.unit * value.magnitude + .leastNormalMagnitude)
    }

    static func + (x: BoundedNumber, y: BoundedNumber) -> BoundedNumber {
        let value = x.value + y.value
        return BoundedNumber(value: value, error: x.error + y.error + 2 * Bounded.unit * value.magnitude)
    }

    /// tanh has the slope 1 − tanh², which changes by less than 0.8·e within e, and is at most 1.
    var tanh: BoundedNumber {
        let value = SecondElementary.tanh(self.value)
        let slope = min(1, 1 - value * value + error)
        return BoundedNumber(value: value, error: error * slope + Bounded.functionError * value.magnitude)
    }

    /// σ has the slope σ·(1 − σ), which changes by less than 0.1·e within e, and is at most 1/4; it is computed here as
    /// (1 + tanh(x/2)) / 2.
    var sigmoid: BoundedNumber {
        let value = SecondElementary.sigmoid(value)
        let slope = min(0.25, value * (1 - value) + error + Bounded.functionError)
        return BoundedNumber(value: value, error: error * slope + Bounded.functionError)
    }
}
