import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Names a level off: the truth is which names each class of transformers has in memory, as its modeling file says.
@Suite struct MisplacedNameTests {
    static func findings(
        _ fixture: String, base: String = "base", config: [String: Any] = [:], _ change: (String) -> String
    ) throws -> [Finding] {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/\(fixture)/adapter"), in: folder.path("adapter"))
        adapter.rename(change)
        adapter.config.merge(config) { _, new in new }
        try adapter.write()
        let base = try Checkpoint.open(base == "base" ? Fixtures.path("merge/\(fixture)/base") : base)
        return try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path).findings
            .filter { $0.rule == "prefix-misplaced" }
    }

    static func replacing(_ front: String, by other: String) -> (String) -> String {
        { $0.replacing("base_model.model.\(front)", with: "base_model.model.\(other)") }
    }

    /// LlamaForCausalLM has `model.layers` and nothing else.
    @Test(arguments: ["model.model.layers", "model.language_model.layers", "language_model.model.layers", "language_model.layers", "layers"],
        ["lora-linear-f32", "loha-linear", "ln-tuning", "vera"])
    func aLevelThatTheModelHasNotIsAnError(_ front: String, _ fixture: String) throws {
        let found = try Self.findings(fixture, Self.replacing("model.layers", by: front))
        #expect(found.map(\.severity) == [.error], "\(fixture) \(front)")
        #expect(found.first?.message.contains("\"model.layers.") == true, "\(found)")
        #expect(try Self.findings(fixture, { $0 }) == [])
    }

    /// One name of many.
    @Test func oneNameIsEnough() throws {
        for front in ["model.model.layers.0.mlp.down_proj", "layers.0.mlp.down_proj"] {
            let found = try Self.findings("lora-linear-f32", Self.replacing("model.layers.0.mlp.down_proj", by: front))
            #expect(found.map(\.severity) == [.error], "\(front)")
        }
    }

    /// `GPT2LMHeadModel` has `transformer.h`, whose files on the Hub have `h`; `GPT2Model` has `h`.
    @Test func filesOfTheBareModelDoNotDecide() throws {
        #expect(try Self.findings("arch-gpt2", { $0 }) == [])
        let bare = Self.replacing("transformer.h", by: "h")
        #expect(try Self.findings("arch-gpt2", bare).map(\.severity) == [.error])
        let mapping = ["base_model_class": "GPT2Model", "parent_library": "transformers.models.gpt2.modeling_gpt2"]
        #expect(try Self.findings("arch-gpt2", config: ["auto_mapping": mapping], bare) == [])
        #expect(try Self.findings("arch-gpt2", config: ["auto_mapping": mapping], { $0 }).map(\.severity) == [.error])
    }

    /// RobertaModel has `encoder.layer`, a class with a head `roberta.encoder.layer`.
    @Test func theClassOfTheConfigDecides() throws {
        let deeper = Self.replacing("encoder.", by: "roberta.encoder.")
        let head = ["base_model_class": "RobertaForMaskedLM", "parent_library": "transformers.models.roberta.modeling_roberta"]
        #expect(try Self.findings("arch-roberta_on_mlm", { $0 }) == [])
        #expect(try Self.findings("arch-roberta_on_mlm", config: ["auto_mapping": head], { $0 }).map(\.severity) == [.error])
        #expect(try Self.findings("arch-roberta_on_mlm", config: ["auto_mapping": head], deeper) == [])
        // Without a class the bare model may be meant; somebody's own class may have any names.
        #expect(try Self.findings("arch-roberta_on_mlm", config: ["auto_mapping": NSNull()], { $0 }).map(\.severity) == [.warning])
        #expect(try Self.findings("arch-roberta_on_mlm", config: ["auto_mapping": NSNull(), "task_type": "FEATURE_EXTRACTION"], { $0 }) == [])
        #expect(try Self.findings("arch-roberta_on_mlm", config: ["auto_mapping": NSNull(), "task_type": "SEQ_CLS"], { $0 }).map(\.severity) == [.error])
        let own = ["base_model_class": "Wrapper", "parent_library": "my_training"]
        let nested = Self.replacing("model.layers", by: "model.model.layers")
        #expect(try Self.findings("lora-linear-f32", config: ["auto_mapping": own], nested).map(\.severity) == [.warning])
    }

    /// A multimodal model's names differ between versions of transformers, and conversions know them all.
    @Test(arguments: ["model.language_model.", "language_model.model.", "model."])
    func aMultimodalModelHasHadSeveralNames(_ front: String) throws {
        let change: (String) -> String = { name in
            name.contains("language_model") ? name.replacing("base_model.model.model.language_model.", with: "base_model.model.\(front)") : name
        }
        #expect(try Self.findings("arch-llava", change) == [])
    }

    @Test func theCommandOfTheHelpMends() throws {
        let folder = try TemporaryDirectory()
        let base = Fixtures.path("merge/lora-linear-f32/base")
        var adapter = try AlteredAdapter(Fixtures.path("merge/lora-linear-f32/adapter"), in: folder.path("adapter"))
        adapter.rename(Self.replacing("model.layers", by: "model.model.layers"))
        try adapter.write()
        let check = Checker(options: CheckOptions(base: try Checkpoint.open(base), jobs: 2))
        let help = try #require(try check.check(adapter.path).findings.first { $0.rule == "prefix-misplaced" }?.help)
        let line = try #require(HelpCommandTests.command(help))
        #expect(try HelpCommandTests.shell(line, in: folder.path) == 0, "\(line)")
        let mended = try check.check(folder.path("converted"))
        #expect(mended.findings.filter { $0.severity == .error } == [])
        let own = try Checkpoint.open(Fixtures.path("merge/lora-linear-f32/adapter/adapter_model.safetensors"))
        let written = try Checkpoint.open(folder.path("converted/adapter_model.safetensors"))
        #expect(Set(written.tensors.map(\.info.name)) == Set(own.tensors.map(\.info.name)))
    }
}
