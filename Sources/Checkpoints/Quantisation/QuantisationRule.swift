import ByteAccess

/// The rules of quantised bases; the raw value is the `rule` of the error, and the name in `Formats/quantised-bases.md`.
public enum QuantisationRule: String, Sendable, Hashable, CaseIterable {
    /// `quant_method` is one that is read.
    case unknownScheme = "UnknownScheme"
    /// Version, format, packing and bits of a known method are ones that are read.
    case unsupportedPacking = "UnsupportedPacking"
    /// The config says what the tensors leave open.
    case settings = "QuantisationSettings"
    /// Codes have all their companions, and companions have codes.
    case missingComponent = "MissingComponent"
    /// Every component has the dtype and shape that the others and the settings give it.
    case componentShape = "ComponentShape"
    /// Group and block sizes are positive and divide what they must.
    case groupSize = "GroupSize"
    /// Every entry of `g_idx` is a group.
    case groupIndex = "GroupIndex"
    /// `quant_state` is the JSON that bitsandbytes writes.
    case quantState = "QuantState"
    /// No codes are left that no scheme claims.
    case unclaimedCodes = "UnclaimedCodes"
    /// Zero points are ones that some reader can tell.
    case zeroPoint = "ZeroPoint"

    /// The error of a base that breaks this rule; `scheme` begins the message.
    func broken(_ scheme: String, _ message: String, tensor: ExactString? = nil, help: String? = nil) -> PeftfileError {
        PeftfileError(.refused, "\(scheme): \(message)", tensor: tensor, rule: rawValue, help: help)
    }
}
