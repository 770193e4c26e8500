import Adapters
import Tensors

/// The elements that are evaluated in the defined order: one by one, or the whole row where that is needed for a norm
/// or saves work.
struct DefinedRow<Code: FixedWidthInteger & UnsignedInteger & Sendable> {
    /// Elements of one row that are evaluated alone. An element reads a column of the right factor, which costs about
    /// as much as a dozen elements of a row that is evaluated as a whole.
    private let limit = 8

    let comparison: PanelComparison<Code>
    let firstRow: Int
    private var row = -1
    private var asked = 0
    private var values: [Double] = []
    private var codes: [UInt8] = []

    init(comparison: PanelComparison<Code>, firstRow: Int) {
        self.comparison = comparison
        self.firstRow = firstRow
    }

    /// - Parameter start: the start of all rows from `firstRow` on.
    mutating func element(row: Int, column: Int, start: [Double]) throws -> (value: Double, code: Code) {
        let definition = DefinedOrder(recomputation: comparison.recomputation)
        let columns = comparison.recomputation.columns
        let first = (row - firstRow) * columns
        if self.row != row { (self.row, asked, values) = (row, 0, []) }
        asked += 1
        if asked <= limit, comparison.recipe.magnitudes.isEmpty {
            let value = try definition.element(row: row, column: column, start: start[first + column])
            return (value, try comparison.narrowed(value))
        }
        if values.isEmpty {
            values = try definition.row(
                row, start: start[first..<(first + columns)], columnNorms: try comparison.definedNorms())
            codes = try Conversion.narrowed(values, to: comparison.recipe.dtype)
        }
        let code = codes.withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: column * MemoryLayout<Code>.size, as: Code.self)
        }
        return (values[column], code)
    }
}
