/// One name of transformers' in-memory model (version 5) and the name of the same tensor on disk.
///
/// transformers renames while it loads and undoes that while it saves (`src/transformers/conversion_mapping.py`, read
/// by `core_model_loading.py`). An adapter of version 5 carries the left name, the hub's file the right one; an
/// adapter of version 4 on a file that version 5 saved under its own names has them the other way round, so each rule
/// is used in both directions. A rule only proposes a name: it counts if the base has that name in full.
struct RenameRule: Sendable {
    let memory: DottedPattern
    let file: DottedPattern

    init(_ memory: String, _ file: String) {
        self.memory = DottedPattern(memory)
        self.file = DottedPattern(file)
    }
}

/// The renames of one entry of transformers' table, and the model types that use it. Of the rules the first that
/// matches is applied, once: longer patterns come first.
struct RenameEntry: Sendable {
    /// The entry's name in `conversion_mapping.py`.
    let entry: String
    let modelTypes: Set<String>
    let rules: [RenameRule]

    init(_ entry: String, _ modelTypes: Set<String>, _ rules: [RenameRule]) {
        self.entry = entry
        self.modelTypes = modelTypes
        self.rules = rules
    }
}

/// transformers' renames as data, one line a rule. Experts and fused rows have tables of their own (`ExpertLayouts`,
/// `FusedRows`), prefixes too (`PrefixForms`).
enum RenameTable {
    static let entries: [RenameEntry] = [
        RenameEntry(
            "mixtral", ["mixtral", "minimax", "minimax_m2"],
            [
                RenameRule("layers.*.mlp", "layers.*.block_sparse_moe")
            ]),
        RenameEntry(
            "phimoe", ["phimoe"],
            [
                RenameRule("layers.*.mlp.router", "layers.*.block_sparse_moe.gate"),
                RenameRule("layers.*.mlp", "layers.*.block_sparse_moe"),
            ]),
        RenameEntry(
            "nemotron_h", ["nemotron_h"],
            [
                RenameRule("^model", "^backbone")
            ]),
        RenameEntry(
            "granitemoe", ["granitemoe", "granitemoeshared", "granitemoehybrid"],
            [
                RenameRule("block_sparse_moe.experts.gate_up_proj$", "block_sparse_moe.input_linear.weight$"),
                RenameRule("block_sparse_moe.experts.down_proj$", "block_sparse_moe.output_linear.weight$"),
                RenameRule("block_sparse_moe.router.weight$", "block_sparse_moe.router.layer.weight$"),
            ]),
        RenameEntry(
            "ViTModel",
            [
                "vit", "deit", "ijepa", "vit_mae", "vit_msn", "vivit", "audio_spectrogram_transformer", "ast", "beit",
            ],
            [
                RenameRule("layers.*.attention.q_proj", "encoder.layer.*.attention.attention.query"),
                RenameRule("layers.*.attention.k_proj", "encoder.layer.*.attention.attention.key"),
                RenameRule("layers.*.attention.v_proj", "encoder.layer.*.attention.attention.value"),
                RenameRule("layers.*.attention.o_proj", "encoder.layer.*.attention.output.dense"),
                RenameRule("layers.*.mlp.fc1", "encoder.layer.*.intermediate.dense"),
                RenameRule("layers.*.mlp.fc2", "encoder.layer.*.output.dense"),
                RenameRule("layers.*", "encoder.layer.*"),
                // The decoder of vit_mae keeps its list's name (`decoder_layers`).
                RenameRule("attention.q_proj", "attention.attention.query"),
                RenameRule("attention.k_proj", "attention.attention.key"),
                RenameRule("attention.v_proj", "attention.attention.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.fc1", "intermediate.dense"),
                RenameRule("mlp.fc2", "output.dense"),
            ]),
        // Saving undoes ViTModel's `encoder.layer.` to `layers.` as text (`core_model_loading.py`), inside `decoder_layers.` too:
        // files of transformers 5 say `decoder_encoder.layer`. Written backwards, since the forward direction of these names is
        // that of the Hub's file.
        RenameEntry(
            "ViTMAEForPreTraining", ["vit_mae"],
            [
                RenameRule("decoder_encoder.layer.*.attention.attention.query", "decoder_layers.*.attention.q_proj"),
                RenameRule("decoder_encoder.layer.*.attention.attention.key", "decoder_layers.*.attention.k_proj"),
                RenameRule("decoder_encoder.layer.*.attention.attention.value", "decoder_layers.*.attention.v_proj"),
                RenameRule("decoder_encoder.layer.*.attention.output.dense", "decoder_layers.*.attention.o_proj"),
                RenameRule("decoder_encoder.layer.*.intermediate.dense", "decoder_layers.*.mlp.fc1"),
                RenameRule("decoder_encoder.layer.*.output.dense", "decoder_layers.*.mlp.fc2"),
            ]),
        RenameEntry(
            "Dinov2Model", ["dinov2", "dinov2_with_registers"],
            [
                RenameRule("attention.q_proj", "attention.attention.query"),
                RenameRule("attention.k_proj", "attention.attention.key"),
                RenameRule("attention.v_proj", "attention.attention.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.down_proj", "mlp.weights_out"),
            ]),
        RenameEntry(
            "swin", ["swin"],
            [
                RenameRule("attention.q_proj", "attention.self.query"),
                RenameRule("attention.k_proj", "attention.self.key"),
                RenameRule("attention.v_proj", "attention.self.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.fc1", "intermediate.dense"),
                RenameRule("mlp.fc2", "output.dense"),
            ]),
        RenameEntry(
            "SegformerModel", ["segformer"],
            [
                RenameRule("stages.*.blocks.*.attention.q_proj", "encoder.block.*.*.attention.self.query"),
                RenameRule("stages.*.blocks.*.attention.k_proj", "encoder.block.*.*.attention.self.key"),
                RenameRule("stages.*.blocks.*.attention.v_proj", "encoder.block.*.*.attention.self.value"),
                RenameRule("stages.*.blocks.*.attention.o_proj", "encoder.block.*.*.attention.output.dense"),
                RenameRule(
                    "stages.*.blocks.*.attention.sequence_reduction.sequence_reduction",
                    "encoder.block.*.*.attention.self.sr"),
                RenameRule(
                    "stages.*.blocks.*.attention.sequence_reduction.layer_norm",
                    "encoder.block.*.*.attention.self.layer_norm"),
                RenameRule("stages.*.blocks.*.layernorm_before", "encoder.block.*.*.layer_norm_1"),
                RenameRule("stages.*.blocks.*.layernorm_after", "encoder.block.*.*.layer_norm_2"),
                RenameRule("stages.*.blocks.*.mlp.fc1", "encoder.block.*.*.mlp.dense1"),
                RenameRule("stages.*.blocks.*.mlp.fc2", "encoder.block.*.*.mlp.dense2"),
                RenameRule("stages.*.blocks.*", "encoder.block.*.*"),
                RenameRule("stages.*.patch_embeddings", "encoder.patch_embeddings.*"),
                RenameRule("stages.*.layer_norm", "encoder.layer_norm.*"),
                // Entry SegformerForSemanticSegmentation.
                RenameRule("decode_head.linear_projections.*", "decode_head.linear_c.*"),
            ]),
        RenameEntry(
            "GPTNeoXForCausalLM", ["gpt_neox"],
            [
                RenameRule("^lm_head", "^embed_out")
            ]),
        RenameEntry(
            "DetrModel", ["detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2"],
            [
                RenameRule("self_attn.o_proj", "self_attn.out_proj"),
                RenameRule("encoder_attn.o_proj", "encoder_attn.out_proj"),
                RenameRule("layers.*.mlp.fc1", "layers.*.fc1"),
                RenameRule("layers.*.mlp.fc2", "layers.*.fc2"),
            ]),
        RenameEntry(
            "DetrModel", ["detr", "deformable_detr"],
            [
                RenameRule("model.backbone", "model.backbone.conv_encoder")
            ]),
        RenameEntry(
            "nomic_bert", ["nomic_bert"],
            [
                RenameRule("layers.*.self_attn.o_proj", "encoder.layers.*.attn.out_proj"),
                RenameRule("layers.*.mlp.up_proj", "encoder.layers.*.mlp.fc11"),
                RenameRule("layers.*.mlp.gate_proj", "encoder.layers.*.mlp.fc12"),
                RenameRule("layers.*.mlp.down_proj", "encoder.layers.*.mlp.fc2"),
                RenameRule("layers.*.post_attention_layernorm", "encoder.layers.*.norm1"),
                RenameRule("layers.*.post_mlp_layernorm", "encoder.layers.*.norm2"),
                RenameRule("embeddings.LayerNorm", "emb_ln"),
            ]),
        // Routers' correction terms, for modules saved whole.
        RenameEntry(
            "ernie4_5_moe", ["ernie4_5_moe"],
            [
                RenameRule("mlp.gate.moe_statics", "mlp.moe_statics")
            ]),
        RenameEntry(
            "exaone_moe", ["exaone_moe"],
            [
                RenameRule("mlp.gate.e_score_correction_bias$", "mlp.e_score_correction_bias$")
            ]),
        RenameEntry(
            "hy_v3", ["hy_v3"],
            [
                RenameRule("mlp.gate.weight$", "mlp.router.gate.weight$"),
                RenameRule("mlp.e_score_correction_bias$", "mlp.expert_bias$"),
                RenameRule("mlp.shared_experts", "mlp.shared_mlp"),
            ]),
        RenameEntry(
            "timesfm2_5", ["timesfm2_5"],
            [
                RenameRule("fc1", "ff0"),
                RenameRule("fc2", "ff1"),
            ]),
    ]

    /// Entry `legacy`, which every model type gets: TensorFlow's names of the affine parameters, and weight
    /// normalisation before torch had parametrizations.
    static let legacy: [RenameRule] = [
        RenameRule("LayerNorm.weight$", "LayerNorm.gamma$"),
        RenameRule("LayerNorm.bias$", "LayerNorm.beta$"),
        RenameRule("parametrizations.weight.original0$", "weight_g$"),
        RenameRule("parametrizations.weight.original1$", "weight_v$"),
    ]

    /// The rules for these model types, in table order, the legacy ones last.
    static func rules(for modelTypes: [String]) -> [RenameRule] {
        entries.filter { !$0.modelTypes.isDisjoint(with: modelTypes) }.flatMap(\.rules) + legacy
    }
}

/// The spellings of one tensor name: as it stands, renamed to the file's, renamed to version 5's.
struct TensorSpellings: Sendable {
    /// Distinct names, the one in the adapter first.
    let names: [String]

    init(_ name: String, rules: [RenameRule]) {
        let parts = name.dottedComponents
        var names = [name]
        for rewritten in [
            rules.lazy.compactMap { $0.memory.rewrite(parts, as: $0.file) }.first,
            rules.lazy.compactMap { $0.file.rewrite(parts, as: $0.memory) }.first,
        ] {
            if let rewritten, !names.contains(rewritten) { names.append(rewritten) }
        }
        self.names = names
    }
}
