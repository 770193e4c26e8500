import Adapters
import ByteAccess

/// An expression of a recipe, ready to be evaluated with bounds, and in the defined order where that must decide.
final class ComputedPart: Sendable {
    let region: Region
    private let expression: MatrixExpression
    private let bounded: ExpressionWalk<BoundedArithmetic>
    private let numbers: AdapterNumbers
    private let start: StartRows
    /// Made when an element first needs it.
    private let defined = Mutex<ExpressionWalk<StepwiseArithmetic>?>(nil)

    init(_ expression: MatrixExpression, region: Region, numbers: AdapterNumbers, start: StartRows) throws {
        self.region = region
        self.expression = expression
        self.numbers = numbers
        self.start = start
        bounded = try ExpressionWalk(
            expression, arithmetic: BoundedArithmetic(), numbers: numbers, sourceColumns: start.source.recipe.columns
        ) { try start.values(rows: $0) }
    }

    /// Rows of the result, counted in the recipe's matrix, with bounds. `panel` holds the start of the rows from
    /// `first` on.
    func rows(_ rows: Range<Int>, panel: [Double], first: Int) throws -> BoundedArithmetic.Matrix {
        let columns = start.source.recipe.columns
        let held = first..<(first + panel.count / max(1, columns))
        return try bounded.rows(own(rows)) { wanted in
            guard held.contains(wanted) || wanted.isEmpty else { return try start.values(rows: wanted) }
            return Array(panel[((wanted.lowerBound - first) * columns)..<((wanted.upperBound - first) * columns)])
        }
    }

    /// Some rows of the expression, counted in the recipe's matrix, times vectors (columns of the region × vectors), and
    /// the roundings on the longest way.
    func applied(_ rows: Range<Int>, to x: [Double], vectors: Int) throws -> (result: FunctionalForm.Vectors, length: Int) {
        let part = expression.rows(own(rows))
        let form = functional(vectors)
        return (try form.apply(part, to: .init(exact: x)), FunctionalForm.length(part))
    }

    /// Eᵀ·z for those rows: vectors of the row space.
    func transposed(_ rows: Range<Int>, to z: [Double]) throws -> [Double] {
        try functional(1).apply(expression.rows(own(rows)).transpose, to: .init(exact: z)).values
    }

    private func functional(_ vectors: Int) -> FunctionalForm {
        let start = start
        return FunctionalForm(
            vectors: vectors, numbers: numbers, source: { try start.values(rows: $0) },
            sourceColumns: start.source.recipe.columns)
    }

    /// A row of the result in the defined order.
    func definedRow(_ row: Int) throws -> [Double] {
        let walk = try defined.withLock { known in
            if let known { return known }
            let made = try ExpressionWalk(
                expression, arithmetic: StepwiseArithmetic(), numbers: numbers,
                sourceColumns: start.source.recipe.columns
            ) { try start.values(rows: $0) }
            known = made
            return made
        }
        return try walk.rows(own(row..<(row + 1))) { try start.values(rows: $0) }
    }

    private func own(_ rows: Range<Int>) -> Range<Int> {
        (rows.lowerBound - region.rows.lowerBound)..<(rows.upperBound - region.rows.lowerBound)
    }
}

/// The source's rows with replaced ones in their places.
struct StartRows: Sendable {
    let source: SourceRows
    let replacements: [PreparedRecipe.Replacement]

    func values(rows: Range<Int>) throws -> [Double] {
        var values = try source.values(rows: rows)
        replace(rows, in: &values)
        return values
    }

    func replace(_ rows: Range<Int>, in values: inout [Double]) {
        for replacement in replacements {
            let width = replacement.columns.count
            for row in rows {
                guard let from = replacement.rows[row] else { continue }
                let start = (row - rows.lowerBound) * source.recipe.columns + replacement.columns.lowerBound
                values.replaceSubrange(
                    start..<(start + width), with: replacement.values[(from * width)..<((from + 1) * width)])
            }
        }
    }
}
