import Adapters
import ByteAccess
import LinearAlgebra
import Tensors

/// Two low-rank products compared through their factors; neither product is ever formed.
///
/// The factors of both stand side by side, L = [B₁ B₂] (out × R) and K = [A₁ᵀ A₂ᵀ] (in × R), R the sum of the ranks. With
/// L = Q_L T_L and K = Q_K T_K, the columns of both Q orthonormal,
///
///     Δ_i = Q_L M_i Q_Kᵀ,   M_i = Σ_k s_k T_L[:, k] T_K[:, k]ᵀ   over the k of product i,
///
/// so norms, inner product and the angles between spaces are those of the small M_i: at most R × R. Only the triangles
/// are needed, and they are taken by parts: [T; next rows] = Q' T', which is as stable as one decomposition.
///
/// Error: Householder QR is stable column by column (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd
/// edition, theorem 19.4), so each M_i is off by at most γ_c(m·R) · Σ_k |s_k| ‖b_k‖ ‖a_k‖ in norm, m the longer side and c a
/// small number. With u = 2⁻⁵³ that is below 10⁻⁸ of the norms for any matrix of a model, and in practice near 10⁻¹⁵.
struct LowRankProduct {
    let normA: Double
    let normB: Double
    /// ‖Δ₁ − Δ₂‖_F.
    let difference: Double
    /// ⟨Δ₁, Δ₂⟩.
    let inner: Double
    /// ρ of ``UpdateComparison``.
    let rounding: Double
    let columnOverlap: Double?
    let rowOverlap: Double?

    /// - Throws: `.library` without OpenBLAS; `.refused` where a factor holds NaN or Inf; what reading throws.
    init(_ a: StandaloneUpdate, from sourceA: AdapterNumbers, _ b: StandaloneUpdate, from sourceB: AdapterNumbers) throws {
        let left = try Side(a, sourceA, b, sourceB, isLeft: true)
        let right = try Side(a, sourceA, b, sourceB, isLeft: false)
        let scales = (a.terms + b.terms).flatMap { [Double](repeating: $0.scale, count: $0.expression.depth) }
        let columns = (a: 0..<left.split, b: left.split..<left.columns)
        let m = (
            a: try LowRankProduct.matrix(left, right, scales, columns.a),
            b: try LowRankProduct.matrix(left, right, scales, columns.b)
        )
        normA = LowRankProduct.norm(m.a)
        normB = LowRankProduct.norm(m.b)
        difference = LowRankProduct.norm(zip(m.a, m.b).map { $0 - $1 })
        inner = zip(m.a, m.b).reduce(0) { $0 + $1.0 * $1.1 }

        let sizes = (0..<left.columns).map { abs(scales[$0]) * left.norm(ofColumn: $0) * right.norm(ofColumn: $0) }
        rounding = LowRankProduct.rounding(sizes[columns.a], a, sourceA) + LowRankProduct.rounding(sizes[columns.b], b, sourceB)

        // numpy.linalg.matrix_rank counts singular values above max(out, in)·2⁻⁵² times the largest.
        let threshold = Double(max(a.rows, a.columns)) * 0x1p-52
        let (rows, width) = (left.count, right.count)
        let svdA = try LAPACK.svd(m.a, rows: rows, columns: width)
        let svdB = try LAPACK.svd(m.b, rows: rows, columns: width)
        let ranks = (svdA.s.count { $0 > threshold * svdA.s[0] }, svdB.s.count { $0 > threshold * svdB.s[0] })
        columnOverlap = try LowRankProduct.overlap(
            BLAS.product(svdA.u, svdB.u, rows: svdA.count, columns: svdB.count, depth: rows, transposeA: true),
            columns: svdB.count, ranks)
        rowOverlap = try LowRankProduct.overlap(
            BLAS.product(svdA.vt, svdB.vt, rows: svdA.count, columns: svdB.count, depth: width, transposeB: true),
            columns: svdB.count, ranks)
    }

    /// M over some columns of the triangles.
    private static func matrix(_ left: Side, _ right: Side, _ scales: [Double], _ range: Range<Int>) throws -> [Double] {
        func part(_ side: Side, scaled: Bool) -> [Double] {
            (0..<side.count).flatMap { row in
                range.map { side.triangle[row * side.columns + $0] * (scaled ? scales[$0] : 1) }
            }
        }
        return try BLAS.product(
            part(left, scaled: true), part(right, scaled: false), rows: left.count, columns: right.count,
            depth: range.count, transposeB: true)
    }

    private static func norm(_ matrix: [Double]) -> Double { matrix.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    /// ρ(i) from the sizes s‖b_k‖‖a_k‖.
    private static func rounding(_ sizes: ArraySlice<Double>, _ update: StandaloneUpdate, _ source: AdapterNumbers) -> Double {
        let types = update.terms.flatMap { $0.expression.factors.map(\.tensor) }.compactMap { source.dtype(of: $0, adapter: 0) }
        let units = types.map { Ulp.spacing(at: 1, in: $0) / 2 }
        let stored = units.reduce(0) { $0 + $1 * $1 }.squareRoot() * norm(Array(sizes))
        let unit = units.allSatisfy { $0 == 0x1p-53 } ? 0x1p-53 : 0x1p-24
        return stored + 64 * unit * sizes.reduce(0, +)
    }

    /// φ = ‖U₁ᵀ U₂‖_F² / min(k₁, k₂) over the singular vectors of nonzero singular values: equation 4 of LoRA
    /// (arXiv:2106.09685, section 7.2), there between the right singular vectors of A alone, here between those of the
    /// whole updates, on both sides.
    ///
    /// - Parameter products: U₁ᵀ U₂ of all vectors, row by row.
    private static func overlap(_ products: [Double], columns: Int, _ ranks: (Int, Int)) -> Double? {
        guard ranks.0 > 0, ranks.1 > 0 else { return nil }
        var sum = 0.0
        for i in 0..<ranks.0 {
            for j in 0..<ranks.1 { sum += products[i * columns + j] * products[i * columns + j] }
        }
        return min(1, sum / Double(min(ranks.0, ranks.1)))
    }

    /// The triangle of L or of K.
    private struct Side {
        /// p × R, p = min(length, R).
        let triangle: [Double]
        let columns: Int
        /// Columns of the first product.
        let split: Int
        var count: Int { columns == 0 ? 0 : triangle.count / columns }

        init(_ a: StandaloneUpdate, _ sourceA: AdapterNumbers, _ b: StandaloneUpdate, _ sourceB: AdapterNumbers, isLeft: Bool) throws {
            let length = isLeft ? a.rows : a.columns
            var parts: [(values: [Double], range: Range<Int>, rank: Int)] = []
            for (update, source) in [(a, sourceA), (b, sourceB)] {
                for term in update.terms {
                    guard let factors = term.factors else {
                        throw PeftfileError(.refused, "is no product of two factors", rule: "Expression")
                    }
                    let factor = isLeft ? factors.left : factors.right
                    let range = isLeft ? term.region?.rows : term.region?.columns
                    parts.append((try factor.matrix(from: source), range ?? 0..<length, factors.left.columns))
                }
            }
            let total = parts.reduce(0) { $0 + $1.rank }
            columns = total
            split = a.terms.reduce(0) { $0 + $1.expression.depth }
            triangle = try LAPACK.triangle(rows: length, columns: total) { range in
                var rows = [Double](repeating: 0, count: range.count * total)
                var column = 0
                for part in parts {
                    let width = part.range.count
                    for row in part.range.clamped(to: range) {
                        let place = row - part.range.lowerBound
                        for k in 0..<part.rank {
                            // B lies by rows, A by columns.
                            rows[(row - range.lowerBound) * total + column + k] =
                                part.values[isLeft ? place * part.rank + k : k * width + place]
                        }
                    }
                    column += part.rank
                }
                return rows
            }
        }

        func norm(ofColumn column: Int) -> Double {
            LowRankProduct.norm((0..<count).map { triangle[$0 * columns + column] })
        }
    }
}

extension MatrixExpression {
    /// The number that a product sums over; 0 for anything else.
    fileprivate var depth: Int {
        if case .product(let left, _) = self { return left.columns }
        return 0
    }
}
