import Adapters
import Tensors

/// Expressions in a recipe: what they read of the source, and where their rows go.
extension RecipeEvaluator {
    typealias Walk = ExpressionWalk<DefinedArithmetic>

    func walk(_ expression: MatrixExpression, _ shared: Shared) throws -> Walk {
        try Walk(
            expression, arithmetic: DefinedArithmetic(), numbers: numbers, sourceColumns: recipe.columns
        ) { try start(rows: $0, shared) }
    }

    /// The source's rows, widened, with replaced rows in place.
    private func start(rows: Range<Int>, _ shared: Shared) throws -> [Double] {
        var values = try Conversion.widened(
            try sourceBytes(rows: rows), as: recipe.sourceDType, count: rows.count * recipe.columns)
        replaceRows(shared, in: &values, rows: rows)
        return values
    }

    /// The rows of the source among `rows` that a panel holds already; others are read.
    private func panelSource(_ values: [Double], rows: Range<Int>, _ shared: Shared) -> Walk.Source {
        let columns = recipe.columns
        return { wanted in
            guard rows.contains(wanted) || wanted.isEmpty else { return try self.start(rows: wanted, shared) }
            let first = (wanted.lowerBound - rows.lowerBound) * columns
            return Array(values[first..<(first + wanted.count * columns)])
        }
    }

    /// Puts the transforms' rows in the place of the source's.
    func transform(_ values: inout [Double], rows: Range<Int>, _ shared: Shared) throws {
        guard !shared.transforms.isEmpty else { return }
        let source = panelSource(values, rows: rows, shared)
        for transform in shared.transforms {
            try eachRow(of: transform.walk, region: transform.region, rows: rows, source) { start, row in
                values.replaceSubrange(start..<(start + row.count), with: row)
            }
        }
    }

    /// Adds `scale · expression` to the sum of updates. `values` is the panel before transforms.
    func add(
        _ walk: Walk, region: Region, scale: Double, to update: inout [Double], values: [Double], rows: Range<Int>,
        _ shared: Shared
    ) throws {
        try eachRow(of: walk, region: region, rows: rows, panelSource(values, rows: rows, shared)) { start, row in
            for (index, value) in zip(start..., row) { update[index] += scale * value }
        }
    }

    private func eachRow(
        of walk: Walk, region: Region, rows: Range<Int>, _ source: Walk.Source, _ body: (Int, ArraySlice<Double>) -> Void
    ) throws {
        let part = region.rows.clamped(to: rows)
        guard !part.isEmpty else { return }
        let width = region.columns.count
        let first = part.lowerBound - region.rows.lowerBound
        let result = try walk.rows(first..<(first + part.count), source: source)
        for line in 0..<part.count {
            let start = (part.lowerBound - rows.lowerBound + line) * recipe.columns + region.columns.lowerBound
            body(start, result[(line * width)..<((line + 1) * width)])
        }
    }
}
