import Adapters
import ByteAccess
import Tensors

/// The numbers of a recipe that all of its rows share: factors, replaced rows, magnitudes.
struct PreparedRecipe: Sendable {
    /// Rows that an adapter's tensor takes the place of.
    struct Replacement: Sendable {
        /// Matrix row → row of `values`.
        let rows: [Int: Int]
        let columns: Range<Int>
        let values: [Double]
    }

    /// A magnitude, and for one along columns what `ColumnNorms` found.
    struct Magnitude: Sendable {
        let region: Region
        let axis: TensorRecipe.Magnitude.Axis
        let values: [Double]
        var norms: ColumnNorms?
    }

    let terms: [PreparedTerm]
    let transforms: [ComputedPart]
    let replacements: [Replacement]
    var magnitudes: [Magnitude]

    /// Reads and computes the numbers, all but column norms.
    init(_ recipe: TensorRecipe, source: SourceRows, numbers: AdapterNumbers) throws {
        replacements = try recipe.rowReplacements.map { replacement in
            let values = replacement.values
            guard values.rows == replacement.rows.count, values.columns == replacement.columns.count else {
                throw PreparedRecipe.misfit(recipe, values.tensor)
            }
            // Where a row is named twice the last one counts, as in an assignment by index.
            let rows = Dictionary(replacement.rows.enumerated().map { ($1, $0) }) { _, last in last }
            return Replacement(rows: rows, columns: replacement.columns, values: try values.matrix(from: numbers))
        }
        let start = StartRows(source: source, replacements: replacements)
        transforms = try recipe.transforms.map {
            try ComputedPart($0.expression, region: $0.region, numbers: numbers, start: start)
        }
        var terms: [PreparedTerm] = []
        for placed in recipe.updates {
            let overlapping = recipe.updates.count { $0.region.overlaps(placed.region) }
            switch placed.update {
            case .lowRank(let left, let right, let scale):
                guard left.rows == placed.region.rows.count, right.columns == placed.region.columns.count,
                    left.columns == right.rows
                else { throw PreparedRecipe.misfit(recipe, left.tensor) }
                terms.append(
                    PreparedTerm(
                        region: placed.region, left: try left.matrix(from: numbers),
                        right: try right.matrix(from: numbers),
                        rank: left.columns, scale: scale, overlapping: overlapping))
            case .dense(let values, let scale):
                guard values.rows == placed.region.rows.count, values.columns == placed.region.columns.count else {
                    throw PreparedRecipe.misfit(recipe, values.tensor)
                }
                terms.append(
                    PreparedTerm(
                        region: placed.region, dense: try values.matrix(from: numbers), scale: scale,
                        overlapping: overlapping))
            case .composed(let composition, let scale):
                let part = try ComposedPart(
                    composition, of: try source.values(rows: 0..<recipe.rows), rows: recipe.rows,
                    columns: recipe.columns, numbers: numbers)
                terms.append(
                    PreparedTerm(
                        region: placed.region, left: part.left, right: part.right, rank: composition.rank, scale: scale,
                        overlapping: overlapping))
            case .computed(let expression, let scale):
                guard expression.size == (placed.region.rows.count, placed.region.columns.count) else {
                    throw PreparedRecipe.misfit(recipe, expression.factors.first?.tensor ?? recipe.name)
                }
                terms.append(
                    PreparedTerm(
                        try ComputedPart(expression, region: placed.region, numbers: numbers, start: start), scale: scale,
                        overlapping: overlapping))
            case .decomposed(let decomposition, let transposed, let scale):
                let taken = try TakenPart(
                    decomposition, of: try source.values(rows: 0..<recipe.rows), rows: recipe.rows,
                    columns: recipe.columns, transposed: transposed)
                terms.append(
                    PreparedTerm(
                        region: placed.region, left: taken.left, right: taken.right, rank: taken.rank, scale: scale,
                        overlapping: overlapping, libraryBound: taken.bound * abs(scale)))
            }
        }
        self.terms = terms
        magnitudes = try recipe.magnitudes.map { magnitude in
            let count = magnitude.axis == .rows ? magnitude.region.rows.count : magnitude.region.columns.count
            guard magnitude.values.rows * magnitude.values.columns == count else {
                throw PreparedRecipe.misfit(recipe, magnitude.values.tensor)
            }
            return Magnitude(
                region: magnitude.region, axis: magnitude.axis, values: try magnitude.values.matrix(from: numbers))
        }
    }

    /// What terms that decompose the base may differ by between builds of LAPACK, at most, in any element.
    var libraryBound: Double { terms.reduce(0) { $0 + $1.libraryBound } }
    var isDecomposed: Bool { terms.contains(where: \.isDecomposed) }

    private static func misfit(_ recipe: TensorRecipe, _ tensor: ExactString) -> PeftfileError {
        PeftfileError(
            .malformed, "does not fit the part of \(recipe.name) that it changes", tensor: tensor, rule: "FactorShape")
    }
}

extension Region {
    func overlaps(_ other: Region) -> Bool { rows.overlaps(other.rows) && columns.overlaps(other.columns) }
}
