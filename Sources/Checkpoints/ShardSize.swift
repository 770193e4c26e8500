import ByteAccess

/// A shard size as people type it.
public enum ShardSize {
    /// The bytes that `text` means: "5GB", "1.5GB", "500MB", "2GiB", "4096".
    ///
    /// KB, MB, GB and TB are powers of 1000, as in transformers and huggingface_hub; KiB, MiB, GiB and TiB powers of
    /// 1024; a bare number is bytes. Case does not matter. A fraction of a byte is dropped. Throws code `usage` for
    /// other text, for a bare B, which some tools take for billions of parameters, and for 0.
    public static func bytes(_ text: String) throws -> UInt64 {
        let lowered = text.lowercased()
        let units: [(suffix: String, bytes: UInt64)] = [
            ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40), ("kb", 1000), ("mb", 1_000_000),
            ("gb", 1_000_000_000), ("tb", 1_000_000_000_000), ("", 1),
        ]
        for unit in units where lowered.hasSuffix(unit.suffix) {
            let number = lowered.dropLast(unit.suffix.utf8.count)
            guard !number.isEmpty, number.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }) else { break }
            if unit.bytes == 1 || !number.utf8.contains(0x2E), let whole = UInt64(number) {
                let (bytes, overflow) = whole.multipliedReportingOverflow(by: unit.bytes)
                if overflow || bytes == 0 { break }
                return bytes
            }
            // Below 2^63 every whole part of a float64 product converts exactly.
            guard unit.bytes > 1, let value = Double(number), value * Double(unit.bytes) >= 1,
                value * Double(unit.bytes) < 0x1p63
            else { break }
            return UInt64(value * Double(unit.bytes))
        }
        throw PeftfileError(
            .usage, "\"\(text)\" is no shard size",
            help: "write a number with KB, MB, GB, TB, KiB, MiB, GiB or TiB: 5GB")
    }
}
