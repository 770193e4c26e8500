/// The pseudo-random signs of probe vectors: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), so that every run and every
/// machine uses the same vectors. The seed is the FNV-1a hash of the tensor's name, so tensors differ.
struct ProbeGenerator {
    private var state: UInt64

    /// - Parameter name: the tensor's name as UTF-8.
    init(name: String) {
        state = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// `count` numbers, each +1 or −1.
    mutating func signs(_ count: Int) -> [Double] {
        var bits: UInt64 = 0
        return (0..<count).map { index in
            if index % 64 == 0 { bits = next() }
            defer { bits >>= 1 }
            return bits & 1 == 0 ? 1 : -1
        }
    }
}
