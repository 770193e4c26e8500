import ByteAccess
@testable import Checking
import TestSupport
import Testing

@Suite struct PolicyReadingTests {
    private func refusal(_ text: String) -> PeftfileError? {
        do {
            _ = try CheckPolicy(LocatedDocument(Array(text.utf8), file: "p"))
            return nil
        } catch { return error as? PeftfileError }
    }

    /// Values of every wrong kind for every key; YAML and JSON say the same.
    @Test(arguments: ["rules", "dtypes", "max-rank", "max-size", "bases", "metadata", "ignore"])
    func valuesOfAnotherKindAreErrors(_ key: String) {
        let wrong = [
            "rules": ["1", "\"off\"", "[]", "null", "true", "{\"nonfinite\": false}", "{\"nonfinite\": null}", "{\"nonfinite\": \"Error\"}"],
            "dtypes": ["\"F32\"", "{}", "[]", "[1]", "[\"F33\"]", "null"],
            "max-rank": ["0", "-1", "1.5", "\"8\"", "[8]", "null", "1e3", "99999999999999999999"],
            "max-size": ["0", "-5", "\"0MB\"", "\"many\"", "\"5 parsecs\"", "1.5", "null", "[]", "\"99999999TB\""],
            "bases": ["\"a\"", "[]", "[1]", "[\"\"]", "null", "{}"],
            "metadata": ["\"format\"", "[]", "[1]", "{\"format\": 1}", "null", "{\"format\": [\"pt\"]}"],
            "ignore": [
                "{}", "[]", "[1]", "[{}]", "null", "[{\"rule\": \"nonfinite\", \"reason\": \"\", \"expires\": \"2026-01-01\"}]",
                "[{\"rule\": \"nonfinite\", \"reason\": \"x\", \"expires\": 2026}]",
                "[{\"rule\": \"nonfinite\", \"reason\": 5, \"expires\": \"2026-01-01\"}]",
                "[{\"rule\": \"nonfinite\", \"reason\": \"x\", \"expires\": \"2026-01-01\", \"path\": []}]",
            ],
        ]
        for value in wrong[key] ?? [] {
            let json = refusal("{\n\"\(key)\": \(value)\n}")
            #expect(json?.rule == "PolicyValue" && json?.message.hasPrefix("line 2: ") == true, "\(key): \(value)")
            let yaml = refusal("# comment\n\(key): \(value)\n")
            #expect(yaml?.rule == "PolicyValue" && yaml?.message == json?.message, "\(key): \(value)")
        }
    }

    @Test func aFileWithoutAPolicyIsAnError() {
        for text in ["", "# nothing\n", "[]", "- max-rank: 8\n", "max-rank\n", "null"] {
            #expect(refusal(text)?.rule == "PolicyValue", "\(text)")
        }
        #expect(refusal("{}") == nil)
    }

    @Test func unknownKeysSayWhichThereAre() {
        #expect(refusal("max_rank: 8")?.message == "line 1: \"max_rank\" is no key here")
        #expect(refusal("max_rank: 8")?.help == "one of rules, dtypes, max-rank, max-size, bases, metadata, ignore")
        let ignore = "ignore:\n  - rule: untrained\n    reason: x\n    until: 2026-01-01\n"
        #expect(refusal(ignore)?.message == "line 4: \"until\" is no key here")
        #expect(refusal("\"a\\e[31mb\": 8")?.message.contains("\u{1B}") == false)
    }

    @Test func sizesHaveUnits() throws {
        for (text, bytes) in [("1000", 1000), ("200MB", 200_000_000), ("200 MB", 200_000_000), ("1.5GiB", 1_610_612_736), ("\"7\"", 7)] as [(String, UInt64)] {
            #expect(try CheckPolicy(LocatedDocument(Array("max-size: \(text)".utf8))).maximumSize == bytes)
        }
    }

    /// Bytes of any kind are read or refused, and nothing else.
    @Test func mutationsDoNotCrash() throws {
        let page = try #require(PolicyPageTests.examples.first?.text)
        var generator = SplitMix64(seed: 7)
        for _ in 0..<2000 {
            var bytes = Array(page.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            do { _ = try CheckPolicy(LocatedDocument(bytes, file: "p")) } catch { #expect(error is PeftfileError) }
        }
    }
}
