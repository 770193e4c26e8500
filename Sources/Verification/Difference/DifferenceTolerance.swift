/// How far an element of B may be from A's and still count as equal: `|b − a| ≤ atol + rtol·|a|`.
///
/// That is `numpy.allclose(b, a, rtol, atol, equal_nan=True)`: A is the reference. Both are 0 unless asked for, and then
/// equal means the same number: −0 and +0 are, and NaN and NaN in the same place, whatever their bits. Infinities are
/// equal to themselves alone, whatever the tolerance.
///
/// Source: numpy, `isclose` in numpy/_core/numeric.py.
public struct DifferenceTolerance: Sendable, Hashable {
    /// Relative to |a|; finite, at least 0.
    public var relative: Double
    /// Absolute; finite, at least 0.
    public var absolute: Double

    /// A tolerance of these two parts; without arguments only equal numbers are equal.
    public init(relative: Double = 0, absolute: Double = 0) {
        self.relative = relative
        self.absolute = absolute
    }

    /// Whether only equal numbers are equal.
    public var isExact: Bool { relative == 0 && absolute == 0 }
}
