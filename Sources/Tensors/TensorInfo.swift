public import ByteAccess

/// One tensor as a container's directory describes it: name, element type, shape, and where its bytes are.
public struct TensorInfo: Sendable, Hashable {
    // Headers have many of these: the two fields of one byte stand last, so that nothing is lost to alignment.

    /// The name, byte for byte.
    public var name: ExactString
    /// Outermost dimension first; elements are given in C order, little-endian.
    public var shape: Shape
    /// First byte, counted from the start of the file. For a tensor that is not contiguous it says only where its data
    /// begins, to read several in the order of the file.
    public var begin: UInt64
    /// `begin` plus the tensor's bytes; of a contiguous tensor the byte after its last one.
    public var end: UInt64
    /// The dtype of the elements.
    public var dtype: DType
    /// Whether the file holds the elements as they are: in C order, little-endian, in one piece at `begin..<end`. Where it
    /// does not (they are compressed, strided, quantised) only the container can read them.
    public var isContiguous: Bool

    /// A tensor as a container found it, in one piece unless said otherwise. The container has checked its numbers: `end` is not below
    /// `begin`.
    public init(
        name: ExactString, dtype: DType, shape: Shape, begin: UInt64, end: UInt64, isContiguous: Bool = true
    ) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.begin = begin
        self.end = end
        self.isContiguous = isContiguous
    }

    /// Bytes of the tensor's elements.
    public var byteCount: UInt64 { end - begin }
    /// The number of elements; containers check on reading that it fits.
    public var elementCount: Int { shape.elementCount ?? 0 }
    /// Rows when the tensor is read as a matrix: the first dimension, or 1 for scalars and vectors; 0 without elements.
    public var rowCount: Int { shape.matrix.rows }
    /// Columns when the tensor is read as a matrix: the product of all dimensions but the first, or the vector's length.
    public var columnCount: Int { shape.matrix.columns }
}
