import ByteAccess
import Tensors

/// The vocabulary in which a method states its formula.
///
/// Sizes are checked when the whole is placed on a weight (`requireFit`): until then an expression may be of parts that do not
/// fit each other.
extension MatrixExpression {
    static func × (left: MatrixExpression, right: MatrixExpression) -> MatrixExpression { .product(left, right) }
    static func + (left: MatrixExpression, right: MatrixExpression) -> MatrixExpression { .elementwise(.sum, left, right) }
    static func - (left: MatrixExpression, right: MatrixExpression) -> MatrixExpression {
        .elementwise(.difference, left, right)
    }
    /// The Hadamard product.
    static func * (left: MatrixExpression, right: MatrixExpression) -> MatrixExpression {
        .elementwise(.product, left, right)
    }
    static func / (left: MatrixExpression, right: MatrixExpression) -> MatrixExpression {
        .elementwise(.quotient, left, right)
    }
    static func * (scale: Double, inner: MatrixExpression) -> MatrixExpression { .scaled(inner, scale) }

    /// The whole base matrix, as the method sees it.
    static func base(rows: Int, columns: Int) -> MatrixExpression {
        .base(BaseRectangle(rows: 0..<rows, columns: 0..<columns))
    }

    static func identity(_ size: Int) -> MatrixExpression { .constant(.identity(size)) }

    static func filled(_ value: Double, rows: Int, columns: Int) -> MatrixExpression {
        .constant(.filled(value, rows: rows, columns: columns))
    }

    /// The same numbers, row by row, in rows of another length.
    func reshaped(columns: Int) -> MatrixExpression {
        columns == self.columns ? self : .rearranged(self, shape: [rows * self.columns], axes: [0], columns: columns)
    }

    /// The numbers read as an array of a shape, with its axes permuted and cut into rows.
    func rearranged(_ shape: [Int], axes: [Int], columns: Int) -> MatrixExpression {
        .rearranged(self, shape: shape, axes: axes, columns: columns)
    }

    /// The rows at these places; an index may stand several times.
    func rows(at indices: [Int]) -> MatrixExpression {
        .selected(self, rows: .indices(IndexTable(indices)), columns: nil)
    }

    /// The columns at these places; an index may stand several times.
    func columns(at indices: [Int]) -> MatrixExpression {
        .selected(self, rows: nil, columns: .indices(IndexTable(indices)))
    }

    /// X with self·X = right, for `count` square matrices below each other.
    func solving(_ right: MatrixExpression, count: Int = 1) -> MatrixExpression { .solved(self, right, count: count) }
}

infix operator × : MultiplicationPrecedence

/// Exchanged rows and columns, and parts: moved inward to where they cost nothing. None of these steps changes a
/// number: the products of a sum keep their order, and float64 multiplication commutes exactly.
extension MatrixExpression {
    /// Rows and columns exchanged; two transpositions cancel.
    public var transpose: MatrixExpression {
        switch self {
        case .stored(let factor) where factor.isPlain: return .stored(factor.transposed)
        case .base(var rectangle):
            rectangle.transposed.toggle()
            return .base(rectangle)
        case .constant(.identity): return self
        case .constant(.filled(let value, let rows, let columns)):
            return .constant(.filled(value, rows: columns, columns: rows))
        case .constant(.waves(let period, let rows, let columns)):
            return .constant(.waves(period: period, rows: columns, columns: rows))
        case .product(let left, let right): return .product(right.transpose, left.transpose)
        case .elementwise(let operation, let left, let right):
            return .elementwise(operation, left.transpose, right.transpose)
        case .function(let function, let inner): return .function(function, inner.transpose)
        case .scaled(let inner, let scale): return .scaled(inner.transpose, scale)
        case .kronecker(let left, let right): return .kronecker(left.transpose, right.transpose)
        case .transposed(let inner): return inner
        case .selected(let inner, let rows, let columns): return .selected(inner.transpose, rows: columns, columns: rows)
        default: return .transposed(self)
        }
    }

    /// Some rows.
    public func rows(_ range: Range<Int>) -> MatrixExpression {
        if range == 0..<rows { return self }
        switch self {
        case .stored(let factor): return .stored(factor.rows(range))
        case .base(var rectangle):
            if rectangle.transposed {
                rectangle.columns = rectangle.columns.part(range)
            } else {
                rectangle.rows = rectangle.rows.part(range)
            }
            return .base(rectangle)
        case .constant(.filled(let value, _, let columns)):
            return .constant(.filled(value, rows: range.count, columns: columns))
        case .product(let left, let right): return .product(left.rows(range), right)
        case .blockwise(let left, let right, let count): return .blockwise(left.rows(range), right, count: count)
        case .elementwise(let operation, let left, let right):
            let full = rows
            func part(_ operand: MatrixExpression) -> MatrixExpression {
                operand.rows == full ? operand.rows(range) : operand
            }
            return .elementwise(operation, part(left), part(right))
        case .function(let function, let inner): return .function(function, inner.rows(range))
        case .scaled(let inner, let scale): return .scaled(inner.rows(range), scale)
        case .rowNorms(let inner): return .rowNorms(inner.rows(range))
        default: return .selected(self, rows: .range(range), columns: nil)
        }
    }

    /// Some columns.
    public func columns(_ range: Range<Int>) -> MatrixExpression {
        if range == 0..<columns { return self }
        switch self {
        case .stored(let factor) where factor.isPlain: return .stored(factor.columns(range))
        case .base, .constant(.filled), .function, .scaled, .elementwise: return transpose.rows(range).transpose
        case .product(let left, let right): return .product(left, right.columns(range))
        default: return .selected(self, rows: nil, columns: .range(range))
        }
    }

    /// Holds the sides of all operands against each other.
    ///
    /// - Throws: `.refused` with the tensor and the sides that do not agree.
    func requireFit() throws {
        for operand in operands { try operand.requireFit() }
        func fits(_ left: Int, _ right: Int) -> Bool { left == right || left == 1 || right == 1 }
        let agree: Bool
        switch self {
        case .elementwise(_, let left, let right): agree = fits(left.rows, right.rows) && fits(left.columns, right.columns)
        case .product(let left, let right): agree = left.columns == right.rows
        case .batched(let left, let right, let count):
            agree = count > 0 && left.rows % count == 0 && right.rows % count == 0 && left.columns == right.rows / count
        case .blockwise(let left, let right, let count): agree = count > 0 && left.columns % count == 0 && right.rows == left.columns
        case .rearranged(let inner, let shape, _, let columns):
            let count = shape.reduce(1, *)
            agree = count == inner.rows * inner.columns && (count == 0 || columns > 0 && count % columns == 0)
        case .stacked(let parts): agree = parts.allSatisfy { $0.columns == parts[0].columns }
        case .solved(let left, let right, let count):
            agree = left.rows == left.columns * count && right.rows == left.rows
        case .scattered(let inner, let positions, _, _): agree = positions.values.count == inner.rows * inner.columns
        case .selected(let inner, let rows, let columns):
            func isInside(_ selection: Selection?, _ count: Int) -> Bool {
                guard case .range(let range) = selection else { return true }
                return range.lowerBound >= 0 && range.upperBound <= count
            }
            agree = isInside(rows, inner.rows) && isInside(columns, inner.columns)
        case .stored, .base, .constant, .function, .scaled, .kronecker, .transposed, .rowNorms, .orthonormal: agree = true
        }
        guard !agree else { return }
        let sides = operands.map { "\($0.rows) × \($0.columns)" }.joined(separator: " and ")
        throw PeftfileError(
            .refused, "does not fit what the formula combines it with: operands of \(sides)", tensor: factors.first?.tensor,
            rule: "FactorShape", help: "save the adapter again; its tensors are of two shapes")
    }

    /// Replaces every rectangle of the base.
    func mapBase(_ change: (BaseRectangle) throws -> BaseRectangle) rethrows -> MatrixExpression {
        try mapLeaves { leaf in
            guard case .base(let rectangle) = leaf else { return leaf }
            return .base(try change(rectangle))
        }
    }

    /// Replaces what has no operands: stored matrices, rectangles of the base, constants.
    func mapLeaves(_ change: (MatrixExpression) throws -> MatrixExpression) rethrows -> MatrixExpression {
        switch self {
        case .stored, .base, .constant: return try change(self)
        case .product(let left, let right): return .product(try left.mapLeaves(change), try right.mapLeaves(change))
        case .batched(let left, let right, let count):
            return .batched(try left.mapLeaves(change), try right.mapLeaves(change), count: count)
        case .blockwise(let left, let right, let count):
            return .blockwise(try left.mapLeaves(change), try right.mapLeaves(change), count: count)
        case .elementwise(let operation, let left, let right):
            return .elementwise(operation, try left.mapLeaves(change), try right.mapLeaves(change))
        case .function(let function, let inner): return .function(function, try inner.mapLeaves(change))
        case .scaled(let inner, let scale): return .scaled(try inner.mapLeaves(change), scale)
        case .kronecker(let left, let right): return .kronecker(try left.mapLeaves(change), try right.mapLeaves(change))
        case .transposed(let inner): return .transposed(try inner.mapLeaves(change))
        case .selected(let inner, let rows, let columns):
            return .selected(try inner.mapLeaves(change), rows: rows, columns: columns)
        case .rearranged(let inner, let shape, let axes, let columns):
            return .rearranged(try inner.mapLeaves(change), shape: shape, axes: axes, columns: columns)
        case .stacked(let parts): return .stacked(try parts.map { try $0.mapLeaves(change) })
        case .rowNorms(let inner): return .rowNorms(try inner.mapLeaves(change))
        case .orthonormal(let inner): return .orthonormal(try inner.mapLeaves(change))
        case .solved(let left, let right, let count):
            return .solved(try left.mapLeaves(change), try right.mapLeaves(change), count: count)
        case .scattered(let inner, let positions, let rows, let columns):
            return .scattered(try inner.mapLeaves(change), positions: positions, rows: rows, columns: columns)
        }
    }
}

extension Range<Int> {
    /// The part `range` of this range, counted from its start.
    func part(_ range: Range<Int>) -> Range<Int> { (lowerBound + range.lowerBound)..<(lowerBound + range.upperBound) }
}
