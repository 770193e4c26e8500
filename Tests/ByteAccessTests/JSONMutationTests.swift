import ByteAccess
import Testing

/// Damaged JSON: the parser ends, and what it accepts it can write and read again.
@Suite struct JSONMutationTests {
    /// A generator with a fixed seed (SplitMix64), so that a failure comes back.
    struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    @Test func whatIsAcceptedComesBackTheSame() throws {
        let seed = Array(
            #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":[null,true,-1.5e-3,"\u00e9\n"]}"#
                .utf8)
        let pieces: [[UInt8]] = [
            "\"", "\\", "{", "}", "[", "]", ",", ":", "1", "-", "e", ".", "\\u", "\0", "null", " ",
        ].map {
            Array($0.utf8)
        }
        var random = Seeded(state: 20_240_611)
        var accepted = 0
        for _ in 0..<20_000 {
            var text = seed
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let index = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: text[index] = UInt8.random(in: .min ... .max, using: &random)
                case 1: text.remove(at: index)
                case 2: text.insert(contentsOf: pieces.randomElement(using: &random) ?? [], at: index)
                default: text.removeSubrange(index..<min(text.count, index + 5))
                }
                if text.isEmpty { text = [0x20] }
            }
            guard let value = try? JSONValue.parse(text) else { continue }
            accepted += 1
            let written = value.serialized(indent: 2)
            #expect(try JSONValue.parse(Array(written.utf8)) == value)
            #expect(try JSONValue.parse(Array(written.utf8)).serialized(indent: 2) == written)
        }
        #expect(accepted > 1000)
    }
}
