import Tensors

/// The singular values of one update, and what they say of it.
///
/// With σ₁ ≥ σ₂ ≥ … ≥ 0, p_i = σ_i / Σσ and e_i = σ_i² / Σσ²:
///
///     ‖Δ‖_F = √Σσ²       ‖Δ‖₂ = σ₁
///     stable rank     ‖Δ‖_F² / ‖Δ‖₂²          M. Rudelson, R. Vershynin, J. ACM 54, 2007
///     effective rank  exp(−Σ p_i ln p_i)      O. Roy, M. Vetterli, EUSIPCO 2007
///     energy at rank  E_k = e₁ + … + e_k, the share of ‖Δ‖_F² that the best approximation of rank k keeps
///
/// Both ranks lie between 1 and the number of values that are not 0; both are 0 for an update that is 0.
public struct Spectrum: Sendable, Hashable {
    /// σ₁, σ₂, …, as many as the factors have columns, or the shorter side of the matrix if that is less. What is below the
    /// error of the computation, max(rows, columns)·2⁻⁵²·σ₁ as for `numpy.linalg.matrix_rank`, is 0.
    public let singularValues: [Double]

    /// The spectrum of computed singular values.
    ///
    /// - Parameters:
    ///   - values: descending, not negative.
    ///   - rows: rows of the matrix, which with its columns decide what is noise.
    public init(_ values: [Double], rows: Int, columns: Int) {
        let threshold = Double(max(rows, columns)) * 0x1p-52 * (values.first ?? 0)
        singularValues = values.map { $0 > threshold ? $0 : 0 }
    }

    /// ‖Δ‖₂.
    public var largest: Double { singularValues.first ?? 0 }

    /// ‖Δ‖_F, scaled by σ₁ so that squares neither overflow nor vanish.
    public var frobeniusNorm: Double { largest * stableRank.squareRoot() }

    /// How many values are not 0.
    public var numericalRank: Int { singularValues.count { $0 > 0 } }

    /// ‖Δ‖_F² / ‖Δ‖₂².
    public var stableRank: Double { relative.reduce(0) { $0 + $1 * $1 } }

    /// exp(−Σ p_i ln p_i).
    public var effectiveRank: Double {
        let sum = relative.reduce(0, +)
        guard sum > 0 else { return 0 }
        var entropy = 0.0
        for value in relative where value > 0 { entropy -= value / sum * Spectrum.logarithm(value / sum) }
        return Spectrum.exponential(entropy)
    }

    /// E_1, E_2, …; empty for an update that is 0.
    public var energy: [Double] {
        let total = stableRank
        guard total > 0 else { return [] }
        var sum = 0.0
        return relative.map { value in
            sum += value * value
            return min(1, sum / total)
        }
    }

    /// The least k with E_k ≥ `share`; 0 for an update that is 0.
    public func rank(holding share: Double) -> Int {
        // The last E is 1 but for rounding.
        energy.firstIndex { $0 >= share - 0x1p-48 }.map { $0 + 1 } ?? 0
    }

    /// σ_i / σ₁.
    public var relative: [Double] { largest > 0 ? singularValues.map { $0 / largest } : [] }

    /// ln x for 0 < x ≤ 1 by ln m + k ln 2 with x = m·2ᵏ, √½ ≤ m < √2, and ln m = 2 artanh((m − 1)/(m + 1)); 12 terms leave less
    /// than 2⁻⁵³. A page needs five digits of it, from no function of the system's that differs between systems.
    private static func logarithm(_ x: Double) -> Double {
        var (m, k) = (x.significand, Double(x.exponent))
        if m > 2.0.squareRoot() { (m, k) = (m / 2, k + 1) }
        let t = (m - 1) / (m + 1)
        let square = t * t
        var series = 0.0
        for term in stride(from: 23.0, through: 1, by: -2) { series = series * square + 1 / term }
        return 2 * t * series + k * 0.6931471805599453
    }

    private static func exponential(_ x: Double) -> Double { Elementary.exp(x) }
}
