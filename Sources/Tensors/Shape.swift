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
