/// numpy's `SeedSequence` (M. E. O'Neill, "Developing a seed_seq alternative"): a seed hashed into a pool of four 32-bit
/// words, and words drawn from the pool.
///
/// Source: `SeedSequence.mix_entropy`, `generate_state` in numpy/random/bit_generator.pyx.
struct SeedSequence {
    private var pool: [UInt32] = []
    private var constant: UInt32 = 0x43b0_d7e5

    /// - Parameter seed: a whole number; its 32-bit words are taken from the lowest on.
    init(seed: UInt64) {
        let words = [UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)]
        // Words beyond the seed's own are 0 either way.
        for index in 0..<4 { pool.append(hashed(index < words.count ? words[index] : 0)) }
        for source in 0..<4 {
            for target in 0..<4 where target != source {
                pool[target] = SeedSequence.mixed(pool[target], hashed(pool[source]))
            }
        }
    }

    private mutating func hashed(_ word: UInt32) -> UInt32 {
        let start = word ^ constant
        constant &*= 0x931e_8875
        let value = start &* constant
        return value ^ value >> 16
    }

    private static func mixed(_ a: UInt32, _ b: UInt32) -> UInt32 {
        let value = 0xca01_f9dd &* a &- 0x4973_f715 &* b
        return value ^ value >> 16
    }

    /// 64-bit words, of which the low half is drawn first.
    func words(_ count: Int) -> [UInt64] {
        var constant: UInt32 = 0x8b51_f9dd
        let halves = (0..<(2 * count)).map { index -> UInt64 in
            var word = pool[index % 4] ^ constant
            constant &*= 0x58f3_8ded
            word &*= constant
            return UInt64(word ^ word >> 16)
        }
        return (0..<count).map { halves[2 * $0] | halves[2 * $0 + 1] << 32 }
    }
}
