public import ByteAccess
public import Tensors

/// A weight whose elements are whole numbers or 8-bit floats, one a byte, with one scale for each block of rows and columns.
///
///     W[r, c] = (q[r, c] − z[r / b0, c / b1]) · s[r / b0, c / b1] / divisor
///
/// Blocks at the right and lower edge may be short. A code times a scale is exact in float64; the division, where there is one,
/// rounds once.
public struct ScaledWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// One number for the tensor, each row or each block.
    public let scale: StoredTensor
    /// Zero points on the same grid, as whole numbers; nil for none.
    public let zero: StoredTensor?
    /// Rows and columns of a block.
    public let block: (rows: Int, columns: Int)
    /// 1, or 127 where the scale is the magnitude of the largest code.
    public let divisor: Double
    /// Whether a scale is the byte of a power of two, 2^(byte − 127).
    public let scaleIsExponent: Bool
    let others: [StoredTensor]

    public var components: [StoredTensor] { [codes, scale] + [zero].compactMap { $0 } + others }
    var columns: Int { shape.matrix.columns }
    /// Scales beside each other.
    public var gridColumns: Int { (columns + block.columns - 1) / max(1, block.columns) }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the codes, the scales and the zero points.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty, let base = result.baseAddress else { return }
        let bytes = try components.bytes(codes, elements)
        let decoded = try Conversion.widened((0...255).map { UInt8($0) }, as: codes.dtype, count: 256)
        let firstRow = elements.lowerBound / columns / block.rows
        let lastRow = (elements.upperBound - 1) / columns / block.rows
        let grid = (firstRow * gridColumns)..<((lastRow + 1) * gridColumns)
        var scales = try components.values(scale, grid)
        if scaleIsExponent && scale.dtype == .u8 {
            scales = scales.map { Double(sign: .plus, exponent: Int($0) - 127, significand: 1) }
        }
        let zeros = try zero.map { try components.values($0, grid) }
        func number(_ code: Double, _ place: Int) -> Double {
            let value = (code - (zeros?[place] ?? 0)) * scales[place]
            return divisor == 1 ? value : value / divisor
        }
        bytes.withUnsafeBufferPointer { bytes in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 256) { products in
                forEachRow(of: elements, columns: columns) { row, columnRange, offset in
                    let line = (row / block.rows - firstRow) * gridColumns
                    var column = columnRange.lowerBound
                    while column < columnRange.upperBound {
                        let place = line + column / block.columns
                        let end = min(columnRange.upperBound, (column / block.columns + 1) * block.columns)
                        let start = offset + column - columnRange.lowerBound
                        if end - column >= 512 {
                            // What each code comes to, then a look-up an element.
                            for code in 0..<256 { products[code] = number(decoded[code], place) }
                            for index in start..<(start + end - column) { base[index] = products[Int(bytes[index])] }
                        } else if divisor == 1, zeros == nil {
                            let scale = scales[place]
                            decoded.withUnsafeBufferPointer { decoded in
                                for index in start..<(start + end - column) { base[index] = decoded[Int(bytes[index])] * scale }
                            }
                        } else {
                            for index in start..<(start + end - column) { base[index] = number(decoded[Int(bytes[index])], place) }
                        }
                        column = end
                    }
                }
            }
        }
    }
}
