import Adapters
import ByteAccess
import Testing

/// Every prefix form, and that one form holds for all modules.
@Suite struct NamingPrefixTests {
    struct Row: CustomTestStringConvertible {
        let type: String
        let what: String
        /// Module in the adapter, module on disk.
        let pairs: KeyValuePairs<String, String>
        var testDescription: String { "\(type): \(what)" }
    }

    static let llavaTypes = [
        "gemma3", "paligemma", "llava", "llava_next", "llava_next_video", "llava_onevision", "mistral3", "aya_vision",
        "got_ocr2", "internvl", "vipllava", "aria",
    ]
    static let nested: [String] = [
        "model.language_model.layers.0.self_attn.q_proj", "model.language_model.embed_tokens", "lm_head",
        "model.vision_tower.blocks.0.fc1", "model.multi_modal_projector.linear_1",
    ]
    static let llava: [String] = [
        "language_model.model.layers.0.self_attn.q_proj", "language_model.model.embed_tokens",
        "language_model.lm_head", "vision_tower.blocks.0.fc1", "multi_modal_projector.linear_1",
    ]

    @Test(arguments: llavaTypes) func llavaFilesAndMemory(_ type: String) throws {
        let old = SyntheticBase(type, names: Self.llava.map { $0 + ".weight" })
        #expect(try old.tensors(of: Self.nested) == Self.llava.map { $0 + ".weight" })
        let new = SyntheticBase(type, names: Self.nested.map { $0 + ".weight" })
        #expect(try new.tensors(of: Self.llava) == Self.nested.map { $0 + ".weight" })
        for module in zip(Self.nested, Self.llava) {
            #expect(try old.tensor(of: module.0) == module.1 + ".weight")
            #expect(try new.tensor(of: module.1) == module.0 + ".weight")
        }
    }

    static let rows: [Row] = [
        Row(
            type: "qwen2_vl", what: "memory on the hub's file",
            pairs: [
                "model.language_model.layers.0.mlp.down_proj": "model.layers.0.mlp.down_proj",
                "model.visual.blocks.0.attn.qkv": "visual.blocks.0.attn.qkv", "lm_head": "lm_head",
            ]),
        Row(
            type: "qwen2_5_vl", what: "an adapter of 4.49 on a file of version 5",
            pairs: [
                "model.layers.0.mlp.down_proj": "model.language_model.layers.0.mlp.down_proj",
                "visual.blocks.0.attn.qkv": "model.visual.blocks.0.attn.qkv", "lm_head": "lm_head",
            ]),
        Row(
            type: "qwen3_5", what: "the text class on the multimodal file",
            pairs: [
                "model.layers.0.linear_attn.in_proj_qkv": "model.language_model.layers.0.linear_attn.in_proj_qkv",
                "model.embed_tokens": "model.language_model.embed_tokens",
            ]),
        Row(
            type: "gemma3n", what: "the text class on the multimodal file",
            pairs: ["model.layers.0.self_attn.q_proj": "model.language_model.layers.0.self_attn.q_proj"]),
        Row(
            type: "gemma3", what: "the text class on a LLaVA file",
            pairs: ["model.layers.0.self_attn.q_proj": "language_model.model.layers.0.self_attn.q_proj"]),
        Row(
            type: "llama", what: "a multimodal adapter on the text model's file",
            pairs: ["model.language_model.layers.0.self_attn.q_proj": "model.layers.0.self_attn.q_proj"]),
        Row(
            type: "llava", what: "the bare multimodal model in memory",
            pairs: [
                "language_model.layers.0.self_attn.q_proj": "language_model.model.layers.0.self_attn.q_proj",
                "multi_modal_projector.linear_1": "multi_modal_projector.linear_1",
            ]),
        Row(
            type: "llava", what: "the tower's inner name inserted",
            pairs: [
                "model.vision_tower.encoder.layers.0.mlp.fc1": "vision_tower.vision_model.encoder.layers.0.mlp.fc1",
                "model.language_model.layers.0.mlp.up_proj": "language_model.model.layers.0.mlp.up_proj",
            ]),
        Row(
            type: "llava", what: "the tower's inner name removed",
            pairs: [
                "model.vision_tower.vision_model.encoder.layers.0.mlp.fc1":
                    "model.vision_tower.encoder.layers.0.mlp.fc1"
            ]),
        Row(
            type: "siglip_vision_model", what: "the vision class",
            pairs: ["encoder.layers.0.mlp.fc1": "vision_model.encoder.layers.0.mlp.fc1"]),
        Row(
            type: "clip_vision_model", what: "an older adapter on a file made new by version 5",
            pairs: ["vision_model.encoder.layers.0.mlp.fc1": "encoder.layers.0.mlp.fc1"]),
        Row(
            type: "clip_text_model", what: "the text class",
            pairs: ["encoder.layers.0.mlp.fc1": "text_model.encoder.layers.0.mlp.fc1"]),
        Row(
            type: "bloom", what: "a file of the bare model",
            pairs: ["transformer.h.0.self_attention.dense": "h.0.self_attention.dense"]),
        Row(type: "gpt2", what: "a file of the bare model", pairs: ["transformer.h.0.attn.c_attn": "h.0.attn.c_attn"]),
        Row(
            type: "mpt", what: "an adapter of the bare model",
            pairs: ["blocks.0.attn.Wqkv": "transformer.blocks.0.attn.Wqkv"]),
        Row(
            type: "bert", what: "an adapter of the bare model",
            pairs: ["encoder.layer.0.attention.self.query": "bert.encoder.layer.0.attention.self.query"]),
        Row(
            type: "xlm-roberta", what: "an adapter of the bare model",
            pairs: ["encoder.layer.0.attention.self.query": "roberta.encoder.layer.0.attention.self.query"]),
        Row(
            type: "deberta-v2", what: "a file of the bare model",
            pairs: ["deberta.encoder.layer.0.attention.self.query_proj": "encoder.layer.0.attention.self.query_proj"]),
        Row(
            type: "qwen3", what: "an adapter of the bare model",
            pairs: ["layers.0.self_attn.q_proj": "model.layers.0.self_attn.q_proj"]),
        Row(
            type: "mllama", what: "memory on the hub's file",
            pairs: [
                "model.vision_model.transformer.layers.0.mlp.fc1": "vision_model.transformer.layers.0.mlp.fc1",
                "model.language_model.layers.0.mlp.up_proj": "language_model.model.layers.0.mlp.up_proj",
            ]),
        Row(
            type: "video_llava", what: "memory on the hub's file",
            pairs: [
                "model.video_tower.vision_model.encoder.layers.0.mlp.fc1":
                    "video_tower.vision_model.encoder.layers.0.mlp.fc1"
            ]),
    ]

    @Test(arguments: rows) func everyFormFindsItsFile(_ row: Row) throws {
        let base = SyntheticBase(row.type, names: row.pairs.map { $0.value + ".weight" })
        #expect(try base.tensors(of: row.pairs.map(\.key)) == row.pairs.map { $0.value + ".weight" })
    }

    @Test func aBareParameterMovesWithItsModel() throws {
        let base = SyntheticBase("llava_next", ["image_newline": [16], "language_model.model.norm.weight": [16]])
        let newline = ParameterRequest(module: "model", parameter: .named("image_newline"))
        #expect(try base.resolver.resolve([newline])[newline]?.pieces.map(\.tensor) == ["image_newline"])
        let older = ParameterRequest(module: "", parameter: .named("image_newline"))
        let newer = SyntheticBase("llava_next", ["model.image_newline": [16]])
        #expect(try newer.resolver.resolve([older])[older]?.pieces.map(\.tensor) == ["model.image_newline"])
    }

    /// A module of a tower is no module of another that has the same end.
    @Test func aUniqueSuffixIsNoMatch() {
        let cases: [(type: String, module: String, stored: String)] = [
            ("roberta", "pooler.dense", "lm_head.dense"),
            ("roberta", "dense", "lm_head.dense"),
            ("llama", "layers.0.self_attn.q_proj", "model.decoder.layers.0.self_attn.q_proj"),
            ("llama", "self_attn.q_proj", "model.layers.0.self_attn.q_proj"),
            ("llava", "model.vision_tower.layers.0.mlp.fc1", "model.language_model.layers.0.mlp.fc1"),
            ("gemma3", "model.language_model.layers.0.mlp.fc1", "vision_tower.vision_model.layers.0.mlp.fc1"),
            ("qwen2_vl", "model.visual.blocks.0.mlp.fc1", "model.blocks.0.mlp.fc1"),
            ("vit", "vit.layers.0.attention.q_proj", "decoder.encoder.layer.0.attention.attention.query"),
        ]
        for (type, module, stored) in cases {
            let base = SyntheticBase(type, names: [stored + ".weight", "other.weight"])
            let error = #expect(throws: PeftfileError.self, "\(module)") { try base.tensor(of: module) }
            #expect(error?.code == .refused)
            #expect(error?.message.contains(module) == true)
        }
    }

    @Test func oneFormHoldsForAllModules() {
        // The first module needs `transformer.` dropped, the second needs it added.
        let base = SyntheticBase("gpt2", names: ["h.0.attn.c_attn.weight", "transformer.h.1.attn.c_attn.weight"])
        let error = #expect(throws: PeftfileError.self) {
            try base.tensors(of: ["transformer.h.0.attn.c_attn", "h.1.attn.c_attn"])
        }
        #expect(error?.rule == "MissingTarget")
    }

    @Test func twoFormsThatDifferAreRefused() throws {
        var names = ["vision_model.encoder.layers.0.mlp.fc1.weight", "text_model.encoder.layers.0.mlp.fc1.weight"]
        let error = #expect(throws: PeftfileError.self) {
            try SyntheticBase("clip", names: names).tensor(of: "encoder.layers.0.mlp.fc1")
        }
        #expect(error?.rule == "AmbiguousTarget")
        #expect(error?.message.contains(names[0]) == true && error?.message.contains(names[1]) == true)
        // A second module that only one tower has settles it for both.
        names.append("vision_model.head.mlp.fc1.weight")
        #expect(
            try SyntheticBase("clip", names: names).tensors(of: ["encoder.layers.0.mlp.fc1", "head.mlp.fc1"])
                == [names[0], names[2]])
    }

    @Test func namesAreComparedByBytes() {
        let base = SyntheticBase("llama", names: ["model.cafe\u{301}.weight"])
        #expect(throws: PeftfileError.self) { try base.tensor(of: "model.caf\u{E9}") }
    }
}
