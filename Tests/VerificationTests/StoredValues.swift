import ByteAccess
import Containers
import Tensors

/// A tensor as a test writes it.
struct StoredValues {
    var name: ExactString
    var dtype: DType
    var shape: Shape
    var bytes: [UInt8]

    init(_ name: ExactString, _ dtype: DType, _ shape: Shape, bytes: [UInt8]) {
        (self.name, self.dtype, self.shape, self.bytes) = (name, dtype, shape, bytes)
    }

    /// Values rounded to `dtype`.
    init(_ name: ExactString, _ dtype: DType, _ shape: Shape, _ values: [Double]) throws {
        self.init(name, dtype, shape, bytes: try Conversion.narrowed(values, to: dtype))
    }

    var values: [Double] {
        get throws { try Conversion.widened(bytes, as: dtype, count: shape.elementCount ?? 0) }
    }

    /// The bytes of a safetensors file.
    static func file(_ tensors: [StoredValues]) throws -> [UInt8] {
        let layout = try SafetensorsLayout(
            metadata: nil, tensors: tensors.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
        return layout.headerBytes + tensors.flatMap(\.bytes)
    }
}
