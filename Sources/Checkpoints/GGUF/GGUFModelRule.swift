import ByteAccess

/// The rules by which a GGUF file is read as a model under the Hub's names; the raw value is the `rule` of the error, and its name in
/// `Formats/gguf.md`.
public enum GGUFModelRule: String, Sendable, Hashable, CaseIterable {
    /// `general.architecture` is one whose names are known.
    case architecture = "GGUFArchitecture"
    /// Every tensor has a place in the model.
    case place = "GGUFPlace"
    /// The heads of the attention divide the rows of queries and keys.
    case heads = "GGUFHeads"

    func broken(_ message: String, tensor: ExactString? = nil, help: String? = nil) -> PeftfileError {
        PeftfileError(.unsupported, message, tensor: tensor, rule: rawValue, help: help)
    }
}
