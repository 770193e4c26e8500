import Peftfile
import TestSupport
import Testing

/// One case of Fixtures/dialects: a base, an adapter that another library wrote, and the expected result.
struct DialectCase {
    static let names = ((try? FileSystem.list(Fixtures.path("dialects"))) ?? []).filter { $0 != "index.json" && !$0.hasSuffix(".py") }

    let name: String
    private let file: JSONValue

    init(_ name: String) throws {
        self.name = name
        file = try JSONValue.parse(TestFile.bytes(Fixtures.path("dialects/\(name)/case.json")), file: name)
    }

    /// `kohya`, `lycoris lora`, `diffusers-old`: the dialect is the first word.
    var dialect: String { file["dialect"]?.stringValue ?? "" }
    var changed: Set<String> { Set((file["changed"]?.arrayValue ?? []).compactMap(\.stringValue)) }

    func binding() throws -> Binding {
        try Binding(
            base: Checkpoint.open(Fixtures.path("dialects/\(name)/base")),
            adapters: [Adapter(path: Fixtures.path("dialects/\(name)/adapter"))])
    }
}

/// Adapters of other libraries, merged onto bases of theirs and compared with the values that they should give.
@Suite struct DialectFixtureTests {
    @Test func allCasesAreThere() {
        #expect(DialectCase.names.count == 28)
    }

    @Test(arguments: DialectCase.names) func mergesAndVerifies(_ name: String) throws {
        let dialect = try DialectCase(name)
        let directory = try TemporaryDirectory()
        let binding = try dialect.binding()
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let expected = try Checkpoint.open(Fixtures.path("dialects/\(name)/expected/merged.safetensors"))
        let base = try Checkpoint.open(Fixtures.path("dialects/\(name)/base"))
        #expect(Set(result.tensors.map(\.name)) == Set(expected.tensors.map(\.name)))
        var changed: Set<String> = []
        for tensor in result.tensors {
            let wanted = try #require(expected[tensor.name])
            #expect(wanted.dtype == tensor.dtype && wanted.shape == tensor.shape)
            // All of them are a float64 computation rounded once, and so are ours: the bytes are the same.
            #expect(try result.read(tensor) == expected.read(wanted), "\(tensor.name)")
            let original = try #require(base[tensor.name])
            if try base.read(original) != result.read(tensor) { changed.insert(tensor.name.text) }
        }
        #expect(changed == dialect.changed)
        let report = try Verifier(binding: binding, result: result).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
    }

    @Test(arguments: DialectCase.names) func inspectNamesDialectMethodAndScale(_ name: String) throws {
        let dialect = try DialectCase(name)
        let inspection = try Inspection(path: Fixtures.path("dialects/\(name)/adapter"))
        let family = String(dialect.dialect.split(separator: " ")[0].split(separator: "-")[0])
        #expect(inspection.dialect == family)
        #expect(inspection.kind == .adapter)
        #expect(inspection.unclaimed.isEmpty)
        #expect(!inspection.targets.isEmpty)
        #expect(inspection.targets.allSatisfy { $0.rank != nil && $0.scale != nil })
    }

    @Test func componentsThatTheBaseIsNotAreListed() throws {
        let binding = try DialectCase("kohya-lora-with-te").binding()
        let left = Set(binding.leftOut.map(\.tensor.text))
        #expect(left == [
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
            "lora_te_text_model_encoder_layers_0_self_attn_v_proj.lora_down.weight",
            "lora_te_text_model_encoder_layers_0_self_attn_v_proj.lora_up.weight",
        ])
        #expect(Set(binding.leftOut.map(\.component)) == ["lora_te"])
        let warning = try #require(binding.warnings.first { $0.contains("left out") })
        #expect(warning.contains("lora_te_text_model_encoder_layers_0_self_attn_v_proj"))
        let directory = try TemporaryDirectory()
        let receipt = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        #expect(receipt.document(target: "out")["predicate"]?["left_out"]?.arrayValue?.count == 4)
    }
}
