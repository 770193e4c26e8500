/// MT19937, the 32-bit Mersenne Twister (Matsumoto and Nishimura, ACM TOMACS 8 (1998) 3), as torch's CPU generator
/// holds it.
///
/// The state is 624 words. Word 0 is the low half of the seed, word j is `1812433253·(w ⊕ w >> 30) + j` with w the word
/// before it. Source: `mt19937` in aten/src/ATen/core/MT19937RNGEngine.h.
struct MersenneTwister {
    private static let size = 624
    private static let shift = 397

    private var state: [UInt32]
    private var next: Int

    /// - Parameter seed: what `manual_seed` is given; the high half has no part in the state.
    init(seed: UInt64) {
        var word = UInt32(truncatingIfNeeded: seed)
        state = [word]
        state.reserveCapacity(Self.size)
        for index in 1..<UInt32(Self.size) {
            word = 1_812_433_253 &* (word ^ word >> 30) &+ index
            state.append(word)
        }
        next = Self.size
    }

    /// The next 32 bits.
    mutating func random() -> UInt32 {
        if next == Self.size { renew() }
        var bits = state[next]
        next += 1
        bits ^= bits >> 11
        bits ^= bits << 7 & 0x9d2c_5680
        bits ^= bits << 15 & 0xefc6_0000
        return bits ^ bits >> 18
    }

    /// 64 bits: the first 32 drawn are the high half.
    mutating func random64() -> UInt64 {
        let high = UInt64(random())
        return high << 32 | UInt64(random())
    }

    private mutating func renew() {
        state.withUnsafeMutableBufferPointer { state in
            // Every index is taken modulo the buffer's 624 words.
            for index in 0..<Self.size {
                let mixed = state[index] & 0x8000_0000 | state[(index + 1) % Self.size] & 0x7fff_ffff
                let twist: UInt32 = mixed & 1 == 0 ? 0 : 0x9908_b0df
                state[index] = state[(index + Self.shift) % Self.size] ^ mixed >> 1 ^ twist
            }
        }
        next = 0
    }
}
