public import ByteAccess
public import Tensors

/// A matrix read from one adapter tensor: a strided view, so that transposes, expert slices, convolution kernels and
/// row ranges of a factor need no copy of the tensor.
///
/// Element (i, j) is `tensor[offset + i·rowStride + (j / columnRepeat)·columnStride]`, times `diagonal[j]` where a
/// diagonal is set. Offsets and strides count elements.
public struct Factor: Sendable, Hashable {
    /// Which of the adapters being bound holds the tensor, or ``base``.
    public var adapter: Int
    /// The tensor is one of the base itself: a bias whose change is made of its layer's weight.
    public static let base = -1
    /// The adapter tensor as its file names it.
    public var tensor: ExactString
    /// The rows of the matrix.
    public var rows: Int
    /// The columns of the matrix.
    public var columns: Int
    /// The element of the tensor that stands at (0, 0).
    public var offset: Int
    /// Elements of the tensor from one row to the next.
    public var rowStride: Int
    /// Elements of the tensor from one column to the next.
    public var columnStride: Int
    /// How many neighbouring columns share one stored column (QALoRA's input groups); 1 for all else.
    public var columnRepeat: Int
    /// A vector of `columns` elements, in the same adapter, that multiplies the columns (KaSA's `lora_diag`).
    public var diagonal: ExactString?

    /// A whole tensor read as a matrix: the first dimension by the product of the others; a vector is one row.
    public init(adapter: Int, info: TensorInfo) {
        self.adapter = adapter
        tensor = info.name
        rows = info.rowCount
        columns = info.columnCount
        offset = 0
        rowStride = info.columnCount
        columnStride = 1
        columnRepeat = 1
        diagonal = nil
    }

    /// The same elements with rows and columns exchanged. Only for views without repeat and diagonal; the caller
    /// transposes before it sets either, or expands first.
    public var transposed: Factor {
        var result = self
        (result.rows, result.columns) = (columns, rows)
        (result.rowStride, result.columnStride) = (columnStride, rowStride)
        return result
    }

    /// The rows `range` alone.
    public func rows(_ range: Range<Int>) -> Factor {
        var result = self
        result.rows = range.count
        result.offset += range.lowerBound * rowStride
        return result
    }

    /// The columns `range` alone; not for views with repeat or diagonal.
    public func columns(_ range: Range<Int>) -> Factor {
        var result = self
        result.columns = range.count
        result.offset += range.lowerBound * columnStride
        return result
    }

    /// Whether `transposed` and `columns(_:)` may be used.
    public var isPlain: Bool { columnRepeat == 1 && diagonal == nil }

    /// Whether it begins with the first element of its tensor and has the elements in their order, so that it is all of a tensor of as many.
    public var isWhole: Bool { isPlain && columnStride == 1 && rowStride == columns && offset == 0 }
}

/// Where factors get their numbers: adapter tensors widened to float64, each read once and kept while it is in use.
public protocol FactorSource: Sendable {
    /// All elements of an adapter tensor, widened to float64 without error.
    ///
    /// - Throws: what reading the tensor throws.
    func elements(of tensor: ExactString, adapter: Int) throws -> [Double]

    /// The same for who keeps the numbers himself, so that nobody else need.
    ///
    /// - Throws: what reading the tensor throws.
    func takenElements(of tensor: ExactString, adapter: Int) throws -> [Double]
}

extension FactorSource {
    /// The elements as `elements(of:adapter:)` gives them, for sources that make no difference between the two.
    ///
    /// - Throws: what `elements(of:adapter:)` throws.
    public func takenElements(of tensor: ExactString, adapter: Int) throws -> [Double] {
        try elements(of: tensor, adapter: adapter)
    }
}

extension Factor {
    /// The view as a dense row-major matrix of `rows` × `columns` float64 numbers.
    ///
    /// A diagonal multiplies with one rounding per element; everything else is exact.
    ///
    /// - Throws: `.malformed` with rule `FactorShape` where the view reaches beyond the elements of the tensor, or the diagonal does
    ///   not have `columns` elements; and what `source` throws.
    public func matrix(from source: any FactorSource) throws -> [Double] {
        let elements = try isWhole
            ? source.takenElements(of: tensor, adapter: adapter) : source.elements(of: tensor, adapter: adapter)
        let last = offset + max(0, rows - 1) * rowStride + max(0, (columns - 1) / columnRepeat) * columnStride
        guard rows == 0 || columns == 0 || (offset >= 0 && last < elements.count) else {
            throw PeftfileError(
                .malformed, "holds \(elements.count) elements, \(last + 1) are needed", tensor: tensor,
                rule: "FactorShape")
        }
        let scales = try diagonal.map { try source.elements(of: $0, adapter: adapter) }
        if let scales, scales.count != columns {
            throw PeftfileError(
                .malformed, "holds \(scales.count) elements, \(columns) are needed", tensor: diagonal,
                rule: "FactorShape")
        }
        if isWhole, elements.count == rows * columns { return elements }
        return [Double](unsafeUninitializedCapacity: rows * columns) { buffer, count in
            elements.withUnsafeBufferPointer { elements in
                for i in 0..<rows {
                    let row = offset + i * rowStride
                    // `last` above bounds every index formed here.
                    for j in 0..<columns {
                        buffer[i * columns + j] = elements[row + (j / columnRepeat) * columnStride]
                    }
                    if let scales {
                        for j in 0..<columns { buffer[i * columns + j] *= scales[j] }
                    }
                }
            }
            count = rows * columns
        }
    }
}
