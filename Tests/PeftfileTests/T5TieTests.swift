import Peftfile
import TestSupport
import Testing

/// Copies of T5's embedding and head in `modules_to_save`. The embedding has three names in the model and one in its files, and the head is tied to
/// it; what PEFT and transformers 5.24 make of them was recorded (`Fixtures/projections/lora-saved-t5-*`).
@Suite struct T5TieTests {
    private typealias T = SmallModel

    /// The tensors are those of `save_pretrained`, and the keys of its config that say how the head is read.
    @Test(arguments: ["head", "shared"]) func filesAreThoseOfTransformers(_ name: String) throws {
        let merge = try MergeCase("lora-saved-t5-\(name)", in: "projections")
        let directory = try TemporaryDirectory()
        let result = try Tool.run(["merge", merge.base, merge.adapter, "-o", directory.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Set(Checkpoint.open(directory.path("out")).tensors.map(\.name)) == Set(merge.expected().tensors.map(\.name)))
        func config(_ path: String) throws -> JSONValue { try JSONValue.parse(TestFile.bytes(path), file: path) }
        let (own, theirs) = try (config(directory.path("out/config.json")), config(merge.base + "/../expected/config.json"))
        for key in ["tie_word_embeddings", "scale_decoder_outputs"] as [ExactString] {
            #expect(own[key]?.boolValue == theirs[key]?.boolValue, "\(key)")
        }
        #expect(own["tie_word_embeddings"]?.boolValue == false && own["scale_decoder_outputs"]?.boolValue == true)
    }

    private let q = [
        T.tensor("encoder.block.0.layer.0.SelfAttention.q.lora_A.weight", [2, 4], seed: 1),
        T.tensor("encoder.block.0.layer.0.SelfAttention.q.lora_B.weight", [4, 2], seed: 2),
    ]

    private func model(_ type: String, copies: [(name: String, seed: Int)], config: String = "") throws -> SmallModel {
        let model = try SmallModel()
        try model.base(
            [T.tensor("shared.weight", [6, 4], seed: 3), T.tensor("encoder.block.0.layer.0.SelfAttention.q.weight", [4, 4], seed: 4)],
            config: #"{"model_type": "\#(type)", "architectures": ["T5ForConditionalGeneration"]\#(config)}"#)
        let names = copies.map { "\"\($0.name)\"" }.joined(separator: ", ")
        try model.adapter(
            q + copies.map { T.tensor(ExactString("\($0.name).weight"), [6, 4], seed: $0.seed) },
            config: #""target_modules": ["q"], "modules_to_save": [\#(names)]"#)
        return model
    }

    private func keeping() -> BindingOptions { BindingOptions(tie: .keep) }

    /// The model reads the embedding under the names of its encoder and its decoder: like copies of them are the embedding, and the head stays.
    @Test func copiesUnderTheNamesThatAreReadAreTheEmbedding() throws {
        let model = try model("t5", copies: [("encoder.embed_tokens", 8), ("decoder.embed_tokens", 8)])
        let merged = try model.merged()
        #expect(Set(merged.tensors.map(\.name.text)) == ["shared.weight", "lm_head.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"])
        #expect(try merged.numbers("shared.weight") == SmallTensor.numbers(24, seed: 8))
        #expect(try merged.numbers("lm_head.weight") == SmallTensor.numbers(24, seed: 3))
    }

    /// A copy for all names: the tie stays, and so does the config.
    @Test func copiesOfAllNamesKeepTheTie() throws {
        let model = try model("t5", copies: ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"].map { ($0, 8) })
        let merged = try model.merged()
        #expect(Set(merged.tensors.map(\.name.text)) == ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"])
        #expect(try merged.numbers("shared.weight") == SmallTensor.numbers(24, seed: 8))
    }

    /// A model whose scale goes by the tie cannot have it broken; one copy may stand for all where that is asked for.
    @Test(arguments: ["shared", "lm_head"]) func oneCopyMayStandForAll(_ name: String) throws {
        let model = try model("longt5", copies: [(name, 8)])
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "TiedEmbeddings" && error?.help?.contains("--tie keep") == true, "\(error as Any)")
        let merged = try model.merged(options: keeping())
        #expect(Set(merged.tensors.map(\.name.text)) == ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"])
        #expect(try merged.numbers("shared.weight") == SmallTensor.numbers(24, seed: 8))
    }

    /// No option is named that leads back: two different copies of one module are in no file of this model.
    @Test(arguments: ["t5", "longt5"]) func differentCopiesAreRefusedForGood(_ type: String) throws {
        let model = try model(type, copies: [("encoder.embed_tokens", 8), ("decoder.embed_tokens", 9)])
        for options in [BindingOptions(), keeping()] {
            let error = #expect(throws: PeftfileError.self) { _ = try model.binding(options: options) }
            #expect(error?.rule == "TiedEmbeddings" && error?.help?.contains("--tie") == false, "\(error as Any)")
        }
    }

    /// The config's own word on the scale stays, and `tie_word_embeddings` decides where it has none.
    @Test(arguments: [("", true), (#", "scale_decoder_outputs": false"#, false), (#", "tie_word_embeddings": true"#, true)])
    func theScaleStays(_ config: String, _ isScaled: Bool) throws {
        let model = try model("t5", copies: [("lm_head", 8)], config: config)
        let result = try Tool.run(["merge", model.directory.path("base"), model.directory.path("adapter"), "-o", model.directory.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        let own = try JSONValue.parse(TestFile.bytes(model.directory.path("out/config.json")), file: "config.json")
        #expect(own["scale_decoder_outputs"]?.boolValue == isScaled && own["tie_word_embeddings"]?.boolValue == false)
        #expect(try Checkpoint.open(model.directory.path("out")).numbers("lm_head.weight") == SmallTensor.numbers(24, seed: 8))
    }
}
