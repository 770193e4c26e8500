/// Finds the first byte that is not part of well-formed UTF-8.
public enum UTF8Validation {
    /// The index of the first byte of the first ill-formed sequence, or nil where all of `bytes` is well-formed.
    ///
    /// Well-formed means table 3-7 of the Unicode standard: no overlong forms, no surrogates (U+D800...U+DFFF), nothing
    /// above U+10FFFF, no sequence cut short. Plain ASCII is passed over eight bytes at a time.
    public static func firstInvalidByte(in bytes: UnsafeRawBufferPointer) -> Int? {
        let count = bytes.count
        var index = 0
        while index < count {
            // No byte of the eight has its top bit set: all ASCII.
            while index + 8 <= count,
                bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
            {
                index += 8
            }
            guard index < count else { return nil }
            let lead = bytes[index]
            if lead < 0x80 {
                index += 1
                continue
            }
            guard let length = sequenceLength(at: index, in: bytes) else { return index }
            index += length
        }
        return nil
    }

    /// The length of the well-formed multi-byte sequence at `index`, or nil where there is none.
    private static func sequenceLength(at index: Int, in bytes: UnsafeRawBufferPointer) -> Int? {
        let lead = bytes[index]
        // The second byte's range depends on the lead; it is what rules out overlong forms, surrogates and the planes
        // above 16. All later bytes are 80...BF.
        let length: Int
        let second: ClosedRange<UInt8>
        switch lead {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: return nil
        }
        guard index + length <= bytes.count, second.contains(bytes[index + 1]) else { return nil }
        for position in (index + 2)..<(index + length) where bytes[position] & 0xC0 != 0x80 { return nil }
        return length
    }
}
