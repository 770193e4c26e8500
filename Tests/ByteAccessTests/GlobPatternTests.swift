import ByteAccess
import TestSupport
import Testing

/// Shell patterns against a plain recursive matcher and against what CPython's `fnmatch.fnmatchcase` says.
@Suite struct GlobPatternTests {
    @Test(arguments: [
        ("*", "", true), ("*", "a.b", true), ("", "", true), ("", "a", false), ("?", "", false), ("?", "é", true),
        ("model.*.weight", "model.layers.0.q.weight", true), ("model.*.weight", "model.weight", false),
        ("*.layers.[0-3].*", "m.layers.2.x", true), ("*.layers.[0-3].*", "m.layers.12.x", false),
        ("[!a]", "b", true), ("[!a]", "a", false), ("[]]", "]", true), ("[]", "[]", true), ("[a", "[a", true),
        ("[z-a]", "m", false), ("[a-]", "-", true), ("[!]]", "a", true), ("*a*b", "xaxxbxb", true),
        ("lora_?.weight", "lora_A.weight", true), ("a", "A", false), ("**", "x", true), ("a**", "ab", true),
    ])
    func matchesAsFnmatchDoes(_ pattern: String, _ name: String, _ wanted: Bool) {
        #expect(GlobPattern(pattern).matches(name) == wanted)
    }

    /// The definition, without sets.
    static func plain(_ pattern: ArraySlice<Character>, _ name: ArraySlice<Character>) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        if first == "*" { return name.indices.contains { plain(pattern.dropFirst(), name[$0...]) } || plain(pattern.dropFirst(), []) }
        guard let letter = name.first else { return false }
        return (first == "?" || first == letter) && plain(pattern.dropFirst(), name.dropFirst())
    }

    @Test func agreesWithTheDefinition() {
        var random = SplitMix64(seed: 11)
        var matched = 0
        for _ in 0..<20_000 {
            let pattern = (0..<Int.random(in: 0...6, using: &random)).map { _ in "ab*?".randomElement(using: &random)! }
            let name = (0..<Int.random(in: 0...8, using: &random)).map { _ in "ab".randomElement(using: &random)! }
            let result = GlobPattern(String(pattern)).matches(String(name))
            #expect(result == Self.plain(pattern[...], name[...]), "\(String(pattern)) \(String(name))")
            if result { matched += 1 }
        }
        #expect(matched > 1000 && matched < 19_000)
    }

    @Test func manyStarsDoNotTakeForever() {
        let name = String(repeating: "a", count: 20_000)
        let seconds = ThreadTime.seconds {
            #expect(!GlobPattern(String(repeating: "*a", count: 30) + "*b").matches(name))
        }
        #expect(seconds < 5)
    }
}
