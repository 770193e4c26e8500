/// Little-endian bit fields in 32-bit words.
enum PackedBits {
    /// Field number `index` of the word number `word`: the lowest bits are field 0.
    static func field(_ words: UnsafeRawBufferPointer, _ index: Int, bits: Int, word: Int) -> UInt32 {
        let value = UInt32(littleEndian: words.loadUnaligned(fromByteOffset: word * 4, as: UInt32.self))
        return (value >> UInt32(index * bits)) & (UInt32(truncatingIfNeeded: (1 << bits) - 1))
    }
}
