/// The dimensions of a tensor, outermost first; `[]` is a scalar of one element. Every dimension is at least 0.
public typealias Shape = [Int]

extension Shape {
    /// The product of the dimensions, or nil where it does not fit an `Int`.
    public var elementCount: Int? {
        var product = 1
        for dimension in self {
            let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
            if overflow { return nil }
            product = next
        }
        return product
    }
}

extension Shape {
    /// The tensor read as a matrix: its first dimension by the product of the others; scalars and vectors are one row.
    /// A tensor without elements is 0 × 0, whatever its other dimensions claim.
    public var matrix: (rows: Int, columns: Int) {
        guard let count = elementCount, count > 0 else { return (0, 0) }
        return self.count < 2 ? (1, count) : (self[0], count / self[0])
    }
}
