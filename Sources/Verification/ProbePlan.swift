import Adapters
import ByteAccess
import LinearAlgebra
import Tensors

/// The functional form: the stored matrix against the unmerged model, on vectors, without ever forming B·A.
///
///     W'·x   against   f ⊙ (W·x + Σ scale · left·(right·x))
///
/// A term that is an expression is applied as one (``FunctionalForm``), whose bound takes the place of its summand below.
/// in the orientation in which the tensor is stored; f is DoRA's m / ‖V‖ where there is one, 1 otherwise.
///
/// *The vectors.* Every other one has signs ±1 at random and meets every column alike. Since an update has rank r, and
/// is small, it nearly vanishes in the rounding of a row of thousands of columns for such x; so the others lie in the
/// row space of the update, x = rightᵀ·(leftᵀ·z), z random signs (one step of the power method), where W' − W is
/// largest. They are scaled to the length √columns. Each block of rows with its own updates (experts, fused
/// projections) has its own x.
///
/// *The tolerance.* With h half the step of the dtype at W'[i, j], |W' − exact| ≤ h + E, and W' is within h + 2E of the
/// exact V that the right side multiplies. A product of length n summed in any order is off by γ(n + 1) times the sum
/// of magnitudes. So the difference of row i is at most
///
///     Σ_j |x_j|·(h + 2E + γ(n + 1)·|W'[i, j]|)
///       + |f|·γ(n + r + T + 8)·(‖W[i, :]‖·‖x‖ + Σ_terms |scale|·‖left[i, :]‖·‖q‖),      q = |right|·|x|
///
/// the last roundings being those of W·x, of the r + 1 operations on top of right·x, of T additions, of f and of the
/// bound itself. With `maxULP` N, h grows by 4N: N steps, and some of them may be of the next larger size.
struct ProbePlan: Sendable {
    /// Rows that share their vectors.
    struct Segment: Sendable {
        let rows: Range<Int>
        /// columns × vectors.
        let vectors: [Double]
        let magnitudes: [Double]
        /// What the right side multiplies with: the vectors, times the factors of a magnitude along columns.
        let reference: [Double]
        /// ‖reference‖₂ of each vector.
        let norms: [Double]
        let terms: [Term]
    }

    /// A term whose rows the segment has part in.
    struct Term: Sendable {
        let index: Int
        /// right·x: rank × vectors.
        let image: [Double]
        /// ‖|right|·|x|‖₂ of each vector; for a dense term ‖x‖₂.
        let norms: [Double]
        /// E·x of a computed term for the rows of the segment, and the roundings in it.
        var computed: (first: Int, result: FunctionalForm.Vectors, length: Int)?
    }

    let vectors: Int
    let recomputation: Recomputation
    let segments: [Segment]
    let halfStep: Double
    let smallestNormal: Double

    /// Why a tensor has no linear form that could be probed, or nil where it has one.
    static func reasonToSkip(_ recipe: TensorRecipe) -> String? {
        if !recipe.transforms.isEmpty { return "the base is transformed, not added to" }
        if recipe.updates.isEmpty && recipe.magnitudes.isEmpty {
            return "no update: every element is a stored number, rounded at most once"
        }
        if recipe.shape.count < 2 { return "a vector has no linear form" }
        let isPartial = recipe.magnitudes.contains { magnitude in
            switch magnitude.axis {
            case .rows: magnitude.region.columns != 0..<recipe.columns
            case .columns: magnitude.region.rows != 0..<recipe.rows
            }
        }
        if isPartial { return "a magnitude covers part of a line" }
        if recipe.magnitudes.contains(where: { $0.axis == .columns }), recipe.magnitudes.count > 1 {
            return "several magnitudes act on one tensor"
        }
        return nil
    }

    init(_ recomputation: Recomputation, vectors: Int, maxULP: UInt64) throws {
        self.recomputation = recomputation
        self.vectors = vectors
        let recipe = recomputation.recipe
        let (fraction, smallest) =
            switch recipe.dtype {
            case .bf16: (7, 0x1p-126)
            case .f16: (10, 0x1p-14)
            case .f32: (23, 0x1p-126)
            default: (52, 0x1p-1022)
            }
        halfStep = Double(sign: .plus, exponent: -fraction - 1, significand: 1 + 4 * Double(maxULP))
        smallestNormal = smallest
        var generator = ProbeGenerator(name: recipe.name.text)
        var cuts: Set<Int> = [0, recipe.rows]
        for term in recomputation.prepared.terms {
            cuts.formUnion([term.region.rows.lowerBound, term.region.rows.upperBound])
        }
        let edges = cuts.sorted()
        var factors: [Double]?
        for magnitude in recomputation.prepared.magnitudes where magnitude.axis == .columns {
            var all = [Double](repeating: 1, count: recipe.columns)
            for (position, column) in magnitude.region.columns.enumerated() {
                all[column] = magnitude.values[position] / (magnitude.norms?.norms[position] ?? .nan)
            }
            factors = all
        }
        segments = try zip(edges, edges.dropFirst()).map { lower, upper in
            try ProbePlan.segment(lower..<upper, recomputation, vectors, factors, &generator)
        }
    }

    // MARK: Vectors

    private static func segment(
        _ rows: Range<Int>, _ recomputation: Recomputation, _ count: Int, _ factors: [Double]?,
        _ generator: inout ProbeGenerator
    ) throws -> Segment {
        let columns = recomputation.recipe.columns
        let terms = recomputation.prepared.terms.enumerated().filter { $0.element.region.rows.overlaps(rows) }
        var vectors = [Double](repeating: 0, count: columns * count)
        for vector in 0..<count {
            var x = generator.signs(columns)
            if vector % 2 == 1 {
                let aligned = try rowSpaceVector(terms.map(\.element), rows: rows, columns: columns, &generator)
                if let aligned { x = aligned }
            }
            for column in 0..<columns { vectors[column * count + vector] = x[column] }
        }
        var reference = vectors
        if let factors {
            for column in 0..<columns {
                for vector in 0..<count { reference[column * count + vector] *= factors[column] }
            }
        }
        let images = try terms.map { index, term in
            let part = Array(
                reference[(term.region.columns.lowerBound * count)..<(term.region.columns.upperBound * count)])
            switch term.numbers {
            case .dense: return Term(index: index, image: part, norms: norms(part, count))
            case .computed(let computed):
                let own = rows.clamped(to: term.region.rows)
                let (result, length) = try computed.applied(own, to: part, vectors: count)
                return Term(index: index, image: [], norms: [], computed: (own.lowerBound, result, length))
            case .lowRank(_, let right, let rank):
                let width = term.region.columns.count
                let image = try BLAS.product(right, part, rows: rank, columns: count, depth: width)
                let size = try BLAS.product(
                    right.map(abs), part.map(abs), rows: rank, columns: count, depth: width)
                return Term(index: index, image: image, norms: norms(size, count))
            }
        }
        return Segment(
            rows: rows, vectors: vectors, magnitudes: vectors.map(abs), reference: reference,
            norms: norms(reference, count), terms: images)
    }

    /// rightᵀ·(leftᵀ·z) over the low-rank terms that come from adapters, scaled to length √columns; nil where that is 0
    /// or not finite.
    private static func rowSpaceVector(
        _ terms: [PreparedTerm], rows: Range<Int>, columns: Int, _ generator: inout ProbeGenerator
    ) throws -> [Double]? {
        let z = generator.signs(rows.count)
        var x = [Double](repeating: 0, count: columns)
        for term in terms where !term.isDecomposed {
            if case .computed(let computed) = term.numbers {
                let own = rows.clamped(to: term.region.rows)
                let lines = (own.lowerBound - rows.lowerBound)..<(own.upperBound - rows.lowerBound)
                for (column, value) in try computed.transposed(own, to: Array(z[lines])).enumerated() {
                    x[term.region.columns.lowerBound + column] += term.scale * value
                }
            }
            guard case .lowRank(let left, let right, let rank) = term.numbers else { continue }
            var image = [Double](repeating: 0, count: rank)
            for row in rows.clamped(to: term.region.rows) {
                let line = row - term.region.rows.lowerBound
                for k in 0..<rank { image[k] += z[row - rows.lowerBound] * left[line * rank + k] }
            }
            let width = term.region.columns.count
            for k in 0..<rank {
                for column in 0..<width {
                    x[term.region.columns.lowerBound + column] += term.scale * image[k] * right[k * width + column]
                }
            }
        }
        let largest = x.reduce(0) { max($0, abs($1)) }
        guard largest > 0, largest.isFinite else { return nil }
        let length = x.reduce(0) { $0 + ($1 / largest) * ($1 / largest) }.squareRoot()
        let scale = Double(columns).squareRoot() / length
        let result = x.map { $0 / largest * scale }
        return result.allSatisfy(\.isFinite) ? result : nil
    }

    /// ‖column‖₂ of each column of a matrix of `count` columns.
    private static func norms(_ matrix: [Double], _ count: Int) -> [Double] {
        var squares = [Double](repeating: 0, count: count)
        for (index, value) in matrix.enumerated() { squares[index % count] += value * value }
        return squares.map { $0.squareRoot() * RoundingError.slack }
    }
}
