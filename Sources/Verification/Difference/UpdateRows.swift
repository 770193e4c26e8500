import Adapters
import ByteAccess
import Tensors

/// Two updates of any form compared row by row: neither is ever held whole.
///
/// Norms, inner product and ρ are sums over all elements, taken panel by panel in float64; ρ by ``RoundedArithmetic``.
struct UpdateRows {
    private(set) var normA = 0.0
    private(set) var normB = 0.0
    /// ‖Δ₁ − Δ₂‖_F.
    private(set) var difference = 0.0
    /// ⟨Δ₁, Δ₂⟩.
    private(set) var inner = 0.0
    /// ρ of ``UpdateComparison``.
    private(set) var rounding = 0.0

    /// Numbers of a panel, and those that an expression may hold beside it.
    private static let panel = 1 << 18
    private static let heldLimit = 1 << 26

    /// - Throws: `.refused` where a result is NaN or infinite, or a formula holds too much; `.library` without OpenBLAS; what
    ///   reading throws.
    init(_ a: StandaloneUpdate, from sourceA: AdapterNumbers, _ b: StandaloneUpdate, from sourceB: AdapterNumbers) throws {
        let (first, second) = (try Side(a, sourceA), try Side(b, sourceB))
        var (roundingA, roundingB) = ((0.0, 0.0), (0.0, 0.0))
        let step = max(1, UpdateRows.panel / max(1, a.columns))
        for start in stride(from: 0, to: a.rows, by: step) {
            try Interruption.check()
            let rows = start..<min(start + step, a.rows)
            let (x, y) = (try first.rows(rows), try second.rows(rows))
            for (p, q) in zip(x.values, y.values) {
                normA += p * p
                normB += q * q
                difference += (p - q) * (p - q)
                inner += p * q
            }
            UpdateRows.add(x, to: &roundingA)
            UpdateRows.add(y, to: &roundingB)
        }
        guard (normA + normB + difference).isFinite else {
            throw PeftfileError(.refused, "a result is NaN, infinite or too large to be squared", rule: "FactorFinite")
        }
        (normA, normB, difference) = (normA.squareRoot(), normB.squareRoot(), difference.squareRoot())
        rounding = first.rounding(roundingA) + second.rounding(roundingB)
    }

    private static func add(_ matrix: RoundedArithmetic.Matrix, to sums: inout (Double, Double)) {
        sums.0 += matrix.variances.reduce(0, +)
        for size in matrix.sizes { sums.1 += size * size }
    }

    /// One update, its walks made.
    private struct Side {
        let update: StandaloneUpdate
        let walks: [ExpressionWalk<RoundedArithmetic>]
        let unit: Double

        init(_ update: StandaloneUpdate, _ source: AdapterNumbers) throws {
            self.update = update
            let names = Set(update.terms.flatMap { $0.expression.factors.map(\.tensor) })
            let unit = names.compactMap { source.dtype(of: $0, adapter: 0) }.map { Ulp.spacing(at: 1, in: $0) / 2 }.max() ?? 0x1p-53
            self.unit = unit
            let held = update.terms.map { $0.expression.heldNumbers(panelRows: 1, workers: 1) }.max() ?? 0
            guard held <= UpdateRows.heldLimit else {
                throw PeftfileError(.refused, "its formula needs \(held) numbers at once", rule: "UpdateSize")
            }
            walks = try update.terms.map { term in
                try ExpressionWalk(
                    term.expression, arithmetic: RoundedArithmetic(unit: unit), numbers: source, sourceColumns: update.columns
                ) { _ in throw Side.readsBase }
            }
        }

        private static let readsBase = PeftfileError(.refused, "its update depends on the base's weights", rule: "Expression")

        /// Some rows of the sum of all terms.
        func rows(_ range: Range<Int>) throws -> RoundedArithmetic.Matrix {
            let width = update.columns
            let zeros = [Double](repeating: 0, count: range.count * width)
            var result = RoundedArithmetic.Matrix(zeros, zeros, zeros)
            for (term, walk) in zip(update.terms, walks) {
                let region = term.region ?? Region(rows: 0..<update.rows, columns: 0..<width)
                let own = range.clamped(to: region.rows)
                guard !own.isEmpty else { continue }
                let first = region.rows.lowerBound
                let part = try walk.rows((own.lowerBound - first)..<(own.upperBound - first)) { _ in throw Side.readsBase }
                let count = region.columns.count
                for row in own {
                    let (from, to) = ((row - own.lowerBound) * count, (row - range.lowerBound) * width + region.columns.lowerBound)
                    for column in 0..<count {
                        result.values[to + column] += term.scale * part.values[from + column]
                        result.variances[to + column] += term.scale * term.scale * part.variances[from + column]
                        result.sizes[to + column] += abs(term.scale) * part.sizes[from + column]
                    }
                }
            }
            return result
        }

        /// ρ(i) from the sums of the variances and of the squared sizes.
        func rounding(_ sums: (variances: Double, sizes: Double)) -> Double {
            sums.variances.squareRoot() + 64 * (unit == 0x1p-53 ? 0x1p-53 : 0x1p-24) * sums.sizes.squareRoot()
        }
    }
}
