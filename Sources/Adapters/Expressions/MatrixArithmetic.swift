import Tensors

/// The arithmetic that an expression is evaluated in: float64 in the defined order, or with bounds.
///
/// ``ExpressionWalk`` moves numbers, which is exact, and calls this for everything that rounds. Matrices are row-major;
/// their sizes are told with every call.
public protocol MatrixArithmetic: Sendable {
    /// Numbers, or numbers with their bounds, row-major.
    associatedtype Matrix: Sendable

    /// Stored numbers, which are exact.
    func exact(_ values: [Double]) -> Matrix
    /// `count` elements, the i-th a copy of element `index(i)`.
    func gathered(_ matrix: Matrix, count: Int, _ index: (Int) -> Int) -> Matrix
    /// Matrices one after the other.
    func joined(_ parts: [Matrix]) -> Matrix
    /// `left` (rows × depth) times `right` (depth × columns).
    ///
    /// - Throws: what the linear algebra of a conforming type throws.
    func product(_ left: Matrix, _ right: Matrix, rows: Int, columns: Int, depth: Int) throws -> Matrix
    /// Element by element, with operands that may be repeated along rows or columns.
    func elementwise(
        _ operation: ElementOperation, _ left: Spread<Matrix>, _ right: Spread<Matrix>, rows: Int, columns: Int
    ) -> Matrix
    /// The function of every element.
    func applied(_ function: ElementFunction, to matrix: Matrix) -> Matrix
    /// Every element times a number.
    func scaled(_ matrix: Matrix, by scale: Double) -> Matrix
    /// The Euclidean norm of each row, as `rows` elements.
    func rowNorms(_ matrix: Matrix, rows: Int, columns: Int) -> Matrix
    /// X with left·X = right, `left` being `size` × `size`.
    ///
    /// - Throws: where `left` is singular, or what the linear algebra of a conforming type throws.
    func solved(_ left: Matrix, _ right: Matrix, size: Int, columns: Int) throws -> Matrix
    /// Q of Q·R, `rows` ≥ `columns`.
    ///
    /// - Throws: what the linear algebra of a conforming type throws.
    func orthonormal(_ matrix: Matrix, rows: Int, columns: Int) throws -> Matrix
    /// `count` zeros, to which value i is added at `places[i].target`, in order; `places[i].value` is its index.
    func scattered(_ values: Matrix, places: [(value: Int, target: Int)], count: Int) -> Matrix
}

/// A matrix whose rows or columns may stand for many: the strides are 0 where it is repeated.
public struct Spread<Matrix: Sendable>: Sendable {
    /// The stored elements.
    public let matrix: Matrix
    /// Elements from one row to the next; 0 where one row stands for all.
    public let rowStride: Int
    /// Elements from one column to the next; 0 where one column stands for all.
    public let columnStride: Int

    /// A reading of stored elements: element (i, j) is `matrix[i·rowStride + j·columnStride]`.
    public init(matrix: Matrix, rowStride: Int, columnStride: Int) {
        self.matrix = matrix
        self.rowStride = rowStride
        self.columnStride = columnStride
    }
}

extension ElementOperation {
    /// The operation on two numbers, rounded once to float64.
    @inlinable public func callAsFunction(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .sum: left + right
        case .difference: left - right
        case .product: left * right
        case .quotient: left / right
        }
    }
}

extension ElementFunction {
    /// The function of a number, in float64.
    public func callAsFunction(_ x: Double) -> Double {
        switch self {
        case .atLeast(let limit): x < limit ? limit : x
        case .atMost(let limit): x > limit ? limit : x
        case .relu: x < 0 ? 0 : x
        case .reciprocal(let limit): x <= limit ? 0 : 1 / x
        case .sine: Elementary.sine(x)
        case .cosine: Elementary.cosine(x)
        case .activation(let activation): activation.apply(x)
        case .exponential: Elementary.exp(x)
        }
    }
}
