internal import CKernels

/// Distances counted in steps of a floating-point type ("units in the last place").
public enum Ulp {
    /// How many steps of `dtype` lie between two values, after rounding each to it.
    ///
    /// Every code of the type has a place in the ordered list -Inf, -max, ..., -0 = +0, ..., +max, +Inf; the distance
    /// is the difference of the two places. So the largest number is 1 from Inf, and the two smallest subnormals of
    /// either sign are 2 apart. NaN and NaN: 0. NaN and a number: `UInt64.max`.
    ///
    /// - Parameter dtype: F64, F32, F16 or BF16. For any other type there are no such steps: 0 where the values are
    ///   equal or both NaN, else `UInt64.max`.
    public static func distance(_ left: Double, _ right: Double, in dtype: DType) -> UInt64 {
        guard dtype.isMergeable, let format = dtype.format else {
            return left == right || (left.isNaN && right.isNaN) ? 0 : .max
        }
        return ck_ulp_distance(format, left, right)
    }

    /// The largest `distance` over two lists of values, and the number of pairs that are not at distance 0.
    ///
    /// - Parameters:
    ///   - left: the values.
    ///   - right: as many values.
    ///   - dtype: F64, F32, F16 or BF16; another type is a mistake of the caller and stops the program, as are
    ///     different counts.
    public static func compare(
        _ left: UnsafeBufferPointer<Double>, _ right: UnsafeBufferPointer<Double>, in dtype: DType
    ) -> (largest: UInt64, differing: Int) {
        precondition(left.count == right.count, "lists of different length")
        guard dtype.isMergeable, let format = dtype.format else {
            preconditionFailure("\(dtype.rawValue) has no steps to count in")
        }
        guard let a = left.baseAddress, let b = right.baseAddress else { return (0, 0) }
        var differing = 0
        let largest = ck_ulp_compare(format, a, b, left.count, &differing)
        return (largest, differing)
    }

    /// The step of `dtype` at a value: the distance between the neighbouring numbers of the type around it.
    ///
    /// For 2^e <= |x| < 2^(e+1) within the type's normal range: 2^(e - f), f the number of fraction bits. Below that
    /// range: the smallest subnormal number. Above it: the step of the largest numbers. NaN or Inf: NaN. `value` need
    /// not be a number of the type; it is not rounded first, so half of this step bounds the error of rounding `value`,
    /// which is exactly what tolerances are made of.
    ///
    /// - Parameter dtype: F64, F32, F16 or BF16; NaN for any other.
    public static func spacing(at value: Double, in dtype: DType) -> Double {
        guard value.isFinite else { return .nan }
        // Fraction bits and the exponents of the smallest and of the largest normal numbers.
        let (fraction, smallest, largest): (Int, Int, Int)
        switch dtype {
        case .f64: (fraction, smallest, largest) = (52, -1022, 1023)
        case .f32: (fraction, smallest, largest) = (23, -126, 127)
        case .bf16: (fraction, smallest, largest) = (7, -126, 127)
        case .f16: (fraction, smallest, largest) = (10, -14, 15)
        default: return .nan
        }
        let exponent = value == 0 ? smallest : min(max(Int(value.exponent), smallest), largest)
        return Double(sign: .plus, exponent: exponent - fraction, significand: 1)
    }
}
