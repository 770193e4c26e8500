import ByteAccess

/// The rules that a torch checkpoint is held to, behind those of its zip archive (`ZipRule`). The raw value is the
/// `rule` of the error, and the heading of the rule in `Formats/torch.md`.
public enum TorchRule: String, Sendable, Hashable, CaseIterable {
    /// One folder, and in it one `data.pkl`.
    case layout = "TorchLayout"
    /// No TorchScript: a program is no checkpoint.
    case script = "TorchScript"
    /// `byteorder` says `little` or `big`.
    case byteOrder = "TorchByteOrder"
    /// The form before torch 1.6: magic number, protocol, system, object, storages, and nothing behind.
    case legacy = "TorchLegacy"
    /// A pickle begins with a protocol from 2 to 5.
    case pickleProtocol = "PickleProtocol"
    /// A pickle ends at its STOP, and each argument in the pickle.
    case pickleEnd = "PickleEnd"
    /// Operations, stack, and strings keep within their limits.
    case pickleLimit = "PickleLimit"
    /// Only the operations that a state dict needs.
    case pickleOperation = "PickleOperation"
    /// The stack and the memo have what an operation takes from them.
    case pickleStack = "PickleStack"
    /// Only the names of the allow-list.
    case pickleGlobal = "PickleGlobal"
    /// Functions get the arguments that they have, and only those of the list are called.
    case pickleCall = "PickleCall"
    /// Text is UTF-8, keys of a dict can be keys.
    case pickleValue = "PickleValue"
    /// A storage is named by five values, and its record has the bytes that it says.
    case storage = "TorchStorage"
    /// Elements of a type that safetensors has.
    case dtype = "TorchDType"
    /// Offset, sizes and strides stay inside the storage, without overflow.
    case geometry = "TorchGeometry"
    /// Every tensor is found under one name, made of the keys on the way.
    case name = "TorchName"
    /// A view that repeats few bytes many times is listed and not read.
    case expanded = "TorchExpanded"

    /// The error of a file that breaks this rule.
    func broken(
        _ message: String, file: String? = nil, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> PeftfileError {
        let code: PeftfileError.Code =
            switch self {
            case .script, .dtype: .unsupported
            case .pickleGlobal, .expanded: .refused
            default: .malformed
            }
        return PeftfileError(code, message, file: file, tensor: tensor, offset: offset, rule: rawValue, help: help)
    }
}
