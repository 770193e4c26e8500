import ByteAccess

/// The name that git gives a file's content: the SHA-1 of `blob SIZE`, a NUL and the bytes.
///
/// The Hub's cache names small files by it. SHA-1 no longer withstands somebody who makes two files with one hash on purpose; it is
/// computed here because it is the name that was given, and it tells damage as well as ever.
///
/// Source: FIPS 180-4, section 6.1; git's Documentation/gitformat-loose and `hash_object_file` in object-file.c.
struct GitObjectName {
    private var state: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
    /// Bytes that do not fill a block of 64 yet.
    private var rest: [UInt8] = []
    private var count: UInt64 = 0
    private var schedule = [UInt32](repeating: 0, count: 80)

    /// The name of a content of `size` bytes, which follow.
    init(size: UInt64) { update(Array("blob \(size)\0".utf8)) }

    mutating func update(_ bytes: [UInt8]) {
        count += UInt64(bytes.count)
        rest += bytes
        let whole = rest.count / 64 * 64
        rest.withUnsafeBytes { buffer in
            for start in stride(from: 0, to: whole, by: 64) { add(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + 64)])) }
        }
        rest.removeFirst(whole)
    }

    /// The 20 bytes of the name.
    mutating func finalize() -> [UInt8] {
        let bits = count * 8
        let zeros = (119 - rest.count % 64) % 64
        update([0x80] + [UInt8](repeating: 0, count: zeros) + (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) })
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) } }
    }

    private mutating func add(_ block: UnsafeRawBufferPointer) {
        for index in 0..<16 { schedule[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)) }
        for index in 16..<80 {
            let word = schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14] ^ schedule[index - 16]
            schedule[index] = word << 1 | word >> 31
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for index in 0..<80 {
            let (mixed, constant): (UInt32, UInt32) =
                switch index / 20 {
                case 0: (b & c | ~b & d, 0x5A82_7999)
                case 1: (b ^ c ^ d, 0x6ED9_EBA1)
                case 2: (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            let next = (a << 5 | a >> 27) &+ mixed &+ e &+ constant &+ schedule[index]
            (e, d, c, b, a) = (d, c, b << 30 | b >> 2, a, next)
        }
        for (index, word) in [a, b, c, d, e].enumerated() { state[index] &+= word }
    }
}
