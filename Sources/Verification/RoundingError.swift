/// The constants of float64 rounding-error analysis.
///
/// Notation as in N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: every operation returns the
/// exact result times 1 + δ, |δ| ≤ u = 2⁻⁵³, plus at most η/2 where the result is subnormal; n of them in a row, in any
/// order, make 1 + θ with |θ| ≤ γₙ = n·u / (1 − n·u) (lemma 3.1).
enum RoundingError {
    /// u.
    static let unit = 0x1p-53
    /// γₙ.
    static func gamma(_ count: Int) -> Double {
        let product = Double(count) * unit
        return product < 0.5 ? product / (1 - product) : .infinity
    }
    /// More than the rounding errors made in evaluating any bound here, which are sums of positive terms: a few dozen
    /// operations without cancellation, so a relative error below 2⁻⁴⁰.
    static let slack = 1 + 0x1p-20
    /// Far more than what underflow can add to one element: each of fewer than 2³² operations adds at most 2⁻¹⁰⁷⁵ times
    /// a factor below 2³². It is a normal number, because arithmetic with subnormal ones is slow, and far below the
    /// smallest number of F16, BF16 and F32; in F64 it only makes the neighbourhood of 0 undecided.
    static let underflow = 0x1p-1000
}
