/// A product whose left factor is nearly all zeros, without the zeros.
///
/// fma(0, x, s) is s for every finite x and every s but −0; and s, which starts as +0, is −0 only where a product is too small
/// for a number. So where no product can be, the sum over the elements that are not zero has the same bits.
struct SparseProduct {
    private let rows: Int
    private let depth: Int
    private var entries: [(row: Int, k: Int, value: Double)] = []

    /// The least magnitude of two factors whose product is a normal number.
    private static let smallest = 0x1p-500

    /// - Returns: nil where the factor is small or dense, or an element is not in the range.
    init?(_ left: [Double], rows: Int, depth: Int) {
        guard depth >= 256, rows > 0 else { return nil }
        (self.rows, self.depth) = (rows, depth)
        let most = left.count / 32
        for (index, value) in left.enumerated() where value != 0 {
            guard entries.count < most, value.isFinite, value.magnitude >= SparseProduct.smallest else { return nil }
            entries.append((index / depth, index % depth, value))
        }
    }

    /// - Returns: nil where an element of `right` is not in the range.
    func times(_ right: [Double], columns: Int) -> [Double]? {
        guard right.allSatisfy({ $0 == 0 || $0.isFinite && $0.magnitude >= SparseProduct.smallest }) else { return nil }
        var result = [Double](repeating: 0, count: rows * columns)
        right.withUnsafeBufferPointer { right in
            result.withUnsafeMutableBufferPointer { result in
                for entry in entries {
                    let (to, from) = (entry.row * columns, entry.k * columns)
                    for column in 0..<columns { result[to + column].addProduct(entry.value, right[from + column]) }
                }
            }
        }
        return result
    }
}
