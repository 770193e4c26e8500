import ByteAccess

/// The rules that a zip archive is held to before anything in it is believed. The raw value is the `rule` of the error,
/// and the name of the rule in `Formats/torch.md`.
///
/// They are stricter than the readers of zip: where two readers could see two archives in one file, it is refused.
public enum ZipRule: String, Sendable, Hashable, CaseIterable {
    /// One end record, whose comment ends the file, and which agrees with itself.
    case endRecord = "ZipEnd"
    /// The central directory lies before the end record and has the entries that it says.
    case directory = "ZipDirectory"
    /// An entry is stored or deflated, not encrypted, and its sizes lie in the file.
    case entry = "ZipEntry"
    /// Names are UTF-8, and no two are the same.
    case name = "ZipName"
    /// An entry's header at its data says the same as the directory.
    case localHeader = "ZipLocalHeader"
    /// No two entries share a byte.
    case overlap = "ZipOverlap"
    /// An entry declares at most 1032 times its compressed bytes.
    case ratio = "ZipRatio"
    /// What is held in memory as a whole is not much more than the archive has.
    case inflated = "ZipInflated"
    /// Deflated data is a whole stream, of the size that is declared.
    case data = "ZipData"
    /// The CRC-32 of the data is the one that is declared.
    case crc = "ZipCRC"

    /// The error of an archive that breaks this rule.
    func broken(_ message: String, file: String, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil) -> PeftfileError {
        PeftfileError(
            self == .inflated ? .refused : .malformed, message, file: file, tensor: tensor, offset: offset, rule: rawValue, help: help)
    }
}

extension UnsafeRawBufferPointer {
    /// The little-endian number at `offset`; nil where the bytes end before it does.
    func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
        guard offset >= 0, offset <= count - MemoryLayout<Number>.size else { return nil }
        return Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
}

extension Array where Element == UInt8 {
    /// The little-endian number at `offset`; nil where the bytes end before it does.
    func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type, at offset: Int) -> Number? {
        withUnsafeBytes { $0.number(type, at: offset) }
    }
}
