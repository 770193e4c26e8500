import ByteAccess

/// The rules that a GGUF file is held to; the raw value is the `rule` of the error, and the heading of the rule in
/// `Formats/gguf.md`.
public enum GGUFRule: String, Sendable, Hashable, CaseIterable {
    /// The version is 2 or 3.
    case version = "GGUFVersion"
    /// The numbers are little-endian.
    case byteOrder = "GGUFByteOrder"
    /// The file has room for everything that it counts.
    case count = "GGUFCount"
    /// What is begun is in the file to its end.
    case truncated = "GGUFTruncated"
    /// A key is UTF-8, not empty, at most 65535 bytes long, and there once.
    case key = "GGUFKey"
    /// A value is of one of the types, and what its type allows.
    case value = "GGUFValue"
    /// `general.alignment` is a UINT32 and a power of two.
    case alignment = "GGUFAlignment"
    /// A tensor's name is UTF-8, not empty, at most 64 bytes long, and there once.
    case name = "GGUFName"
    /// At most four dimensions, none of them 0, whose product fits; rows of whole blocks.
    case shape = "GGUFShape"
    /// The type of the elements is one that ggml has.
    case type = "GGUFType"
    /// Each tensor begins where the one before it ends, on the next multiple of the alignment.
    case offset = "GGUFOffset"
    /// Nothing but padding follows the last tensor.
    case trailing = "GGUFTrailing"

    /// The error of a file that breaks this rule.
    func broken(
        _ message: String, file: String? = nil, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> PeftfileError {
        let code: PeftfileError.Code =
            switch self {
            case .version, .byteOrder, .type: .unsupported
            default: .malformed
            }
        return PeftfileError(code, message, file: file, tensor: tensor, offset: offset, rule: rawValue, help: help)
    }
}
