import ByteAccess

/// The rules of the safetensors format, in the order in which they are evaluated. The raw value is the `rule` of the
/// error, and the heading of the rule in `Formats/safetensors.md`.
///
/// The names are those of the reference reader's error enum (`SafeTensorError` in safetensors/src/tensor.rs), except
/// for `LeadingWhitespace` and `DuplicateKey`, which the format's text demands and the reference reader lets pass, and
/// `ReservedName`, which the reference writer lets pass.
public enum SafetensorsRule: String, Sendable, Hashable, CaseIterable {
    /// The file has at least the 8 bytes of the header's length.
    case headerTooSmall = "HeaderTooSmall"
    /// The header has at most 100 000 000 bytes.
    case headerTooLarge = "HeaderTooLarge"
    /// The header ends inside the file.
    case invalidHeaderLength = "InvalidHeaderLength"
    /// The header is UTF-8.
    case invalidHeader = "InvalidHeader"
    /// The header's first byte is `{`.
    case leadingWhitespace = "LeadingWhitespace"
    /// The header is JSON of the prescribed form.
    case invalidHeaderDeserialization = "InvalidHeaderDeserialization"
    /// No tensor and no metadata key is named twice.
    case duplicateKey = "DuplicateKey"
    /// The tensors follow each other without hole or overlap.
    case invalidOffset = "InvalidOffset"
    /// Shape and dtype give a size that fits 64 bits.
    case validationOverflow = "ValidationOverflow"
    /// A tensor is a whole number of bytes.
    case misalignedSlice = "MisalignedSlice"
    /// A tensor has as many bytes as its shape and dtype say.
    case tensorInvalidInfo = "TensorInvalidInfo"
    /// The tensors end where the file ends.
    case metadataIncompleteBuffer = "MetadataIncompleteBuffer"
    /// No tensor is named `__metadata__` (writer).
    case reservedName = "ReservedName"

    /// The error of a file that breaks this rule.
    func broken(
        _ message: String, file: String? = nil, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> PeftfileError {
        PeftfileError(
            .malformed, message, file: file, tensor: tensor, offset: offset, rule: rawValue,
            help: help ?? "the file is damaged, or its writer was: fetch it or save it again")
    }
}
