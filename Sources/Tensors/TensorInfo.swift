public import ByteAccess

/// One tensor as a container's directory describes it: name, element type, shape, and the bytes it has in its file.
public struct TensorInfo: Sendable, Hashable {
    public var name: ExactString
    public var dtype: DType
    /// Outermost dimension first; elements are stored in C order, little-endian.
    public var shape: Shape
    /// First byte, counted from the start of the file.
    public var begin: UInt64
    /// The byte after the last one, counted from the start of the file.
    public var end: UInt64

    public init(name: ExactString, dtype: DType, shape: Shape, begin: UInt64, end: UInt64) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.begin = begin
        self.end = end
    }

    /// Bytes of the tensor in its file.
    public var byteCount: UInt64 { end - begin }
    /// The number of elements; containers check on reading that it fits.
    public var elementCount: Int { shape.elementCount ?? 0 }
    /// Rows when the tensor is read as a matrix: the first dimension, or 1 for scalars and vectors; 0 without elements.
    public var rowCount: Int { shape.matrix.rows }
    /// Columns when the tensor is read as a matrix: the product of all dimensions but the first, or the vector's length.
    public var columnCount: Int { shape.matrix.columns }
}
