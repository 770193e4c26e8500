import ByteAccess
@testable import Checking
import Tensors
import TestSupport
import Testing

/// `Formats/check-policy.md` against the reader: each example is read or refused as the page says.
@Suite struct PolicyPageTests {
    struct Example: Sendable, CustomTestStringConvertible {
        /// Behind the language: `accept`, or `reject`, a rule and a line.
        var words: [String]
        var text: String
        var number: Int
        var testDescription: String { "\(words.joined(separator: " ")), line \(number) of the page" }
    }

    static let text = (try? TestFile.text(Fixtures.format("check-policy.md"))) ?? ""

    static let examples: [Example] = {
        var result: [Example] = []
        var open: (words: [String], lines: [Substring], number: Int)?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if let block = open {
                guard line == "```" else {
                    open?.lines.append(line)
                    continue
                }
                result.append(Example(words: block.words, text: block.lines.joined(separator: "\n"), number: block.number))
                open = nil
            } else if line.hasPrefix("```yaml ") || line.hasPrefix("```json ") {
                open = (line.dropFirst(8).split(separator: " ").map(String.init), [], number + 1)
            }
        }
        return result
    }()

    @Test func bothKindsAreThere() {
        #expect(Self.examples.count { $0.words == ["accept"] } >= 2)
        #expect(Self.examples.count { $0.words.first == "reject" } >= 9)
    }

    @Test(arguments: examples) func isReadAsThePageSays(_ example: Example) throws {
        let file = "policy"
        do {
            _ = try CheckPolicy(LocatedDocument(Array(example.text.utf8), file: file))
            #expect(example.words == ["accept"])
        } catch let error as PeftfileError {
            #expect(example.words == ["reject", error.rule ?? "", String(error.message.prefix { $0 != ":" }.dropFirst(5))])
            #expect(error.message.hasPrefix("line ") && error.file == file)
        }
    }

    @Test func theFirstExampleIsUnderstood() throws {
        let policy = try CheckPolicy(LocatedDocument(Array(try #require(Self.examples.first).text.utf8)))
        #expect(
            policy.levels == [
                "suspicious-scale": .severity(.error), "unknown-config-key": .off, "readme-missing": .severity(.error),
                "license-missing": .severity(.warning),
            ])
        #expect(policy.dtypes == [.f32, .bf16] && policy.maximumRank == 64 && policy.maximumSize == 200_000_000)
        #expect(policy.bases?.map(\.text) == ["meta-llama/Llama-3.1-8B", "mistralai/*"])
        #expect(policy.metadata == [.init(key: "format", value: nil)])
        let ignore = try #require(policy.ignores.first)
        #expect(ignore.rule == "untrained" && ignore.path?.text == "adapters/legacy*" && ignore.tensor?.text == "*.layers.0.*")
        #expect(ignore.expires == CalendarDate("2026-12-31") && ignore.reason.hasSuffix("ticket 4711") && ignore.line == 13)
    }

    /// Every key stands in the table, and the rules that need a key with it.
    @Test func everyKeyStandsOnThePage() {
        for (rule, key) in CheckPolicy.limits {
            let row = Self.text.split(separator: "\n").first { $0.hasPrefix("| `\(key)` |") }
            #expect(row?.contains("`\(rule)`") == true, "\(rule)")
            #expect(RuleRegistry.rule(rule)?.needs.contains(.policy) == true, "\(rule)")
        }
        for name in ["PolicyKey", "PolicyRule", "PolicyValue", "InvalidBaseline"] { #expect(Self.text.contains("**\(name)**")) }
    }
}
