/// Little-endian bit fields in 32-bit words.
enum PackedBits {
    /// Field number `index` of the word number `word`: the lowest bits are field 0.
    static func field(_ words: UnsafeRawBufferPointer, _ index: Int, bits: Int, word: Int) -> UInt32 {
        let value = UInt32(littleEndian: words.loadUnaligned(fromByteOffset: word * 4, as: UInt32.self))
        return (value >> UInt32(index * bits)) & (UInt32(truncatingIfNeeded: (1 << bits) - 1))
    }

    /// Unpacks fields `from` to `from + count` of one bit stream; fields may lie across word borders.
    static func unpack(
        _ stream: UnsafeRawBufferPointer, bits: Int, from: Int, count: Int, into result: UnsafeMutablePointer<Double>
    ) {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        var index = 0
        switch bits {
        case 8:
            while index < count {
                result[index] = Double(stream[from + index])
                index += 1
            }
        case 4:
            if from % 2 == 1, index < count {
                result[0] = Double(stream[from / 2] >> 4)
                index = 1
            }
            while index + 1 < count {
                let byte = stream[(from + index) / 2]
                result[index] = Double(byte & 15)
                result[index + 1] = Double(byte >> 4)
                index += 2
            }
            if index < count { result[index] = Double(stream[(from + index) / 2] & 15) }
        default:
            while index < count {
                let bit = (from + index) * bits
                // A field of up to 8 bits lies in two bytes.
                let low = UInt32(stream[bit / 8])
                let high = bit / 8 + 1 < stream.count ? UInt32(stream[bit / 8 + 1]) : 0
                result[index] = Double(((high << 8 | low) >> UInt32(bit % 8)) & mask)
                index += 1
            }
        }
    }
}
