public import ByteAccess
public import Tensors

/// One weight that is stored as codes, under the name and with the shape that it has in a plain checkpoint.
///
/// A conforming type holds what was checked when the checkpoint was opened: its component tensors fit each other, so reading
/// needs no further look at shapes.
public protocol QuantisedWeight: Sendable {
    /// The plain name: `model.layers.0.mlp.up_proj.weight`.
    var name: ExactString { get }
    /// The plain shape, as the model holds it.
    var shape: Shape { get }
    /// The tensor that holds the codes; the weight has its place in the order of the file.
    var codes: StoredTensor { get }
    /// The dtype that the weight has in a plain checkpoint; nil for the checkpoint's own (`Quantisation.dtype`).
    var plainDType: DType? { get }
    /// Every tensor that the weight is made of, the codes among them.
    var components: [StoredTensor] { get }

    /// Rows of the plain matrix that lie in the same bytes, so that one costs as much to read as all; 1 where rows are apart.
    var rowsReadTogether: Int { get }

    /// Fills `result` with the elements `elements` of the plain tensor, in row-major order.
    ///
    /// Each is the exact value of the scheme's formula, or where that is no float64 number, the formula evaluated in float64 in the
    /// order that the type's comment gives.
    ///
    /// - Throws: what reading the components throws; `.refused` where their numbers cannot be right.
    func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws

    /// Looks at what only the numbers tell; small components alone are read.
    ///
    /// - Returns: a warning, or nil.
    /// - Throws: `.refused` where the numbers cannot be right.
    func inspect(_ components: ComponentReader) throws -> String?
}

extension QuantisedWeight {
    public var plainDType: DType? { nil }
    public var rowsReadTogether: Int { 1 }

    /// Looks at nothing and warns of nothing: for schemes whose numbers need no second look.
    ///
    /// - Throws: nothing.
    public func inspect(_ components: ComponentReader) throws -> String? { nil }
}

/// Fills `result` with a row-major range by whole rows; where it begins or ends within one, by a copy of what was asked for.
func readRows(
    of elements: Range<Int>, columns: Int, into result: UnsafeMutableBufferPointer<Double>,
    _ read: (Range<Int>, UnsafeMutableBufferPointer<Double>) throws -> Void
) throws {
    guard !elements.isEmpty else { return }
    let rows = (elements.lowerBound / columns)..<((elements.upperBound - 1) / columns + 1)
    if elements.count == rows.count * columns { return try read(rows, result) }
    try withUnsafeTemporaryAllocation(of: Double.self, capacity: rows.count * columns) { whole in
        try read(rows, whole)
        let start = elements.lowerBound - rows.lowerBound * columns
        for index in 0..<elements.count { result[index] = whole[start + index] }
    }
}

/// Calls `body` for each row, or part of a row, of a row-major range: the row, the columns, and where they begin in the range.
func forEachRow(of elements: Range<Int>, columns: Int, _ body: (Int, Range<Int>, Int) throws -> Void) rethrows {
    var start = elements.lowerBound
    while start < elements.upperBound {
        let row = start / columns
        let end = min(elements.upperBound, (row + 1) * columns)
        try body(row, (start - row * columns)..<(end - row * columns), start - elements.lowerBound)
        start = end
    }
}

/// Walks the rows of `elements` with the codes of each, of a weight whose codes are bit streams along the row: whole rows are unpacked, since
/// ranges seldom end within one.
///
/// - Parameter body: gets the row, counted from the first that is read; the columns that are wanted of it; their place in the result; and the codes
///   of all columns.
/// - Throws: what reading the codes throws, and `body`.
func forEachUnpackedRow(
    of elements: Range<Int>, columns: Int, packed: StoredTensor, bits: Int, from components: ComponentReader,
    _ body: (Int, Range<Int>, Int, UnsafeMutableBufferPointer<UInt8>) throws -> Void
) throws {
    let rowBytes = (packed.shape.last ?? 0) * 4
    let first = elements.lowerBound / columns
    let words = try components.bytes(packed, (first * rowBytes)..<(((elements.upperBound - 1) / columns + 1) * rowBytes))
    try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: columns) { codes in
        try forEachRow(of: elements, columns: columns) { row, columnRange, place in
            words.withUnsafeBytes { words in
                CodeKernels.unpack(
                    UnsafeRawBufferPointer(rebasing: words[((row - first) * rowBytes)..<((row - first + 1) * rowBytes)]), bits: bits, into: codes)
            }
            try body(row - first, columnRange, place, codes)
        }
    }
}
