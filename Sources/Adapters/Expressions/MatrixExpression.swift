/// What a method computes, as a value: a matrix of float64 numbers built from adapter tensors and the base's own
/// elements by a closed set of operations.
///
/// A method states its update as an expression and is done: the merge evaluates it in the order that each case defines
/// here, verification evaluates it by OpenBLAS with a bound for every element, and both take row panels wherever the
/// expression allows that (``ExpressionWalk``). The result is rounded once, to the output's dtype.
///
/// Every operation on two numbers is one float64 operation with one rounding unless said otherwise.
public indirect enum MatrixExpression: Sendable, Hashable {
    /// An adapter tensor read as a matrix, exactly.
    case stored(Factor)
    /// The base's own elements, in the orientation in which the method states its update.
    case base(BaseRectangle)
    /// Numbers that the formula brings along.
    case constant(ConstantMatrix)
    /// `Σ_k left[i, k]·right[k, j]`: k ascending from 0, fused multiply-add starting from +0.
    case product(MatrixExpression, MatrixExpression)
    /// `count` products: both operands hold `count` matrices below each other, and so does the result.
    case batched(MatrixExpression, MatrixExpression, count: Int)
    /// `left · blockdiag(right₀, right₁, …)`: the columns of `left` in `count` equal blocks, each times its own matrix
    /// of `right`, in which the matrices lie below each other.
    case blockwise(MatrixExpression, MatrixExpression, count: Int)
    /// Element by element. An operand with one row or one column is repeated to the size of the other.
    case elementwise(ElementOperation, MatrixExpression, MatrixExpression)
    /// A function of each element.
    case function(ElementFunction, MatrixExpression)
    /// Every element times a number.
    case scaled(MatrixExpression, Double)
    /// The Kronecker product: element (i·p + k, j·q + l) is `left[i, j]·right[k, l]`, `right` being p × q.
    case kronecker(MatrixExpression, MatrixExpression)
    /// Rows and columns exchanged.
    case transposed(MatrixExpression)
    /// Some rows and columns, in the order given; nil means all.
    case selected(MatrixExpression, rows: Selection?, columns: Selection?)
    /// The same numbers in another order: read row by row as an array of shape `shape`, its axes permuted (axis i of the
    /// result is axis `axes[i]`), and cut into rows of `columns`.
    case rearranged(MatrixExpression, shape: [Int], axes: [Int], columns: Int)
    /// Matrices of the same width below each other.
    case stacked([MatrixExpression])
    /// The Euclidean norm of each row, as a column: squares summed by fused multiply-add from +0 in column order, then
    /// one root.
    case rowNorms(MatrixExpression)
    /// X with `left·X = right`, for each of `count` square matrices that lie below each other in `left`, with as many
    /// right sides in `right`. Gaussian elimination: columns ascending, the pivot the first element of the largest
    /// magnitude, multipliers by one division; then back substitution from the last row, the sum over the columns to the
    /// right ascending by fused multiply-add, one subtraction, one division.
    case solved(MatrixExpression, MatrixExpression, count: Int)
    /// Q of the decomposition Q·R of a matrix of full rank with at least as many rows as columns, by Householder's
    /// reflections with LAPACK's signs (`dgeqr2`, `dorg2r`). For column k = 0, 1, …, with x the rows from k on: β is −‖x‖
    /// with the sign of x₀ (‖x‖ of squares summed by fused multiply-add from +0), v = x / (x₀ − β) but for v₀ = 1,
    /// τ = (β − x₀) / β; a column that is zero below x₀ has τ = 0. A later column y becomes y − (τ·(v·y))·v, by fused
    /// multiply-adds. Then the identity's columns are multiplied by the reflections in the same way, last to first.
    case orthonormal(MatrixExpression)
    /// A matrix of zeros in which value i, counted row by row, is added at `positions[i] = row·columns + column`, in
    /// order, starting from +0.
    case scattered(MatrixExpression, positions: IndexTable, rows: Int, columns: Int)
}

/// An operation on two elements.
public enum ElementOperation: Sendable, Hashable {
    /// +, −, · and / of two float64 numbers, rounded once.
    case sum, difference, product, quotient
}

/// A function of one element.
public enum ElementFunction: Sendable, Hashable {
    /// The larger of the element and a number; NaN stays NaN.
    case atLeast(Double)
    /// The smaller of the element and a number; NaN stays NaN.
    case atMost(Double)
    /// max(x, 0); NaN stays NaN.
    case relu
    /// 1 / x above a limit, 0 up to it; NaN stays NaN.
    case reciprocal(above: Double)
    /// The sine and cosine of an angle of at most 2²⁰, by the house's own functions.
    case sine, cosine
    /// A function between layers, in the order of evaluation that ``PromptActivation`` states.
    case activation(PromptActivation)
    /// eˣ (`Elementary.exp`: within 0.625 units of the last place, the same on every processor).
    case exponential
}

/// A rectangle of the matrix that a recipe reads, or of its transpose: `rows` and `columns` are those of the matrix as
/// it lies there, and `transposed` says that the expression sees them exchanged.
public struct BaseRectangle: Sendable, Hashable {
    /// The rows taken, from 0.
    public var rows: Range<Int>
    /// The columns taken, from 0.
    public var columns: Range<Int>
    /// Whether the expression sees rows and columns exchanged.
    public var transposed: Bool

    /// The part of the matrix where these rows and columns meet; unless `transposed`, the expression sees it as it lies there.
    public init(rows: Range<Int>, columns: Range<Int>, transposed: Bool = false) {
        self.rows = rows
        self.columns = columns
        self.transposed = transposed
    }
}

/// Numbers that are in no file.
public enum ConstantMatrix: Sendable, Hashable {
    /// The identity matrix of that many rows.
    case identity(Int)
    /// One number everywhere.
    case filled(Double, rows: Int, columns: Int)
    /// Numbers that the formula derives exactly: a random projection that was left out of the file, a table.
    case table(NumberTable, rows: Int, columns: Int)
    /// Element (i, j) is `period[r_i·c_j mod n]`, n being the length of `period`, r_i the number `rows` and c_j the one
    /// that `columns` picks: samples of waves, of which a table would be large.
    case waves(period: NumberTable, rows: Selection, columns: Selection)
}

/// Which rows or columns are taken.
public enum Selection: Sendable, Hashable {
    /// Neighbours, from 0.
    case range(Range<Int>)
    /// Any, in any order, from 0.
    case indices(IndexTable)

    var count: Int {
        switch self {
        case .range(let range): range.count
        case .indices(let table): table.values.count
        }
    }

    func index(_ position: Int) -> Int {
        switch self {
        case .range(let range): range.lowerBound + position
        case .indices(let table): table.values[position]
        }
    }
}

/// A list that may be long: it is shared and not copied, and its hash is taken once.
public final class SharedList<Element: Hashable & Sendable>: Sendable, Hashable {
    /// The elements.
    public let values: [Element]
    private let hash: Int

    /// Keeps the elements and takes their hash, in time that grows with their number.
    public init(_ values: [Element]) {
        self.values = values
        hash = values.hashValue
    }

    public static func == (left: SharedList, right: SharedList) -> Bool {
        left === right || left.hash == right.hash && left.values == right.values
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

/// A long list of positions.
public typealias IndexTable = SharedList<Int>
/// A long list of numbers.
public typealias NumberTable = SharedList<Double>

extension MatrixExpression {
    /// The rows of the value.
    public var rows: Int { size.rows }
    /// The columns of the value.
    public var columns: Int { size.columns }

    /// Rows and columns of the result.
    public var size: (rows: Int, columns: Int) {
        switch self {
        case .stored(let factor): (factor.rows, factor.columns)
        case .base(let rectangle):
            rectangle.transposed
                ? (rectangle.columns.count, rectangle.rows.count) : (rectangle.rows.count, rectangle.columns.count)
        case .constant(.identity(let size)): (size, size)
        case .constant(.filled(_, let rows, let columns)), .constant(.table(_, let rows, let columns)): (rows, columns)
        case .constant(.waves(_, let rows, let columns)): (rows.count, columns.count)
        case .product(let left, let right): (left.rows, right.columns)
        case .batched(let left, let right, _): (left.rows, right.columns)
        case .blockwise(let left, let right, let count): (left.rows, right.columns * count)
        case .elementwise(_, let left, let right): (max(left.rows, right.rows), max(left.columns, right.columns))
        case .function(_, let inner), .scaled(let inner, _): inner.size
        case .kronecker(let left, let right): (left.rows * right.rows, left.columns * right.columns)
        case .transposed(let inner): (inner.columns, inner.rows)
        case .selected(let inner, let rows, let columns): (rows?.count ?? inner.rows, columns?.count ?? inner.columns)
        case .rearranged(_, let shape, _, let columns): (columns == 0 ? 0 : shape.reduce(1, *) / columns, columns)
        case .stacked(let parts): (parts.reduce(0) { $0 + $1.rows }, parts.first?.columns ?? 0)
        case .rowNorms(let inner): (inner.rows, 1)
        case .orthonormal(let inner): inner.size
        case .solved(let left, let right, _): (left.rows, right.columns)
        case .scattered(_, _, let rows, let columns): (rows, columns)
        }
    }

    /// The operands.
    var operands: [MatrixExpression] {
        switch self {
        case .stored, .base, .constant: []
        case .product(let left, let right), .batched(let left, let right, _), .blockwise(let left, let right, _),
            .elementwise(_, let left, let right), .kronecker(let left, let right), .solved(let left, let right, _):
            [left, right]
        case .function(_, let inner), .scaled(let inner, _), .transposed(let inner), .selected(let inner, _, _),
            .rearranged(let inner, _, _, _), .rowNorms(let inner), .orthonormal(let inner),
            .scattered(let inner, _, _, _):
            [inner]
        case .stacked(let parts): parts
        }
    }

    /// How many multiplications the products and systems in it take, elements one by one left out.
    public var multiplications: Double {
        var result = operands.reduce(0.0) { $0 + $1.multiplications }
        switch self {
        case .product(let left, let right), .batched(let left, let right, _), .blockwise(let left, let right, _):
            result += left.elements * Double(right.columns)
        case .solved(let left, let right, _):
            // n³/3 for the elimination and n² for each right side.
            result += left.elements * (Double(left.columns) / 3 + Double(right.columns))
        default: break
        }
        return result
    }

    private var elements: Double { Double(rows) * Double(columns) }

    /// The adapter tensors that the expression reads.
    public var factors: [Factor] {
        if case .stored(let factor) = self { return [factor] }
        return operands.flatMap(\.factors)
    }

    /// Whether the base's own elements enter.
    public var readsBase: Bool {
        if case .base = self { return true }
        return operands.contains(where: \.readsBase)
    }
}
