import ByteAccess
import LinearAlgebra
import Tensors

/// One term of the change to a parameter, in the orientation that it is applied in.
///
/// The merged element is `round(W + Σ terms)`: every term is evaluated in float64 against the original W, the terms
/// are summed in order, then added to the widened W, then rounded once to the output's dtype.
public enum WeightUpdate: Sendable, Hashable {
    /// `scale · Σ_k left[i, k]·right[k, j]`: k ascending from 0, fused multiply-add starting from +0, then one
    /// multiplication by the scale.
    case lowRank(left: Factor, right: Factor, scale: Double)
    /// `scale · values[i, j]`, one multiplication.
    case dense(values: Factor, scale: Double)
    /// A low-rank term whose factors are computed from the base matrix itself: `scale · Σ_k left[i, k]·right[k, j]`.
    /// `transposed` says that the decomposition reads the transpose of the matrix that the term is applied to.
    case decomposed(BaseDecomposition, transposed: Bool, scale: Double)
    /// A low-rank term one of whose factors is a product with the base matrix itself: a linear map behind the layer.
    case composed(BaseComposition, scale: Double)
    /// `scale · expression[i, j]`, one multiplication; rectangles of the base are those of the recipe's matrix.
    case computed(MatrixExpression, scale: Double)
}

/// A rectangle of a matrix: the rows and columns that a term changes.
public struct Region: Sendable, Hashable {
    /// The rows covered, from 0.
    public var rows: Range<Int>
    /// The columns covered, from 0.
    public var columns: Range<Int>

    /// The elements where these rows and columns meet.
    public init(rows: Range<Int>, columns: Range<Int>) {
        self.rows = rows
        self.columns = columns
    }
}

/// The part of a base matrix that an initialisation took out of it before training, recomputed from the base.
///
/// PiSSA, OLoRA and KaSA change the frozen weight when the adapter is made and again whenever it is loaded; their
/// saved factors are relative to that changed weight. The merge therefore adds the taken part with a minus sign.
/// Decompositions are LAPACK's, in float64 on one thread: the one place where output bytes depend on a library, which
/// the receipt names.
public enum BaseDecomposition: Sendable, Hashable {
    /// PiSSA (arXiv:2404.02948): `−U_r S_r V_rᵀ`, the r largest singular triplets. PEFT: `LoraLayer.pissa_init`.
    case principalComponents(rank: Int)
    /// KaSA (arXiv:2412.06071): `−U S Vᵀ` over the r smallest of min(out, in) singular triplets.
    /// PEFT: `KasaLinearVariant._truncate_base_weight`.
    case minorComponents(rank: Int)
    /// OLoRA (arXiv:2406.01775): `−scale · Q[:, :r] R[:r]`. PEFT: `LoraLayer.olora_init`.
    case orthonormalFactors(rank: Int, scale: Double)

    /// The name that receipts and plans show.
    public var name: String {
        switch self {
        case .principalComponents: "SVD, largest components (PiSSA)"
        case .minorComponents: "SVD, smallest components (KaSA, OSF)"
        case .orthonormalFactors: "QR (OLoRA)"
        }
    }

    /// Computes the term's factors from the base matrix.
    ///
    /// - Parameter weight: row-major `rows` × `columns`, in (out, in) orientation.
    /// - Returns: `left` (rows × rank) and `right` (rank × columns), with the sign in `left`.
    /// - Throws: `.refused` where the rank does not fit the matrix, `.library` where OpenBLAS is not installed.
    public func factors(of weight: [Double], rows: Int, columns: Int) throws -> (
        left: [Double], right: [Double], rank: Int
    ) {
        let smaller = min(rows, columns)
        switch self {
        case .principalComponents(let rank):
            try requireFinite(weight)
            let kept = min(rank, smaller)
            return try triplets(of: weight, rows: rows, columns: columns, range: 0..<kept)
        case .minorComponents(let rank):
            try requireFinite(weight)
            guard rank < smaller else {
                throw PeftfileError(
                    .refused, "KaSA needs a rank below min(out, in) = \(smaller), and this one has \(rank)",
                    rule: "KaSARank", help: "merge onto the base that the adapter was trained on")
            }
            return try triplets(of: weight, rows: rows, columns: columns, range: (smaller - rank)..<smaller)
        case .orthonormalFactors(let rank, let scale):
            try requireFinite(weight)
            let kept = min(rank, smaller)
            let decomposition = try LAPACK.qr(weight, rows: rows, columns: columns)
            let (q, r) = (decomposition.q, decomposition.r)
            var left = [Double](repeating: 0, count: rows * kept)
            for i in 0..<rows {
                for k in 0..<kept { left[i * kept + k] = -scale * q[i * smaller + k] }
            }
            return (left, Array(r[0..<(kept * columns)]), kept)
        }
    }

    /// The factors for a matrix as stored, which may be the transpose of what the decomposition reads.
    ///
    /// - Throws: as ``factors(of:rows:columns:)``.
    public func factors(ofStored weight: [Double], rows: Int, columns: Int, transposed: Bool) throws -> (
        left: [Double], right: [Double], rank: Int
    ) {
        guard transposed else { return try factors(of: weight, rows: rows, columns: columns) }
        // W = X·Y for the transpose means Wᵀ = Yᵀ·Xᵀ for what is stored.
        let turned = Kernels.transposed(weight, rows: rows, columns: columns)
        let (left, right, rank) = try factors(of: turned, rows: columns, columns: rows)
        return (
            Kernels.transposed(right, rows: rank, columns: rows),
            Kernels.transposed(left, rows: columns, columns: rank), rank
        )
    }

    private func triplets(of weight: [Double], rows: Int, columns: Int, range: Range<Int>) throws -> (
        left: [Double], right: [Double], rank: Int
    ) {
        let smaller = min(rows, columns)
        let decomposition = try LAPACK.svd(weight, rows: rows, columns: columns)
        let (u, s, vt) = (decomposition.u, decomposition.s, decomposition.vt)
        let rank = range.count
        var left = [Double](repeating: 0, count: rows * rank)
        for i in 0..<rows {
            for (k, component) in range.enumerated() {
                left[i * rank + k] = -(u[i * smaller + component] * s[component])
            }
        }
        return (left, Array(vt[(range.lowerBound * columns)..<(range.upperBound * columns)]), rank)
    }

    private func requireFinite(_ weight: [Double]) throws {
        guard weight.allSatisfy(\.isFinite) else {
            throw PeftfileError(
                .refused, "the base matrix holds NaN or Inf and cannot be decomposed", rule: "DecompositionFinite",
                help: "give a base without NaN and Inf; peftfile inspect --stats names them")
        }
    }
}

extension WeightUpdate {
    /// `scale · expression`; a plain product of two stored factors is a low-rank term, which has kernels of its own.
    static func term(_ expression: MatrixExpression, scale: Double) -> WeightUpdate {
        if case .scaled(let inner, let factor) = expression, scale == 1 { return term(inner, scale: factor) }
        if case .product(.stored(let left), .stored(let right)) = expression {
            return .lowRank(left: left, right: right, scale: scale)
        }
        return .computed(expression, scale: scale)
    }
}

extension ParameterUpdate.Change {
    /// Whether it computes with a module's own numbers, which only one module of an adapter may do to a stored piece.
    var isUpdate: Bool {
        switch self {
        case .lowRank, .term, .transform: true
        default: false
        }
    }
}
