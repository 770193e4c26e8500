import Adapters
import ByteAccess
import Checkpoints
import Rewriting
import TestSupport
import Testing

/// `Formats/receipt.md` against the receipts that merges write.
@Suite struct ReceiptPageTests {
    let page: FormatPage
    init() throws { page = try FormatPage("receipt.md") }

    /// Every key of a document with its path and the kind of its value, in file order; elements of a list count once.
    static func outline(_ value: JSONValue, _ path: String = "") -> [String] {
        switch value {
        case .null: ["\(path): null"]
        case .bool: ["\(path): bool"]
        case .number: ["\(path): number"]
        case .string: ["\(path): string"]
        case .array(let list): ["\(path): list"] + (list.first.map { outline($0, path + "[]") } ?? [])
        case .sequence: outline(.array(value.arrayValue ?? []), path)
        case .object(let object): object.members.flatMap { outline($0.value, "\(path).\($0.key.text)") }
        }
    }

    static func keys(_ value: JSONValue) -> Set<String> {
        switch value {
        case .array(let list): list.reduce(into: []) { $0.formUnion(keys($1)) }
        case .object(let object):
            object.members.reduce(into: []) { result, member in
                result.insert(member.key.text)
                result.formUnion(keys(member.value))
            }
        default: []
        }
    }

    static func merge(_ name: String, into directory: TemporaryDirectory) throws -> JSONValue {
        let target = directory.path(name)
        let binding = try Binding(
            base: .open(Fixtures.path("merge/\(name)/base")), adapters: [Adapter(path: Fixtures.path("merge/\(name)/adapter"))])
        _ = try PlanExecutor(plan: .merge(binding), target: target).run()
        let path = "\(target)/\(Receipt.fileName)"
        return try JSONValue.parse(TestFile.bytes(path), file: path)
    }

    @Test func theExampleHasTheFormOfARealOne() throws {
        let example = try #require(page.examples.first { $0.kind == "receipt" })
        let shown = try JSONValue.parse(Array(example.text.utf8), file: nil)
        let written = try Self.merge("lora-embedding-tied", into: TemporaryDirectory())
        #expect(Self.outline(shown) == Self.outline(written))
        for key in ["_type", "schema", "predicateType"] {
            #expect(shown[ExactString(key)] == written[ExactString(key)])
        }
        #expect(shown["predicate"]?["targets"] == written["predicate"]?["targets"])
        #expect(shown["predicate"]?["options"] == written["predicate"]?["options"])
        #expect(shown["predicate"]?["tensors"] == written["predicate"]?["tensors"])
    }

    @Test func theExampleIsReadBack() throws {
        let example = try #require(page.examples.first { $0.kind == "receipt" })
        let directory = try TemporaryDirectory()
        try directory.write(example.text, to: "merged.safetensors.receipt.json")
        let record = try MergeRecord(besides: directory.path("merged.safetensors"))
        #expect(record.base == "base" && record.adapters == ["adapter"])
        #expect(record.options == BindingOptions(weights: [1]))
    }

    @Test func everyKeyStandsOnThePage() throws {
        let directory = try TemporaryDirectory()
        let names = ["lora-embedding-tied", "lora-monteclora", "lora-pissa"]
        let tables = page.text.split(separator: "\n").filter { $0.hasPrefix("|") }.joined()
        let words = Set(tables.matches(of: /`([^`]+)`/).flatMap { $0.1.split { ".[]".contains($0) }.map(String.init) })
        for name in names {
            for key in Self.keys(try Self.merge(name, into: directory)) { #expect(words.contains(key), "\(key)") }
        }
        guard case .plan(let plan) = try StripPlan.make(PromptSource(path: Fixtures.path("strip/ptuning-mlp/unstripped")))
        else { throw TestSupportError("nothing to strip") }
        let strip = try StripExecutor(plan: plan, target: directory.path("stripped")).run()
        for key in Self.keys(strip.document) { #expect(words.contains(key), "\(key)") }
    }
}
