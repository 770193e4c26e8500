import ByteAccess
import Checkpoints
import Containers
import Tensors
import TestSupport
import Testing

/// `Formats/safetensors.md` and `Formats/safetensors-index.md` against the readers.
@Suite struct SafetensorsPageTests {
    let header: FormatPage
    let index: FormatPage
    init() throws {
        header = try FormatPage("safetensors.md")
        index = try FormatPage("safetensors-index.md")
    }

    @Test func theHeadersReadAsThePageSays() throws {
        #expect(header.examples.count >= 15)
        for example in header.examples {
            #expect(example.kind == "safetensors-header" && (example.isAccepted || example.isRejected), "\(example)")
            let json = Array(example.text.utf8)
            do {
                let read = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
                #expect(example.isAccepted, "\(example)")
                // With its tensors behind it, the file opens.
                let directory = try TemporaryDirectory()
                let length = (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) }
                let end = read.tensors.last.map { Int($0.end) } ?? 8 + json.count
                let path = try directory.write(
                    length + json + [UInt8](repeating: 0, count: end - 8 - json.count), to: "file")
                #expect(throws: Never.self, "\(example)") { try SafetensorsFile.open(path) }
            } catch let error as PeftfileError {
                #expect(error.rule == example.rule, "\(example): \(error)")
            }
        }
    }

    @Test func theIndexesReadAsThePageSays() throws {
        #expect(index.examples.count >= 6)
        for example in index.examples {
            #expect(example.kind == "safetensors-index" && (example.isAccepted || example.isRejected), "\(example)")
            do {
                _ = try ShardIndex.parse(Array(example.text.utf8))
                #expect(example.isAccepted, "\(example)")
            } catch let error as PeftfileError {
                #expect(error.rule == example.rule, "\(example): \(error)")
            }
        }
    }

    @Test func theFirstIndexIsWhatTheWriterEmits() throws {
        let plan = try ShardPlanner(
            tensors: [("b", .f32, [2]), ("a", .bf16, [2, 2]), ("c", .u8, [])], maxShardBytes: 8)
        #expect(plan.indexText == index.examples[0].text + "\n")
    }

    @Test func everyRuleStandsOnItsPage() {
        for rule in SafetensorsRule.allCases { #expect(header.names(rule.rawValue), "\(rule.rawValue)") }
        for rule in IndexRule.allCases { #expect(index.names(rule.rawValue), "\(rule.rawValue)") }
        for rule in ForeignFile.rules + ["UnknownContainer"] { #expect(header.names(rule), "\(rule)") }
    }

    @Test func theRulesStandInTheOrderOfEvaluation() {
        let known = Set(SafetensorsRule.allCases.map(\.rawValue))
        var named: [String] = []
        for name in header.boldNames where known.contains(name) && !named.contains(name) { named.append(name) }
        #expect(named == SafetensorsRule.allCases.map(\.rawValue))
        let knownOfIndex = Set(IndexRule.allCases.map(\.rawValue))
        #expect(index.boldNames.filter(knownOfIndex.contains) == IndexRule.allCases.map(\.rawValue))
    }

    @Test func everyDTypeStandsOnThePageUnderItsBits() {
        for dtype in DType.allCases {
            let row = header.text.split(separator: "\n").first {
                $0.contains("`\(dtype.rawValue)`") && $0.hasPrefix("| \(dtype.bits) |")
            }
            #expect(row != nil, "\(dtype.rawValue)")
        }
    }
}
