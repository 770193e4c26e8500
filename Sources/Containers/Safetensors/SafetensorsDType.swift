import ByteAccess
import Tensors

/// The names of the dtypes as a header has them.
enum SafetensorsDType {
    /// The dtype that `text` names; case-sensitive, nil for every other text.
    ///
    /// The types that nearly all tensors have are compared in place; the rest go by way of a string.
    static func named(_ text: JSONReader.Text, in reader: JSONReader) -> DType? {
        if reader.matches(text, "BF16") { return .bf16 }
        if reader.matches(text, "F16") { return .f16 }
        if reader.matches(text, "F32") { return .f32 }
        return DType(rawValue: reader.decoded(text))
    }
}
