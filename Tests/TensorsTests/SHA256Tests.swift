import TestSupport
import Testing
@testable import Tensors

@Suite struct SHA256Tests {
    func hex(_ text: String, by path: KernelPath) -> String {
        var hash = SHA256(by: path)
        hash.update(Array(text.utf8))
        return SHA256.hex(hash.finalize())
    }

    @Test("the examples of FIPS 180-4", arguments: KernelPath.available)
    func examples(path: KernelPath) {
        #expect(hex("", by: path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hex("abc", by: path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", by: path)
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            hex(
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                by: path) == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1")
    }

    @Test("a million times a", arguments: KernelPath.available)
    func million(path: KernelPath) {
        var hash = SHA256(by: path)
        let part = [UInt8](repeating: UInt8(ascii: "a"), count: 8000)
        for _ in 0..<125 { hash.update(part) }
        #expect(
            SHA256.hex(hash.finalize()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test("the cuts between calls make no difference, and all forms agree")
    func cuts() {
        var random = SplitMix64(seed: 1)
        let bytes = (0..<700).map { _ in UInt8(truncatingIfNeeded: random.next() >> 5) }
        for length in 0...260 {
            let whole = Array(bytes[..<length])
            var reference = SHA256(by: .generic)
            reference.update(whole)
            let expected = reference.finalize()
            for path in KernelPath.available {
                var hash = SHA256(by: path)
                var rest = whole[...]
                while !rest.isEmpty {
                    let taken = Int.random(in: 0...min(rest.count, 150), using: &random)
                    hash.update(Array(rest.prefix(taken)))
                    rest = rest.dropFirst(taken)
                }
                #expect(hash.finalize() == expected)
            }
        }
    }

    @Test("taking the digest does not disturb the running hash, and a copy goes its own way")
    func forks() {
        var hash = SHA256()
        hash.update(Array("ab".utf8))
        let early = hash.finalize()
        var copy = hash
        copy.update(Array("x".utf8))
        hash.update(Array("c".utf8))
        #expect(hash.finalize() == SHA256.hash(Array("abc".utf8)))
        #expect(copy.finalize() == SHA256.hash(Array("abx".utf8)))
        #expect(early == SHA256.hash(Array("ab".utf8)))
        #expect(SHA256.hex([0x00, 0x0F, 0xA0]) == "000fa0")
    }
}
