import Peftfile
import TestSupport
import Testing

/// Broken ties: the merged file holds every parameter that transformers' own file has with `tie_word_embeddings` false
/// (`Fixtures/names/untied.json`), since a loader makes new what it does not find.
@Suite struct UntiedTests {
    private static let cases: [JSONValue] = {
        guard let bytes = try? TestFile.bytes(Fixtures.path("names/untied.json")) else { return [] }
        return (try? JSONValue.parse(bytes, file: "untied.json")["cases"]?.arrayValue) ?? []
    }()

    @Test func theFixtureIsThere() { #expect(Self.cases.count == 37) }

    @Test(arguments: 0..<37) func everyParameterIsWritten(_ index: Int) throws {
        let item = Self.cases[index]
        let (name, head) = (item["case"]?.stringValue ?? "", try #require(item["head"]?.stringValue))
        func shapes(_ key: ExactString) -> [(ExactString, Shape)] {
            (item[key]?.objectValue?.members ?? []).map { ($0.key, ($0.value.arrayValue ?? []).compactMap(\.intValue)) }
        }
        let model = try SmallModel()
        let (tied, added) = (shapes("tied"), shapes("added"))
        try model.base(tied.enumerated().map { SmallModel.tensor($1.0, $1.1, seed: $0 + 1) })
        try model.directory.write(try #require(item["config"]).serialized(), to: "base/config.json")
        let shape = try #require(added.first { $0.0.text == head + ".weight" }?.1)
        try model.adapter(
            [
                SmallModel.tensor(ExactString("\(head).lora_A.weight"), [2, shape[1]], seed: 50),
                SmallModel.tensor(ExactString("\(head).lora_B.weight"), [shape[0], 2], seed: 51),
            ])
        func path(_ name: String) -> String { model.directory.path(name) }
        let merge = try Tool.run(["merge", path("base"), path("adapter"), "-o", path("out")])
        #expect(merge.status == 0, "\(name): \(merge.errors)")
        let (before, after) = (try Checkpoint.open(path("base")), try Checkpoint.open(path("out")))
        // A file with LLaVA's names has the head under the language model's, where every version looks.
        let names = Set(after.tensors.map { $0.name.text == "language_model.lm_head.weight" ? "lm_head.weight" : $0.name })
        #expect(names == Set((tied + added).map(\.0)), "\(name)")
        // All but the head are the same numbers as a tensor of the base.
        for (partner, shape) in added where partner.text != head + ".weight" {
            let numbers = try after.numbers(partner)
            #expect(
                try before.tensors.contains { try $0.shape == shape && before.numbers($0.name) == numbers }, "\(name): \(partner)")
        }
        for (tensor, _) in tied { #expect(try after.numbers(tensor) == before.numbers(tensor), "\(name): \(tensor)") }
        #expect(after.config?["tie_word_embeddings"]?.boolValue == false)
        #expect(try Tool.run(["verify", path("out"), "--base", path("base"), "--adapter", path("adapter")]).status == 0, "\(name)")
    }
}
