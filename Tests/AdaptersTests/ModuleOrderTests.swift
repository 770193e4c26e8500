import ByteAccess
import Testing

@testable import Adapters

/// The order of modules against `named_modules()` of transformers 5, written down for the models of these tests.
@Suite struct ModuleOrderTests {
    private func sorted(_ modelType: String, _ paths: [String], others: [String] = []) throws -> [String] {
        let base = BaseDirectory(
            tensors: (paths + others).map { (name: ExactString("\($0).weight"), shape: [4, 4]) }, modelType: modelType)
        return try ModuleOrder(base: base).sorted(paths.sorted().map { ExactString($0) }).map(\.text)
    }

    @Test func llama() throws {
        let layer = { (n: Int) in
            ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                "mlp.down_proj",
            ].map { "model.layers.\(n).\($0)" }
        }
        let expected = layer(0) + layer(2) + layer(10) + ["lm_head"]
        #expect(try sorted("llama", expected) == expected)
    }

    @Test func theOrderBesideAnOutProj() throws {
        let prefix = "model.decoder.layers.0"
        let expected = ["k_proj", "v_proj", "q_proj", "out_proj"].map { "\(prefix).self_attn.\($0)" } + ["\(prefix).fc1", "\(prefix).fc2"]
        #expect(try sorted("opt", expected) == expected)
        // The siblings need not be targets.
        #expect(
            try sorted("opt", [expected[0], expected[2]], others: [expected[1], expected[3]]) == [expected[0], expected[2]])
        let lfm = ["q_proj", "k_proj", "v_proj", "out_proj"].map { "model.layers.0.self_attn.\($0)" }
        #expect(try sorted("lfm2", lfm) == lfm)
    }

    @Test func gpt2AndT5() throws {
        let gpt = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"].map { "transformer.h.3.\($0)" }
        #expect(try sorted("gpt2", gpt) == gpt)
        let t5 = ["encoder.block.0.layer.0.SelfAttention.q", "encoder.block.0.layer.0.SelfAttention.o",
            "encoder.block.0.layer.1.DenseReluDense.wi_0", "encoder.block.0.layer.1.DenseReluDense.wo",
            "decoder.block.0.layer.0.SelfAttention.k", "decoder.block.0.layer.1.EncDecAttention.k",
        ]
        #expect(try sorted("t5", t5) == t5)
    }

    /// Heads behind the model; towers as the classes of transformers 5 make them, whatever the front on disk.
    @Test(arguments: [
        ("bert", ["bert.encoder.layer.0.attention.self.query", "classifier"]),
        ("llama", ["model.layers.0.mlp.up_proj", "score"]),
        ("distilbert", ["distilbert.transformer.layer.0.attention.q_lin", "pre_classifier", "classifier"]),
        ("roberta", ["roberta.encoder.layer.0.output.dense", "classifier.dense", "classifier.out_proj"]),
        ("llava", ["vision_tower.encoder.layers.0.mlp.fc1", "multi_modal_projector.linear_1", "language_model.model.layers.0.mlp.up_proj"]),
        ("llava", ["model.vision_tower.encoder.layers.0.mlp.fc1", "model.language_model.layers.0.mlp.up_proj", "lm_head"]),
        ("qwen2_5_vl", ["visual.blocks.0.attn.qkv", "model.layers.0.self_attn.q_proj", "lm_head"]),
        ("clip", ["text_model.encoder.layers.0.mlp.fc1", "vision_model.encoder.layers.0.mlp.fc1", "visual_projection", "text_projection"]),
        ("idefics3", ["model.vision_model.encoder.layers.0.mlp.fc1", "model.connector.modality_projection.proj", "model.text_model.layers.0.mlp.up_proj"]),
        ("voxtral", ["audio_tower.layers.0.fc1", "language_model.model.layers.0.mlp.up_proj", "multi_modal_projector.linear_1"]),
        ("qwen2_audio", ["audio_tower.layers.0.fc1", "multi_modal_projector.linear", "language_model.model.layers.0.mlp.up_proj"]),
    ]) func headsAndTowers(_ type: String, _ expected: [String]) throws {
        #expect(try sorted(type, expected) == expected)
    }

    /// `XLMRobertaForSequenceClassification` of transformers 5 registers its head first, that of version 4 behind.
    @Test func aHeadThatMoved() {
        let error = #expect(throws: PeftfileError.self) {
            _ = try sorted("xlm_roberta", ["classifier.dense", "roberta.encoder.layer.0.output.dense"])
        }
        #expect(error?.rule == "ModuleOrder")
    }

    @Test func whatIsNotKnownIsRefused() {
        for (type, paths) in [
            ("llama", ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"]),
            ("new", ["model.alpha", "model.beta"]),
            ("mistral3", ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"]),
        ] {
            let error = #expect(throws: PeftfileError.self) { _ = try sorted(type, paths) }
            #expect(error?.rule == "ModuleOrder")
        }
    }
}
