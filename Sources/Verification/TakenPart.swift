import Adapters
import ByteAccess
import LinearAlgebra
import Tensors

/// The part of a base matrix that an initialisation took out (PiSSA, KaSA, OLoRA), decomposed here anew, with a bound
/// of what another build of LAPACK would make of it.
///
/// The bytes of such a merge depend on the library, so the question is how far two backward stable decompositions of
/// one matrix can be apart. Let Δ = n·u·‖W‖₂, n = max(rows, columns): the computed factors are the exact ones of a
/// matrix within Δ of W (LAPACK Users' Guide, 3rd edition, section 4.9, with n for its "modest" polynomial; measured
/// errors are a few u·‖W‖₂).
///
/// *Singular triplets.* Let X be the sum of the c largest, σ = σ_c, and gap = σ_c − σ_{c+1}. To first order a change E
/// of W turns the kept against the dropped directions by |E|·(σ_c + σ_{c+1}) / (σ_c² − σ_{c+1}²) = |E| / gap, which
/// moves X by at most ‖E‖·(1 + 2·σ_c/gap). Where the gap closes, X may change by any mixture of the directions beside
/// it, but never by more than 2·σ_{c+1} + 3·‖E‖, since X is within σ_{c+1} of W before and after. The smaller of the
/// two holds. The p − c smallest triplets are W − X, which adds one more ‖E‖.
///
/// *QR.* Q[:, :r]·R[:r] is the projection of W onto its first r columns W₁; a change E of W moves the projector by at
/// most ‖E‖ / σ_min(W₁), and so the product by at most ‖E‖·(1 + 2·‖W‖/σ_min(W₁)).
///
/// Two libraries are each that far from the exact result: twice the bound. No element moves more than the norm.
struct TakenPart {
    /// rows × rank, with the sign that the update has.
    let left: [Double]
    /// rank × columns.
    let right: [Double]
    let rank: Int
    /// The largest difference of an element of left·right between two builds.
    let bound: Double

    /// - Parameter transposed: whether the transpose of the stored matrix is what the method decomposes.
    init(_ decomposition: BaseDecomposition, of stored: [Double], rows: Int, columns: Int, transposed: Bool) throws {
        guard transposed else {
            (left, right, rank, bound) = try TakenPart.factors(decomposition, of: stored, rows: rows, columns: columns)
            return
        }
        let turned = Kernels.transposed(stored, rows: rows, columns: columns)
        let factors = try TakenPart.factors(decomposition, of: turned, rows: columns, columns: rows)
        left = Kernels.transposed(factors.right, rows: factors.rank, columns: rows)
        right = Kernels.transposed(factors.left, rows: columns, columns: factors.rank)
        (rank, bound) = (factors.rank, factors.bound)
    }

    private typealias Factors = (left: [Double], right: [Double], rank: Int, bound: Double)

    private static func factors(
        _ decomposition: BaseDecomposition, of weight: [Double], rows: Int, columns: Int
    ) throws -> Factors {
        let smaller = min(rows, columns)
        switch decomposition {
        case .principalComponents(let rank):
            return try triplets(of: weight, rows, columns, kept: min(rank, smaller), largest: true)
        case .minorComponents(let rank):
            guard rank < smaller else {
                throw PeftfileError(
                    .refused, "KaSA needs a rank below min(out, in) = \(smaller), and this one has \(rank)",
                    rule: "KaSARank")
            }
            return try triplets(of: weight, rows, columns, kept: smaller - rank, largest: false)
        case .orthonormalFactors(let rank, let scale):
            return try orthonormal(of: weight, rows, columns, kept: min(rank, smaller), scale: scale)
        }
    }

    /// −U·S·Vᵀ over the `kept` largest triplets, or over all the others.
    private static func triplets(
        of weight: [Double], _ rows: Int, _ columns: Int, kept: Int, largest: Bool
    ) throws -> Factors {
        let svd = try LAPACK.svd(weight, rows: rows, columns: columns)
        let range = largest ? 0..<kept : kept..<svd.count
        var left = [Double](repeating: 0, count: rows * range.count)
        for i in 0..<rows {
            for (k, component) in range.enumerated() {
                left[i * range.count + k] = -(svd.u[i * svd.count + component] * svd.s[component])
            }
        }
        let change = Double(max(rows, columns)) * RoundingError.unit * (svd.s.first ?? 0)
        var bound = change
        if kept > 0, kept < svd.count {
            let next = svd.s[kept]
            let gap = svd.s[kept - 1] - next
            let closed = 2 * next + 3 * change
            bound = gap > 0 ? min(change * (1 + 2 * svd.s[kept - 1] / gap), closed) : closed
        }
        if !largest { bound += change }
        let right = Array(svd.vt[(range.lowerBound * columns)..<(range.upperBound * columns)])
        return (left, right, range.count, 2 * bound * RoundingError.slack)
    }

    /// −scale·Q[:, :kept]·R[:kept].
    private static func orthonormal(
        of weight: [Double], _ rows: Int, _ columns: Int, kept: Int, scale: Double
    ) throws -> Factors {
        let qr = try LAPACK.qr(weight, rows: rows, columns: columns)
        var left = [Double](repeating: 0, count: rows * kept)
        for i in 0..<rows {
            for k in 0..<kept { left[i * kept + k] = -scale * qr.q[i * qr.count + k] }
        }
        // The first columns of W have the singular values of their triangle in R.
        var triangle = [Double](repeating: 0, count: kept * kept)
        for i in 0..<kept {
            for j in 0..<kept { triangle[i * kept + j] = qr.r[i * columns + j] }
        }
        let smallest = try LAPACK.svd(triangle, rows: kept, columns: kept).s.last ?? 0
        let norm = weight.reduce(0) { $0 + $1 * $1 }.squareRoot()
        let change = Double(max(rows, columns)) * RoundingError.unit * norm
        // Two projections differ by at most 1 in norm, however small the columns are.
        let bound = min(smallest > 0 ? change * (1 + 2 * norm / smallest) : .infinity, norm + change)
        return (left, Array(qr.r[0..<(kept * columns)]), kept, 2 * abs(scale) * bound * RoundingError.slack)
    }
}
