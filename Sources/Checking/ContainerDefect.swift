import ByteAccess
import Containers

/// Which rule owns a file of weights that cannot be opened.
enum ContainerDefect: String, Sendable {
    case headerInvalid = "header-invalid"
    case truncated
    case trailingBytes = "trailing-bytes"
    case lfsPointer = "lfs-pointer"
    case notSafetensors = "not-safetensors"
    case pickle
    case indexInvalid = "index-invalid"
    /// A format of other tools that this version does not read: nothing is wrong with it as far as is known.
    case unread
    /// The system refused to read it.
    case io

    /// - Parameter file: the file or index that was opened.
    init(_ error: PeftfileError, file: String) {
        let path = error.file ?? file
        switch error.rule {
        case ForeignFile.gitLFSPointer(oid: nil, size: nil).rule: self = .lfsPointer
        case ForeignFile.torch.rule, ForeignFile.pickle.rule: self = .pickle
        case GGUFRule.truncated.rawValue: self = .truncated
        case GGUFRule.trailing.rawValue: self = .trailingBytes
        case let rule? where GGUFRule(rawValue: rule) != nil: self = .headerInvalid
        case SafetensorsRule.headerTooSmall.rawValue, SafetensorsRule.invalidHeaderLength.rawValue: self = .truncated
        case SafetensorsRule.metadataIncompleteBuffer.rawValue:
            let size = (try? FileReader(path: path))?.size
            self = error.offset.map { $0 < size ?? 0 } ?? false ? .trailingBytes : .truncated
        case SafetensorsRule.headerTooLarge.rawValue where ContainerDefect.beginsWithText(path): self = .notSafetensors
        case let rule? where SafetensorsRule(rawValue: rule) != nil: self = .headerInvalid
        case let rule? where NPZRule(rawValue: rule) != nil: self = .headerInvalid
        case let rule? where ZipRule(rawValue: rule) != nil && ContainerDefect.isNPZ(path): self = .headerInvalid
        case let rule? where TorchRule(rawValue: rule) != nil || ZipRule(rawValue: rule) != nil: self = .pickle
        case let rule? where ForeignFile.rules.contains(rule): self = .notSafetensors
        case _ where error.code == .io || error.code == .notFound: self = .io
        // A JSON text is read as an index; under the name of a container it is an answer that took the file's place.
        default: self = path.hasSuffix(".json") || ContainerDefect.jsonText(path) == nil ? .indexInvalid : .notSafetensors
        }
    }

    /// The beginning of a JSON text; nil for any other file.
    static func jsonText(_ path: String) -> String? {
        guard let reader = try? FileReader(path: path), (try? ForeignFile.identify(reader)) == .json,
            let bytes = try? reader.bytes(at: 0, count: Int(min(reader.size, 80)))
        else { return nil }
        return String(decoding: bytes, as: UTF8.self).printable
    }

    /// Whether a zip archive is NumPy's, whose arrays are no pickles.
    private static func isNPZ(_ path: String) -> Bool {
        guard let reader = try? FileReader(path: path), let kind = try? ForeignFile.identify(reader) else { return false }
        return kind == .npz
    }

    /// Whether the bytes that should be a length are eight letters: "Entry not found", "Access denied".
    private static func beginsWithText(_ path: String) -> Bool {
        guard let reader = try? FileReader(path: path), let bytes = try? reader.bytes(at: 0, count: 8) else { return false }
        return bytes.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
    }
}

extension CheckRule {
    /// The finding that the weights cannot be opened, where this rule owns the reason.
    func unreadableWeights(in subject: CheckSubject, _ defect: ContainerDefect, help: String? = nil) -> [Finding] {
        guard let error = subject.weights.error, let file = subject.weights.file,
            ContainerDefect(error, file: file) == defect
        else { return [] }
        return [
            finding(
                error.message, file: error.file ?? file, tensor: error.tensor, offset: error.offset,
                help: help ?? error.help)
        ]
    }
}
