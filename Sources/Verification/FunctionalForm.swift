import Adapters
import LinearAlgebra

/// An expression as a map: E·x without the matrix E, for the probes.
///
/// Products, sums, Kronecker and block-diagonal products and scalings by row or column act on the vectors one after the
/// other, as the unmerged layer does. What is no such map of its operands, an element-by-element product of two matrices or a
/// function of each element, is evaluated by rows and multiplied; that is what the unmerged layer does with it as well.
///
/// ## The bound
///
/// Every number here is a sum of products of stored numbers. With `sizes` the same sums over magnitudes and L the
/// number of roundings on the longest way to an element, a value is off by at most γ(L)·size (Higham, section 3.1). Parts
/// that are evaluated bring bounds of their own, which pass through as `errors`.
struct FunctionalForm: Sendable {
    /// columns × vectors, or rows × vectors; with bounds as above.
    struct Vectors: Sendable {
        var values: [Double]
        var sizes: [Double]
        var errors: [Double]

        init(values: [Double], sizes: [Double], errors: [Double]) {
            self.values = values
            self.sizes = sizes
            self.errors = errors
        }

        /// Vectors that are exact.
        init(exact values: [Double]) {
            self.values = values
            sizes = values.map(abs)
            errors = [Double](repeating: 0, count: values.count)
        }
    }

    let vectors: Int
    let numbers: any FactorSource
    /// The source's rows, as expressions read them, and the length of one.
    let source: @Sendable (Range<Int>) throws -> [Double]
    let sourceColumns: Int

    /// E·x.
    func apply(_ expression: MatrixExpression, to x: Vectors) throws -> Vectors {
        switch expression {
        case .product(let left, let right): return try apply(left, to: apply(right, to: x))
        case .scaled(let inner, let scale): return scaled(try apply(inner, to: x)) { _ in scale }
        case .elementwise(let operation, let left, let right):
            return try elementwise(operation, left, right, of: expression, to: x) ?? evaluated(expression, to: x)
        case .stacked(let parts):
            let results = try parts.map { try apply($0, to: x) }
            return Vectors(
                values: results.flatMap(\.values), sizes: results.flatMap(\.sizes), errors: results.flatMap(\.errors))
        case .blockwise(let left, let right, let count): return try apply(left, to: blockwise(right, count, to: x))
        case .kronecker(let left, let right): return try kronecker(left, right, to: x)
        case .selected(let inner, .some(let rows), nil):
            let whole = try apply(inner, to: x)
            return gathered(whole, (0..<expression.rows).map { index($0, of: rows) })
        default: return try evaluated(expression, to: x)
        }
    }

    /// Roundings on the longest way through the expression.
    static func length(_ expression: MatrixExpression) -> Int {
        switch expression {
        case .product(let left, let right): length(left) + length(right)
        case .scaled(let inner, _): length(inner) + 1
        case .elementwise(_, let left, let right): max(length(left), length(right)) + expression.columns + 2
        case .stacked(let parts): parts.map(length).max() ?? 0
        case .blockwise(let left, let right, _): length(left) + right.rows + 2
        case .kronecker(let left, let right): left.columns + right.columns + 4
        case .selected(let inner, .some, nil): length(inner)
        default: expression.columns + 2
        }
    }

    // MARK: Maps

    /// a + b, a − b, and products and quotients with a column or row; nil where the operation is no map of its operands.
    private func elementwise(
        _ operation: ElementOperation, _ left: MatrixExpression, _ right: MatrixExpression, of expression: MatrixExpression,
        to x: Vectors
    ) throws -> Vectors? {
        let size = expression.size
        switch operation {
        case .sum, .difference:
            guard left.size == size, right.size == size else { return nil }
            let (a, b) = try (apply(left, to: x), apply(right, to: x))
            let sign: Double = operation == .sum ? 1 : -1
            return Vectors(
                values: zip(a.values, b.values).map { $0 + sign * $1 }, sizes: zip(a.sizes, b.sizes).map { $0 + $1 },
                errors: zip(a.errors, b.errors).map { $0 + $1 })
        case .product, .quotient:
            if left.size == size, right.size == (size.rows, 1), right.isStored, size.columns > 1 {
                let factors = try numbers(of: right, operation)
                return scaled(try apply(left, to: x)) { factors[$0 / vectors] }
            }
            if left.size == size, right.size == (1, size.columns), right.isStored, size.rows > 1 {
                let factors = try numbers(of: right, operation)
                return try apply(left, to: scaled(x) { factors[$0 / vectors] })
            }
            return nil
        }
    }

    /// The elements of a stored row or column, or their reciprocals.
    private func numbers(of expression: MatrixExpression, _ operation: ElementOperation) throws -> [Double] {
        let values = try matrix(expression).values
        return operation == .product ? values : values.map { 1 / $0 }
    }

    private func scaled(_ x: Vectors, by factor: (Int) -> Double) -> Vectors {
        var result = x
        for index in x.values.indices {
            let factor = factor(index)
            result.values[index] *= factor
            result.sizes[index] *= abs(factor)
            result.errors[index] *= abs(factor)
        }
        return result
    }

    private func gathered(_ x: Vectors, _ rows: [Int]) -> Vectors {
        func gathered(_ values: [Double]) -> [Double] {
            rows.flatMap { values[($0 * vectors)..<(($0 + 1) * vectors)] }
        }
        return Vectors(values: gathered(x.values), sizes: gathered(x.sizes), errors: gathered(x.errors))
    }

    private func index(_ position: Int, of selection: Selection) -> Int {
        switch selection {
        case .range(let range): range.lowerBound + position
        case .indices(let table): table.values[position]
        }
    }

    private func blockwise(_ right: MatrixExpression, _ count: Int, to x: Vectors) throws -> Vectors {
        let blocks = try matrix(right)
        let (depth, width) = (right.rows / count, right.columns)
        var parts: [Vectors] = []
        for block in 0..<count {
            let own = (block * depth * width)..<((block + 1) * depth * width)
            parts.append(
                try multiply(
                    .init(values: Array(blocks.values[own]), errors: blocks.isExact ? [] : Array(blocks.errors[own])),
                    rows: depth, columns: width, gathered(x, Array((block * width)..<((block + 1) * width)))))
        }
        return Vectors(values: parts.flatMap(\.values), sizes: parts.flatMap(\.sizes), errors: parts.flatMap(\.errors))
    }

    /// (A ⊗ B)·x: A applied to what B makes of each part of x.
    private func kronecker(_ left: MatrixExpression, _ right: MatrixExpression, to x: Vectors) throws -> Vectors {
        let (a, b) = try (matrix(left), matrix(right))
        let parts = try (0..<left.columns).map { part in
            try multiply(
                b, rows: right.rows, columns: right.columns,
                gathered(x, Array((part * right.columns)..<((part + 1) * right.columns))))
        }
        // Row j of the inner product, for each row of B: a vector over A's columns.
        let inner = (0..<right.rows).map { row -> Vectors in
            let lines = parts.map { gathered($0, [row]) }
            return Vectors(
                values: lines.flatMap(\.values), sizes: lines.flatMap(\.sizes), errors: lines.flatMap(\.errors))
        }
        let outer = try inner.map { try multiply(a, rows: left.rows, columns: left.columns, $0) }
        let lines = (0..<left.rows).flatMap { i in outer.map { gathered($0, [i]) } }
        return Vectors(values: lines.flatMap(\.values), sizes: lines.flatMap(\.sizes), errors: lines.flatMap(\.errors))
    }

    // MARK: Matrices

    private func matrix(_ expression: MatrixExpression) throws -> BoundedArithmetic.Matrix {
        let walk = try ExpressionWalk(
            expression, arithmetic: BoundedArithmetic(), numbers: numbers, sourceColumns: sourceColumns, source: source)
        return try walk.rows(0..<expression.rows, source: source)
    }

    /// Evaluates by panels of rows, and multiplies.
    private func evaluated(_ expression: MatrixExpression, to x: Vectors) throws -> Vectors {
        let walk = try ExpressionWalk(
            expression, arithmetic: BoundedArithmetic(), numbers: numbers, sourceColumns: sourceColumns, source: source)
        let step = max(1, (1 << 20) / max(1, expression.columns))
        var result = Vectors(values: [], sizes: [], errors: [])
        for first in stride(from: 0, to: expression.rows, by: step) {
            let rows = first..<min(first + step, expression.rows)
            let part = try multiply(
                try walk.rows(rows, source: source), rows: rows.count, columns: expression.columns, x)
            result.values += part.values
            result.sizes += part.sizes
            result.errors += part.errors
        }
        return result
    }

    private func multiply(_ matrix: BoundedArithmetic.Matrix, rows: Int, columns: Int, _ x: Vectors) throws -> Vectors {
        func product(_ left: [Double], _ right: [Double]) throws -> [Double] {
            try BLAS.product(left, right, rows: rows, columns: vectors, depth: columns)
        }
        let sizes = matrix.values.map(abs)
        var errors = try product(sizes, x.errors)
        if !matrix.isExact {
            let reach = zip(x.values, x.errors).map { abs($0) + $1 }
            for (index, part) in try product(matrix.errors, reach).enumerated() { errors[index] += part }
        }
        return Vectors(values: try product(matrix.values, x.values), sizes: try product(sizes, x.sizes), errors: errors)
    }
}

extension MatrixExpression {
    /// Whether the elements are stored numbers, or a few of them in another place.
    fileprivate var isStored: Bool {
        switch self {
        case .stored, .constant: true
        case .selected(let inner, _, _), .transposed(let inner), .rearranged(let inner, _, _, _): inner.isStored
        default: false
        }
    }
}
