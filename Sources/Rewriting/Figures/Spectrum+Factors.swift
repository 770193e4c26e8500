import Adapters
import ByteAccess
import LinearAlgebra
import Tensors

extension Spectrum {
    /// The singular values of `Σ scale · left · right` from the factors alone; the matrix itself is never formed.
    ///
    /// The left factors stand side by side as L (rows × R), the right ones as K = [right₁ᵀ right₂ᵀ …] (columns × R), R being the
    /// sum of the ranks. With L = Q_L T_L and K = Q_K T_K, the columns of both Q orthonormal, Δ = Q_L (T_L S T_Kᵀ) Q_Kᵀ, S the
    /// diagonal of the scales: Δ has the singular values of the core T_L S T_Kᵀ, which is at most R × R. Cost
    /// O((rows + columns)·R²), where the matrix itself would take O(rows·columns·min(rows, columns)).
    ///
    /// Error: Householder QR and LAPACK's SVD are backward stable, so each value is off by at most a modest multiple of
    /// 2⁻⁵³·Σ|s|‖left‖‖right‖ (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, theorem 19.4; LAPACK Users'
    /// Guide, 3rd edition, section 4.9).
    ///
    /// - Throws: `.library` without OpenBLAS; `.refused` where a factor holds NaN or Inf; what reading throws.
    init(of update: ThinUpdate, numbers: AdapterNumbers) throws {
        let parts = try update.terms.map { term in
            Part(
                left: try Part.values(term.left, numbers), right: try Part.values(term.right, numbers), rank: term.right.rows,
                rows: term.region?.rows ?? 0..<update.rows, columns: term.region?.columns ?? 0..<update.columns,
                scale: term.scale)
        }
        let rank = parts.reduce(0) { $0 + $1.rank }
        let left = try LAPACK.triangle(rows: update.rows, columns: rank) { range in
            Spectrum.block(parts, range, rank) { part, row, k in part.left[row * part.rank + k] } of: { $0.rows }
        }
        let right = try LAPACK.triangle(rows: update.columns, columns: rank) { range in
            Spectrum.block(parts, range, rank) { part, row, k in part.right[k * part.columns.count + row] } of: { $0.columns }
        }
        let scales = parts.flatMap { [Double](repeating: $0.scale, count: $0.rank) }
        let scaled = left.indices.map { left[$0] * scales[$0 % rank] }
        let (height, width) = rank == 0 ? (0, 0) : (left.count / rank, right.count / rank)
        let core = try BLAS.product(scaled, right, rows: height, columns: width, depth: rank, transposeB: true)
        self.init(try LAPACK.svd(core, rows: height, columns: width).s, rows: update.rows, columns: update.columns)
    }

    /// A term with its numbers.
    private struct Part {
        let left: [Double]
        let right: [Double]
        let rank: Int
        let rows: Range<Int>
        let columns: Range<Int>
        let scale: Double

        static func values(_ expression: MatrixExpression, _ numbers: AdapterNumbers) throws -> [Double] {
            func noBase(_ rows: Range<Int>) throws -> [Double] {
                throw PeftfileError(.malformed, "a thin factor reads the base", rule: "Expression")
            }
            let walk = try ExpressionWalk(
                expression, arithmetic: DefinedArithmetic(), numbers: numbers, sourceColumns: 0, source: noBase)
            return try walk.rows(0..<expression.rows, source: noBase)
        }
    }

    /// Some rows of the factors side by side: zeros where a term's rectangle does not reach.
    private static func block(
        _ parts: [Part], _ range: Range<Int>, _ rank: Int, _ element: (Part, Int, Int) -> Double,
        of extent: (Part) -> Range<Int>
    ) -> [Double] {
        var values = [Double](repeating: 0, count: range.count * rank)
        var first = 0
        for part in parts {
            let own = extent(part)
            for row in own.clamped(to: range) {
                for k in 0..<part.rank {
                    values[(row - range.lowerBound) * rank + first + k] = element(part, row - own.lowerBound, k)
                }
            }
            first += part.rank
        }
        return values
    }
}
