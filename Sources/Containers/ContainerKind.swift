public import ByteAccess

/// The containers of tensors that this house knows, told by a file's content and never by its name.
public enum ContainerKind: String, Sendable, Hashable, CaseIterable {
    /// `Formats/safetensors.md`.
    case safetensors
    /// `Formats/torch.md`: a zip archive around a pickle, or the form before torch 1.6.
    case torch
    /// llama.cpp's container.
    case gguf
    /// numpy's archive of arrays.
    case npz

    /// The container that the file is.
    ///
    /// safetensors comes first, and a file with its outline is one however broken; opening it says what is wrong.
    /// Throws the refusal of a `ForeignFile` for what is known to be no container of tensors, and `UnknownContainer`
    /// (or `HeaderTooSmall`, for fewer than 8 bytes) for what is not known at all.
    public static func recognise(_ reader: FileReader) throws -> ContainerKind {
        if try hasSafetensorsOutline(reader) { return .safetensors }
        switch try ForeignFile.identify(reader) {
        case .torch: return .torch
        case .gguf: return .gguf
        case .npz: return .npz
        case let other?: throw other.refusal(file: reader.path)
        case nil: break
        }
        guard reader.size >= 8 else {
            throw SafetensorsRule.headerTooSmall.broken(
                reader.size == 0 ? "the file is empty" : "the file has only \(reader.size) bytes", file: reader.path,
                help: "it was not written or not downloaded to its end: fetch it again")
        }
        throw PeftfileError(
            .malformed, "is no container of tensors that is known here", file: reader.path, rule: "UnknownContainer",
            help: "safetensors files are read")
    }

    /// Whether the first 8 bytes are an allowed length and the next one begins a header: `{`, or whitespace, which is
    /// refused later under its own rule.
    ///
    /// - Throws: `.io` where the first 9 bytes cannot be read.
    public static func hasSafetensorsOutline(_ reader: FileReader) throws -> Bool {
        guard reader.size >= 9 else { return false }
        let prefix = try reader.bytes(at: 0, count: 9)
        let length = prefix[..<8].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        return length <= SafetensorsHeader.sizeLimit && [0x7B, 0x20, 0x09, 0x0A, 0x0D].contains(prefix[8])
    }
}
