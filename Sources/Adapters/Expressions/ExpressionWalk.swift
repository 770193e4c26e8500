import ByteAccess
import Tensors

/// Evaluates an expression by rows, in any arithmetic.
///
/// What every row needs whole (right sides of products, operands of a Kronecker product, matrices that are read across
/// their rows) is computed once, when the walk is made, and kept; the rest is computed for the rows that are asked for.
/// The rows come out the same for every cut, since no operation sums across rows that it was not given whole.
public struct ExpressionWalk<Arithmetic: MatrixArithmetic>: Sendable {
    /// Rows of the matrix that the recipe reads, widened, with replaced rows in place. Throws what reading them throws.
    public typealias Source = (Range<Int>) throws -> [Double]

    /// What is evaluated.
    public let expression: MatrixExpression
    private let arithmetic: Arithmetic
    private let numbers: any FactorSource
    private let sourceColumns: Int
    private var known: [MatrixExpression: Arithmetic.Matrix] = [:]

    /// - Parameters:
    ///   - sourceColumns: the length of a row of the matrix that the recipe reads.
    ///   - source: reads that matrix; only expressions that need it whole read it here.
    /// - Throws: what `source`, `numbers` and `arithmetic` throw for the parts that are computed here; `.malformed` with rule
    ///   `FactorShape` where a stored factor does not fit its tensors.
    public init(
        _ expression: MatrixExpression, arithmetic: Arithmetic, numbers: any FactorSource, sourceColumns: Int,
        source: Source
    ) throws {
        self.expression = expression
        self.arithmetic = arithmetic
        self.numbers = numbers
        self.sourceColumns = sourceColumns
        try prepare(expression, source)
    }

    /// Some rows of the result.
    ///
    /// - Throws: what `source`, the numbers' source and the arithmetic throw; `.malformed` with rule `FactorShape` where a stored
    ///   factor does not fit its tensors.
    public func rows(_ range: Range<Int>, source: Source) throws -> Arithmetic.Matrix {
        try rows(expression, range, source)
    }

    // MARK: What is kept

    private mutating func prepare(_ expression: MatrixExpression, _ source: Source) throws {
        if known[expression] != nil { return }
        for operand in expression.operands { try prepare(operand, source) }
        for operand in expression.wholeOperands where known[operand] == nil {
            known[operand] = try rows(operand, 0..<operand.rows, source)
        }
        if expression.isWhole { known[expression] = try whole(expression, source) }
    }

    private func kept(_ expression: MatrixExpression) throws -> Arithmetic.Matrix {
        guard let matrix = known[expression] else {
            throw PeftfileError(.malformed, "an operand was not prepared", rule: "Expression")
        }
        return matrix
    }

    /// Nodes that are only ever computed at once.
    private func whole(_ expression: MatrixExpression, _ source: Source) throws -> Arithmetic.Matrix {
        switch expression {
        case .base(let rectangle):
            let (width, height) = (rectangle.rows.count, rectangle.columns.count)
            let values = try source(rectangle.rows)
            let (columns, first) = (sourceColumns, rectangle.columns.lowerBound)
            var turned = [Double](repeating: 0, count: width * height)
            for row in 0..<width {
                for column in 0..<height { turned[column * width + row] = values[row * columns + first + column] }
            }
            return arithmetic.exact(turned)
        case .batched(let left, let right, let count):
            let (a, b) = try (kept(left), kept(right))
            let (m, k, n) = (left.rows / count, left.columns, right.columns)
            return arithmetic.joined(
                try (0..<count).map { block in
                    try arithmetic.product(
                        part(a, (block * m * k)..<((block + 1) * m * k)), part(b, (block * k * n)..<((block + 1) * k * n)),
                        rows: m, columns: n, depth: k)
                })
        case .solved(let left, let right, let count):
            let (a, b) = try (kept(left), kept(right))
            let (size, columns) = (left.columns, right.columns)
            return arithmetic.joined(
                try (0..<count).map { block in
                    try arithmetic.solved(
                        part(a, (block * size * size)..<((block + 1) * size * size)),
                        part(b, (block * size * columns)..<((block + 1) * size * columns)), size: size, columns: columns)
                })
        case .orthonormal(let inner):
            return try arithmetic.orthonormal(kept(inner), rows: inner.rows, columns: inner.columns)
        default: return try rows(expression, 0..<expression.rows, source)
        }
    }

    private func part(_ matrix: Arithmetic.Matrix, _ range: Range<Int>) -> Arithmetic.Matrix {
        arithmetic.gathered(matrix, count: range.count) { range.lowerBound + $0 }
    }

    // MARK: Rows

    private func rows(
        _ expression: MatrixExpression, _ range: Range<Int>, _ source: Source
    ) throws -> Arithmetic.Matrix {
        let width = expression.columns
        if let matrix = known[expression] {
            if range == 0..<expression.rows { return matrix }
            return part(matrix, (range.lowerBound * width)..<(range.upperBound * width))
        }
        switch expression {
        case .stored(let factor): return arithmetic.exact(try factor.rows(range).matrix(from: numbers))
        case .base(let rectangle):
            let values = try source(rectangle.rows.part(range))
            if rectangle.columns == 0..<sourceColumns { return arithmetic.exact(values) }
            let first = rectangle.columns.lowerBound
            return arithmetic.exact(
                (0..<range.count).flatMap { row in
                    values[(row * sourceColumns + first)..<(row * sourceColumns + first + width)]
                })
        case .constant(let constant): return arithmetic.exact(constant.elements(rows: range))
        case .product(let left, let right):
            return try arithmetic.product(
                rows(left, range, source), kept(right), rows: range.count, columns: width, depth: left.columns)
        case .blockwise(let left, let right, let count):
            return try blockwise(rows(left, range, source), left.columns, right, count, rows: range.count)
        case .elementwise(let operation, let left, let right):
            return arithmetic.elementwise(
                operation, try spread(left, over: expression, range, source),
                try spread(right, over: expression, range, source), rows: range.count, columns: width)
        case .function(let function, let inner): return arithmetic.applied(function, to: try rows(inner, range, source))
        case .scaled(let inner, let scale): return arithmetic.scaled(try rows(inner, range, source), by: scale)
        case .kronecker(let left, let right): return try kronecker(left, right, range)
        case .transposed(let inner):
            let height = inner.columns
            return arithmetic.gathered(try kept(inner), count: range.count * width) { index in
                (index % width) * height + range.lowerBound + index / width
            }
        case .selected(let inner, let rows, let columns):
            return try selected(inner, rows, columns, range, source)
        case .rearranged(let inner, let shape, let axes, _):
            let order = AxisOrder(shape: shape, axes: axes)
            return arithmetic.gathered(try kept(inner), count: range.count * width) { index in
                order.source(of: range.lowerBound * width + index)
            }
        case .stacked(let parts):
            var found: [Arithmetic.Matrix] = []
            var first = 0
            for operand in parts {
                let own = range.clamped(to: first..<(first + operand.rows))
                if !own.isEmpty {
                    found.append(try rows(operand, (own.lowerBound - first)..<(own.upperBound - first), source))
                }
                first += operand.rows
            }
            return arithmetic.joined(found)
        case .rowNorms(let inner):
            return arithmetic.rowNorms(try rows(inner, range, source), rows: range.count, columns: inner.columns)
        case .scattered(let values, let positions, _, _):
            let wanted = (range.lowerBound * width)..<(range.upperBound * width)
            var places: [(value: Int, target: Int)] = []
            for (index, position) in positions.values.enumerated() where wanted.contains(position) {
                places.append((index, position - wanted.lowerBound))
            }
            return arithmetic.scattered(try kept(values), places: places, count: wanted.count)
        case .batched, .solved, .orthonormal: return try kept(expression)
        }
    }

    private func spread(
        _ operand: MatrixExpression, over result: MatrixExpression, _ range: Range<Int>, _ source: Source
    ) throws -> Spread<Arithmetic.Matrix> {
        let isRepeated = operand.rows == 1 && result.rows > 1
        return Spread(
            matrix: try rows(operand, isRepeated ? 0..<1 : range, source), rowStride: isRepeated ? 0 : operand.columns,
            columnStride: operand.columns == 1 ? 0 : 1)
    }

    private func blockwise(
        _ left: Arithmetic.Matrix, _ leftColumns: Int, _ right: MatrixExpression, _ count: Int, rows: Int
    ) throws -> Arithmetic.Matrix {
        let blocks = try kept(right)
        let (depth, width) = (leftColumns / count, right.columns)
        let parts = try (0..<count).map { block in
            try arithmetic.product(
                arithmetic.gathered(left, count: rows * depth) { index in
                    index / depth * leftColumns + block * depth + index % depth
                }, part(blocks, (block * depth * width)..<((block + 1) * depth * width)), rows: rows, columns: width,
                depth: depth)
        }
        return arithmetic.gathered(arithmetic.joined(parts), count: rows * width * count) { index in
            let (row, column) = (index / (width * count), index % (width * count))
            return (column / width * rows + row) * width + column % width
        }
    }

    private func kronecker(
        _ left: MatrixExpression, _ right: MatrixExpression, _ range: Range<Int>
    ) throws -> Arithmetic.Matrix {
        let (p, q, n) = (right.rows, right.columns, left.columns)
        let (a, b, width) = try (kept(left), kept(right), left.columns * right.columns)
        let first = range.lowerBound * width
        let count = range.count * width
        func spread(_ matrix: Arithmetic.Matrix) -> Spread<Arithmetic.Matrix> {
            Spread(matrix: matrix, rowStride: width, columnStride: 1)
        }
        return arithmetic.elementwise(
            .product,
            spread(arithmetic.gathered(a, count: count) { ($0 + first) / width / p * n + ($0 + first) % width / q }),
            spread(arithmetic.gathered(b, count: count) { ($0 + first) / width % p * q + ($0 + first) % width % q }),
            rows: range.count, columns: width)
    }

    private func selected(
        _ inner: MatrixExpression, _ rows: Selection?, _ columns: Selection?, _ range: Range<Int>, _ source: Source
    ) throws -> Arithmetic.Matrix {
        let taken: Arithmetic.Matrix
        switch rows {
        case nil: taken = try self.rows(inner, range, source)
        case .range(let part): taken = try self.rows(inner, part.part(range), source)
        case .indices(let table):
            let (width, all) = (inner.columns, try kept(inner))
            taken = arithmetic.gathered(all, count: range.count * width) { index in
                table.values[range.lowerBound + index / width] * width + index % width
            }
        }
        guard let columns else { return taken }
        let (width, count) = (inner.columns, columns.count)
        return arithmetic.gathered(taken, count: range.count * count) { index in
            index / count * width + columns.index(index % count)
        }
    }
}

/// Where an element of a permuted array comes from.
private struct AxisOrder {
    private let sizes: [Int]
    private let strides: [Int]

    init(shape: [Int], axes: [Int]) {
        var source = [Int](repeating: 1, count: shape.count)
        for axis in stride(from: shape.count - 2, through: 0, by: -1) { source[axis] = source[axis + 1] * shape[axis + 1] }
        sizes = axes.map { shape[$0] }
        strides = axes.map { source[$0] }
    }

    func source(of index: Int) -> Int {
        var (rest, result) = (index, 0)
        for axis in stride(from: sizes.count - 1, through: 0, by: -1) {
            result += rest % sizes[axis] * strides[axis]
            rest /= sizes[axis]
        }
        return result
    }
}

extension ConstantMatrix {
    private func waves(_ period: [Double], _ rows: [Int], _ columns: [Int]) -> [Double] {
        [Double](unsafeUninitializedCapacity: rows.count * columns.count) { buffer, count in
            for (i, row) in rows.enumerated() {
                for (j, column) in columns.enumerated() {
                    buffer[i * columns.count + j] = period[row * column % period.count]
                }
            }
            count = rows.count * columns.count
        }
    }

    func elements(rows range: Range<Int>) -> [Double] {
        switch self {
        case .identity(let size): range.flatMap { row in (0..<size).map { $0 == row ? 1 : 0 } }
        case .filled(let value, _, let columns): [Double](repeating: value, count: range.count * columns)
        case .table(let table, _, let columns):
            Array(table.values[(range.lowerBound * columns)..<(range.upperBound * columns)])
        case .waves(let period, let rows, let columns):
            waves(period.values, range.map { rows.index($0) }, (0..<columns.count).map { columns.index($0) })
        }
    }
}

extension MatrixExpression {
    /// Operands of which every row of the result may need all.
    var wholeOperands: [MatrixExpression] {
        switch self {
        case .product(_, let right), .blockwise(_, let right, _): [right]
        case .batched(let left, let right, _), .kronecker(let left, let right), .solved(let left, let right, _):
            [left, right]
        case .elementwise(_, let left, let right): [left, right].filter { $0.rows == 1 && rows > 1 }
        case .transposed(let inner), .rearranged(let inner, _, _, _), .scattered(let inner, _, _, _),
            .orthonormal(let inner), .selected(let inner, .indices, _):
            [inner]
        default: []
        }
    }

    /// Whether the node is computed at once, whoever asks for rows of it.
    var isWhole: Bool {
        switch self {
        case .base(let rectangle): rectangle.transposed
        case .batched, .solved, .orthonormal: true
        default: false
        }
    }

    /// Float64 numbers that are held at once while rows are computed, at most: those that are kept whole with what they are
    /// made of, and for each of `workers` panels of `panelRows` the operands on the way to a row.
    public func heldNumbers(panelRows: Int, workers: Int) -> Int {
        var whole: Set<MatrixExpression> = []
        var passing = 0
        func visit(_ node: MatrixExpression, isWhole: Bool) {
            let isWhole = isWhole || node.isWhole
            if isWhole {
                guard whole.insert(node).inserted else { return }
            } else {
                passing += node.columns * min(panelRows, node.rows) * max(1, workers)
            }
            let kept = node.wholeOperands
            for operand in node.operands { visit(operand, isWhole: isWhole || kept.contains(operand)) }
        }
        visit(self, isWhole: false)
        return whole.reduce(passing) { $0 + $1.rows * $1.columns }
    }
}
