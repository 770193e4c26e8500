import ByteAccess

/// The rules that an NPZ archive is held to, behind those of its zip archive (`ZipRule`). The raw value is the `rule` of
/// the error, and the name of the rule in `Formats/npz.md`.
public enum NPZRule: String, Sendable, Hashable, CaseIterable {
    /// Every entry is an array, and its name ends in `.npy`.
    case entry = "NPZEntry"
    /// An array begins with `\x93NUMPY`, a version that is known, and the length of its header.
    case magic = "NPYMagic"
    /// The header is a Python dict of the three keys, each once, in the few forms that NumPy and MLX write.
    case header = "NPYHeader"
    /// Elements of a type that safetensors has.
    case dtype = "NPYDType"
    /// No array of Python objects: its elements are a pickle.
    case object = "NPYObject"
    /// The entry has the bytes that dtype and shape say, and no more.
    case size = "NPYSize"

    /// The error of a file that breaks this rule.
    func broken(
        _ message: String, file: String, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> PeftfileError {
        let code: PeftfileError.Code =
            switch self {
            case .dtype: .unsupported
            case .object: .refused
            default: .malformed
            }
        return PeftfileError(code, message, file: file, tensor: tensor, offset: offset, rule: rawValue, help: help)
    }
}
