import Peftfile
import TestSupport

/// Writes small safetensors files for tests.
struct SmallTensor {
    var name: ExactString
    var shape: Shape
    var values: [Double]
    var dtype: DType = .f32

    static func write(
        _ tensors: [SmallTensor], metadata: [(key: ExactString, value: String)]? = nil, to path: String
    ) throws {
        let layout = try SafetensorsLayout(
            metadata: metadata, tensors: tensors.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
        var bytes = layout.headerBytes
        for tensor in tensors {
            bytes += try tensor.dtype.bits == 8 ? tensor.values.map { UInt8($0) } : Conversion.narrowed(tensor.values, to: tensor.dtype)
        }
        try TestFile.write(bytes, to: path)
    }

    /// Small whole numbers, different for every seed: sums of their products are exact in every order.
    static func numbers(_ count: Int, seed: Int) -> [Double] {
        (0..<count).map { Double(($0 * 7 + seed * 13) % 11 - 5) }
    }
}
