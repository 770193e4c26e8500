import Adapters
import ByteAccess
import Testing

/// Every row of transformers' renames, each from memory to file and back.
@Suite struct NamingRenameTests {
    struct Row: CustomTestStringConvertible {
        let types: [String]
        /// Module in memory, module on disk.
        let pairs: KeyValuePairs<String, String>
        var testDescription: String { types.joined(separator: ", ") }
    }

    static let vitTypes = ["vit", "deit", "ijepa", "vit_mae", "vit_msn", "vivit", "beit"]

    static let rows: [Row] =
        [
            Row(
                types: ["mixtral", "minimax", "minimax_m2"],
                pairs: ["model.layers.3.mlp.gate": "model.layers.3.block_sparse_moe.gate"]),
            Row(types: ["phimoe"], pairs: ["model.layers.3.mlp.router": "model.layers.3.block_sparse_moe.gate"]),
            Row(
                types: ["nemotron_h"],
                pairs: [
                    "model.layers.0.mixer.in_proj": "backbone.layers.0.mixer.in_proj",
                    "model.layers.1.mixer.q_proj": "backbone.layers.1.mixer.q_proj",
                    "model.embeddings": "backbone.embeddings",
                ]),
            Row(
                types: ["granitemoe", "granitemoeshared", "granitemoehybrid"],
                pairs: ["model.layers.0.block_sparse_moe.router": "model.layers.0.block_sparse_moe.router.layer"]),
            Row(
                types: ["dinov2", "dinov2_with_registers"],
                pairs: [
                    "dinov2.encoder.layer.0.attention.q_proj": "dinov2.encoder.layer.0.attention.attention.query",
                    "dinov2.encoder.layer.0.attention.k_proj": "dinov2.encoder.layer.0.attention.attention.key",
                    "dinov2.encoder.layer.0.attention.v_proj": "dinov2.encoder.layer.0.attention.attention.value",
                    "dinov2.encoder.layer.0.attention.o_proj": "dinov2.encoder.layer.0.attention.output.dense",
                    "dinov2.encoder.layer.0.mlp.down_proj": "dinov2.encoder.layer.0.mlp.weights_out",
                ]),
            Row(
                types: ["swin"],
                pairs: [
                    "swin.encoder.layers.1.blocks.0.attention.q_proj":
                        "swin.encoder.layers.1.blocks.0.attention.self.query",
                    "swin.encoder.layers.1.blocks.0.attention.k_proj":
                        "swin.encoder.layers.1.blocks.0.attention.self.key",
                    "swin.encoder.layers.1.blocks.0.attention.v_proj":
                        "swin.encoder.layers.1.blocks.0.attention.self.value",
                    "swin.encoder.layers.1.blocks.0.attention.o_proj":
                        "swin.encoder.layers.1.blocks.0.attention.output.dense",
                    "swin.encoder.layers.1.blocks.0.mlp.fc1": "swin.encoder.layers.1.blocks.0.intermediate.dense",
                    "swin.encoder.layers.1.blocks.0.mlp.fc2": "swin.encoder.layers.1.blocks.0.output.dense",
                ]),
            Row(
                types: ["segformer"],
                pairs: [
                    "segformer.stages.1.blocks.0.attention.q_proj": "segformer.encoder.block.1.0.attention.self.query",
                    "segformer.stages.1.blocks.0.attention.k_proj": "segformer.encoder.block.1.0.attention.self.key",
                    "segformer.stages.1.blocks.0.attention.v_proj": "segformer.encoder.block.1.0.attention.self.value",
                    "segformer.stages.1.blocks.0.mlp.fc1": "segformer.encoder.block.1.0.mlp.dense1",
                    "segformer.stages.1.blocks.0.mlp.fc2": "segformer.encoder.block.1.0.mlp.dense2",
                    "segformer.stages.1.blocks.0.attention.sequence_reduction.sequence_reduction":
                        "segformer.encoder.block.1.0.attention.self.sr",
                    "segformer.stages.1.blocks.0.attention.sequence_reduction.layer_norm":
                        "segformer.encoder.block.1.0.attention.self.layer_norm",
                    "segformer.stages.1.blocks.0.layernorm_before": "segformer.encoder.block.1.0.layer_norm_1",
                    "segformer.stages.1.blocks.0.layernorm_after": "segformer.encoder.block.1.0.layer_norm_2",
                    "segformer.stages.1.layer_norm": "segformer.encoder.layer_norm.1",
                    "segformer.stages.2.patch_embeddings.proj": "segformer.encoder.patch_embeddings.2.proj",
                    "decode_head.linear_projections.1.proj": "decode_head.linear_c.1.proj",
                ]),
            Row(types: ["gpt_neox"], pairs: ["lm_head": "embed_out"]),
            // The front of one entry and the end of another.
            Row(
                types: ["rt_detr", "rt_detr_v2", "pp_doclayout_v2"],
                pairs: [
                    "model.encoder.aifi.0.layers.0.self_attn.o_proj": "model.encoder.encoder.0.layers.0.self_attn.out_proj",
                    "model.encoder.aifi.0.layers.0.mlp.fc1": "model.encoder.encoder.0.layers.0.fc1",
                    "model.encoder.aifi.0.layers.0.self_attn.q_proj": "model.encoder.encoder.0.layers.0.self_attn.q_proj",
                    "model.decoder.layers.1.mlp.fc2": "model.decoder.layers.1.fc2",
                ]),
            Row(
                types: ["d_fine"],
                pairs: [
                    "model.decoder.layers.0.mlp.layers.0": "model.decoder.layers.0.fc1",
                    "model.encoder.aifi.0.layers.0.mlp.layers.1": "model.encoder.encoder.0.layers.0.fc2",
                ]),
            Row(
                types: ["conditional_detr"],
                pairs: [
                    "model.decoder.layers.0.self_attn.q_content_proj": "model.decoder.layers.0.sa_qcontent_proj",
                    "model.decoder.layers.0.self_attn.k_pos_proj": "model.decoder.layers.0.sa_kpos_proj",
                    "model.decoder.layers.0.self_attn.v_proj": "model.decoder.layers.0.sa_v_proj",
                    "model.decoder.layers.0.self_attn.o_proj": "model.decoder.layers.0.self_attn.out_proj",
                    "model.decoder.layers.1.encoder_attn.q_pos_sine_proj": "model.decoder.layers.1.ca_qpos_sine_proj",
                    "model.decoder.layers.1.encoder_attn.v_proj": "model.decoder.layers.1.ca_v_proj",
                    "model.decoder.layers.1.encoder_attn.o_proj": "model.decoder.layers.1.encoder_attn.out_proj",
                    "mask_head.fpn_stages.1.refine.conv": "mask_head.lay4", "bbox_attention.q_proj": "bbox_attention.q_linear",
                    "model.backbone.model.stem": "model.backbone.conv_encoder.model.stem",
                ]),
            Row(
                types: ["maskformer"],
                pairs: [
                    "model.transformer_module.decoder.layers.0.encoder_attn.o_proj":
                        "model.transformer_module.decoder.layers.0.encoder_attn.out_proj",
                    "model.transformer_module.decoder.layers.0.mlp.fc1": "model.transformer_module.decoder.layers.0.fc1",
                ]),
            Row(
                types: ["altclip"],
                pairs: [
                    "text_model.roberta.encoder.layers.0.attention.self.key": "text_model.roberta.encoder.layer.0.attention.self.key"
                ]),
            Row(
                types: ["exaone"],
                pairs: [
                    "model.layers.0.self_attn.o_proj": "transformer.h.0.attn.attention.out_proj",
                    "model.layers.0.self_attn.q_proj": "transformer.h.0.attn.attention.q_proj",
                    "model.layers.0.mlp.gate_proj": "transformer.h.0.mlp.c_fc_0", "model.layers.0.mlp.down_proj": "transformer.h.0.mlp.c_proj",
                ]),
            Row(
                types: ["kimi_linear"],
                pairs: [
                    "model.layers.0.self_attn.forget_gate.f_a_proj": "model.layers.0.self_attn.f_a_proj",
                    "model.layers.1.mlp.shared_experts.up_proj": "model.layers.1.block_sparse_moe.shared_experts.up_proj",
                ]),
            Row(types: ["laguna"], pairs: ["model.layers.0.mlp.shared_experts.up_proj": "model.layers.0.mlp.shared_expert.up_proj"]),
            Row(
                types: ["bailing_hybrid", "sarvam_moe"],
                pairs: [
                    "model.layers.0.self_attn.o_proj": "model.layers.0.attention.dense",
                    "model.layers.0.self_attn.q_a_proj": "model.layers.0.attention.q_a_proj",
                ]),
            Row(types: ["gte"], pairs: ["layers.0.self_attn.o_proj": "encoder.layer.0.attention.o_proj", "layers.0.mlp.down_proj": "encoder.layer.0.mlp.down_proj"]),
            Row(types: ["jina_embeddings_v3"], pairs: ["layers.0.self_attn.o_proj": "encoder.layers.0.mixer.out_proj", "layers.0.mlp.fc1": "encoder.layers.0.mlp.fc1"]),
            Row(types: ["lw_detr"], pairs: ["model.backbone.layer.0.attention.o_proj": "model.backbone.layer.0.attention.output"]),
            Row(types: ["granite_speech"], pairs: ["model.encoder.layers.0.attn.to_q": "encoder.layers.0.attn.to_q", "model.projector.linear": "projector.linear"]),
            Row(types: ["paddleocr_vl"], pairs: ["model.projector.linear_1": "mlp_AR.linear_1"]),
            Row(
                types: ["detr", "rt_detr", "deformable_detr"],
                pairs: [
                    "model.encoder.layers.0.self_attn.o_proj": "model.encoder.layers.0.self_attn.out_proj",
                    "model.decoder.layers.0.encoder_attn.o_proj": "model.decoder.layers.0.encoder_attn.out_proj",
                    "model.decoder.layers.0.mlp.fc1": "model.decoder.layers.0.fc1",
                    "model.decoder.layers.0.mlp.fc2": "model.decoder.layers.0.fc2",
                ]),
            Row(
                types: ["detr", "deformable_detr"],
                pairs: ["model.backbone.model.encoder.stages.0": "model.backbone.conv_encoder.model.encoder.stages.0"]),
            Row(
                types: ["nomic_bert"],
                pairs: [
                    "layers.2.self_attn.o_proj": "encoder.layers.2.attn.out_proj",
                    "layers.2.mlp.up_proj": "encoder.layers.2.mlp.fc11", "layers.2.mlp.gate_proj": "encoder.layers.2.mlp.fc12",
                    "layers.2.mlp.down_proj": "encoder.layers.2.mlp.fc2", "embeddings.LayerNorm": "emb_ln",
                ]),
            Row(
                types: ["hy_v3"],
                pairs: [
                    "model.layers.1.mlp.gate": "model.layers.1.mlp.router.gate",
                    "model.layers.1.mlp.shared_experts.down_proj": "model.layers.1.mlp.shared_mlp.down_proj",
                ]),
            Row(types: ["timesfm2_5"], pairs: ["model.layers.0.mlp.fc1": "model.layers.0.mlp.ff0", "model.layers.0.mlp.fc2": "model.layers.0.mlp.ff1"]),
        ]
        + vitTypes.map { type in
            let front = ["ijepa": "ijepa", "vit_mae": "vit", "vit_msn": "vit"][type] ?? type
            return vit(type, front)
        } + [vit("audio-spectrogram-transformer", "audio_spectrogram_transformer")]

    static func vit(_ type: String, _ front: String) -> Row {
        Row(
            types: [type],
            pairs: [
                "\(front).layers.0.attention.q_proj": "\(front).encoder.layer.0.attention.attention.query",
                "\(front).layers.0.attention.k_proj": "\(front).encoder.layer.0.attention.attention.key",
                "\(front).layers.0.attention.v_proj": "\(front).encoder.layer.0.attention.attention.value",
                "\(front).layers.0.attention.o_proj": "\(front).encoder.layer.0.attention.output.dense",
                "\(front).layers.0.mlp.fc1": "\(front).encoder.layer.0.intermediate.dense",
                "\(front).layers.0.mlp.fc2": "\(front).encoder.layer.0.output.dense",
                "\(front).layers.0.layernorm_before": "\(front).encoder.layer.0.layernorm_before",
            ])
    }

    @Test(arguments: rows) func memoryNamesFindTheFile(_ row: Row) throws {
        for type in row.types {
            let base = SyntheticBase(type, names: row.pairs.map { $0.value + ".weight" })
            #expect(try base.tensors(of: row.pairs.map(\.key)) == row.pairs.map { $0.value + ".weight" }, "\(type)")
        }
    }

    /// An adapter of version 4 on a file that version 5 saved under its own names.
    @Test(arguments: rows) func olderNamesFindTheNewFile(_ row: Row) throws {
        for type in row.types {
            let base = SyntheticBase(type, names: row.pairs.map { $0.key + ".weight" })
            #expect(try base.tensors(of: row.pairs.map(\.value)) == row.pairs.map { $0.key + ".weight" }, "\(type)")
        }
    }

    /// A name that the base has is never renamed, even where a rule would fit it.
    @Test(arguments: rows) func namesThatExistStandAsTheyAre(_ row: Row) throws {
        for type in row.types {
            let both = row.pairs.map { $0.value + ".weight" } + row.pairs.map { $0.key + ".weight" }
            let base = SyntheticBase(type, names: both)
            #expect(try base.tensors(of: row.pairs.map(\.key)) == row.pairs.map { $0.key + ".weight" })
            #expect(try base.tensors(of: row.pairs.map(\.value)) == row.pairs.map { $0.value + ".weight" })
        }
    }

    /// A pair of an encoder and a decoder renames in each part as the part's own class does.
    @Test func partsAreRenamedAsTheirOwnTypesAre() throws {
        let names = ["encoder.encoder.layer.0.attention.attention.key.weight", "decoder.model.decoder.layers.0.fc1.weight"]
        var base = BaseDirectory(tensors: names.map { (ExactString($0), [6, 4]) }, modelType: "vision-encoder-decoder")
        let requests = ["encoder.layers.0.attention.k_proj", "decoder.model.decoder.layers.0.fc1"].map {
            ParameterRequest(module: ExactString($0), parameter: .weight)
        }
        #expect(throws: PeftfileError.self) { try NameResolver(base: base).resolve(requests) }
        base.partModelTypes = ["vit", "mbart"]
        let places = try NameResolver(base: base).resolve(requests)
        #expect(requests.map { places[$0]?.pieces.first?.tensor.text } == names)
    }

    @Test func renamesOfOtherModelTypesDoNotApply() {
        let base = SyntheticBase("llama", names: ["vit.encoder.layer.0.attention.attention.query.weight"])
        #expect(throws: (any Error).self) { try base.tensor(of: "vit.layers.0.attention.q_proj") }
    }

    @Test func renamesWorkBelowADroppedPrefix() throws {
        let base = SyntheticBase("vit", names: ["encoder.layer.0.attention.attention.query.weight"])
        #expect(
            try base.tensor(of: "vit.layers.0.attention.q_proj")
                == "encoder.layer.0.attention.attention.query.weight")
    }

    @Test func theDecoderOfViTMAEKeepsItsListName() throws {
        let base = SyntheticBase("vit_mae", names: ["decoder.decoder_layers.1.attention.attention.key.weight"])
        #expect(
            try base.tensor(of: "decoder.decoder_layers.1.attention.k_proj")
                == "decoder.decoder_layers.1.attention.attention.key.weight")
    }

    /// transformers 5 saves the decoder's `decoder_layers.` as `decoder_encoder.layer.`.
    @Test(arguments: [
        ("attention.q_proj", "attention.attention.query"), ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"), ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
    ]) func theDecoderOfViTMAEAsVersion5SavesIt(_ memory: String, _ file: String) throws {
        let base = SyntheticBase("vit_mae", names: ["decoder.decoder_encoder.layer.1.\(file).weight"])
        #expect(
            try base.tensor(of: "decoder.decoder_layers.1.\(memory)") == "decoder.decoder_encoder.layer.1.\(file).weight")
    }

    @Test(arguments: [
        "gemma2", "gemma3_text", "qwen3", "phi3", "glm4", "falcon", "stablelm", "olmo2", "phi", "starcoder2", "cohere2",
        "granite", "smollm3", "nemotron", "llama", "mistral",
    ]) func modelTypesWithoutRenamesKeepTheirNames(_ type: String) throws {
        let modules = [
            "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.gate_up_proj", "model.layers.0.mlp.down_proj",
            "lm_head", "model.embed_tokens",
        ]
        let base = SyntheticBase(type, names: modules.map { $0 + ".weight" })
        #expect(try base.tensors(of: modules) == modules.map { $0 + ".weight" })
    }

    /// Families whose names on disk are those in memory, with towers, convolutions or fused projections.
    @Test(arguments: [
        (
            "qwen3_vl",
            [
                "model.language_model.layers.0.self_attn.q_proj", "model.visual.blocks.0.attn.qkv", "model.visual.merger.linear_fc1",
            ]
        ),
        ("wav2vec2", ["wav2vec2.encoder.layers.0.attention.q_proj", "wav2vec2.encoder.pos_conv_embed.conv", "lm_head"]),
        (
            "deberta_v2",
            [
                "deberta.encoder.layer.0.attention.self.query_proj", "deberta.encoder.layer.0.output.dense",
                "deberta.encoder.rel_embeddings", "classifier",
            ]
        ),
        ("mamba2", ["backbone.layers.0.mixer.in_proj", "backbone.layers.0.mixer.out_proj"]),
        ("mt5", ["encoder.block.0.layer.0.SelfAttention.q", "decoder.block.0.layer.2.DenseReluDense.wi_0"]),
        ("clip", ["text_model.encoder.layers.0.self_attn.q_proj", "vision_model.encoder.layers.0.self_attn.q_proj"]),
    ]) func otherFamiliesKeepTheirNames(_ type: String, _ modules: [String]) throws {
        let base = SyntheticBase(type, names: modules.map { $0 + ".weight" })
        #expect(try base.tensors(of: modules) == modules.map { $0 + ".weight" })
    }

    /// Text classes that transformers reads out of a multimodal file.
    @Test(arguments: ["qwen3_5_text", "qwen3_5_moe_text", "gemma3n_text"]) func textClassesOnAMultimodalFile(_ type: String) throws {
        let base = SyntheticBase(
            type,
            names: [
                "model.language_model.layers.0.self_attn.q_proj.weight", "model.language_model.embed_tokens.weight",
                "model.visual.blocks.0.attn.qkv.weight",
            ])
        #expect(
            try base.tensors(of: ["model.layers.0.self_attn.q_proj", "model.embed_tokens"])
                == ["model.language_model.layers.0.self_attn.q_proj.weight", "model.language_model.embed_tokens.weight"])
    }

    @Test func swiGLUOfDinov2IsTwoModulesAndOneMatrix() throws {
        let front = "encoder.layer.0.mlp"
        let file = SyntheticBase("dinov2", ["\(front).weights_in.weight": [48, 16], "\(front).weights_in.bias": [48]])
        let requests = [
            ParameterRequest(module: "encoder.layer.0.mlp.up_proj", parameter: .weight, update: (24, 16)),
            ParameterRequest(module: "encoder.layer.0.mlp.gate_proj", parameter: .bias),
        ]
        let places = try file.resolver.resolve(requests)
        #expect(
            places[requests[0]]
                == ParameterPlace(
                    parameter: "weight", shape: [24, 16],
                    pieces: [
                        ParameterPiece(
                            rows: 0..<24, tensor: ExactString("\(front).weights_in.weight"), storedOffset: 24)
                    ]))
        #expect(
            places[requests[1]]
                == ParameterPlace(
                    parameter: "bias", shape: [24],
                    pieces: [ParameterPiece(rows: 0..<24, tensor: ExactString("\(front).weights_in.bias"))]))

        // Version 4's module on version 5's file: one matrix, two tensors.
        let apart = SyntheticBase(
            "dinov2", ["\(front).gate_proj.weight": [24, 16], "\(front).up_proj.weight": [24, 16]])
        let whole = ParameterRequest(module: "encoder.layer.0.mlp.weights_in", parameter: .weight, update: (48, 16))
        #expect(
            try apart.resolver.resolve([whole])[whole]
                == ParameterPlace(
                    parameter: "weight", shape: [48, 16],
                    pieces: [
                        ParameterPiece(rows: 0..<24, tensor: ExactString("\(front).gate_proj.weight")),
                        ParameterPiece(rows: 24..<48, tensor: ExactString("\(front).up_proj.weight")),
                    ]))
    }

    @Test func affineParametersHaveAnOlderName() throws {
        let base = SyntheticBase(
            "bert", ["bert.embeddings.LayerNorm.gamma": [4], "bert.embeddings.LayerNorm.beta": [4]])
        let requests = [
            ParameterRequest(module: "bert.embeddings.LayerNorm", parameter: .named("weight")),
            ParameterRequest(module: "bert.embeddings.LayerNorm", parameter: .bias),
        ]
        let places = try base.resolver.resolve(requests)
        #expect(places[requests[0]]?.pieces.map(\.tensor) == ["bert.embeddings.LayerNorm.gamma"])
        #expect(places[requests[1]]?.pieces.map(\.tensor) == ["bert.embeddings.LayerNorm.beta"])
    }
}
