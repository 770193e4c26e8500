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

    /// The name that a file's tensor or module has in memory, by all rules that fit in turn.
    static func inMemory(_ name: String, _ rules: [RenameRule]) -> String {
        rules.reduce(name) { $1.file.rewrite($0.dottedComponents, as: $1.memory) ?? $0 }
    }
}

/// The renames of one entry of transformers' table, and the model types that use it. The first that matches is applied, once,
/// so longer patterns come first; and all that match one after the other, since a name can need several (`TensorSpellings`).
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

    /// The same with one rule a line, `memory > file`.
    init(_ entry: String, _ modelTypes: Set<String>, lines: String) {
        self.init(
            entry, modelTypes,
            lines.split(separator: "\n").map { line in
                let sides = line.split(separator: " ")
                return RenameRule(String(sides[0]), String(sides[2]))
            })
    }
}

/// transformers' renames as data, one line a rule. Experts and fused rows have tables of their own (`ExpertLayouts`,
/// `FusedRows`), prefixes too (`PrefixForms`).
enum RenameTable {
    static let entries: [RenameEntry] = languageEntries + imageEntries + detectionEntries + multimodalEntries
        + recentLanguageEntries + recentImageEntries + recentMultimodalEntries

    private static let languageEntries: [RenameEntry] = [
        RenameEntry(
            "mixtral", ["mixtral", "minimax", "minimax_m2", "kimi_linear"],
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
            "GPTNeoXForCausalLM", ["gpt_neox"],
            [
                RenameRule("^lm_head", "^embed_out")
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
            "kimi_linear", ["kimi_linear"],
            [
                RenameRule("self_attn.forget_gate.f_a_proj", "self_attn.f_a_proj"),
                RenameRule("self_attn.forget_gate.f_b_proj", "self_attn.f_b_proj"),
            ]),
        RenameEntry(
            "laguna", ["laguna"],
            [
                RenameRule("mlp.shared_experts", "mlp.shared_expert")
            ]),
        RenameEntry(
            "sarvam_moe, bailing_hybrid", ["sarvam_moe", "bailing_hybrid"],
            [
                RenameRule("model.embed_tokens", "model.word_embeddings"),
                RenameRule("layers.*.self_attn.o_proj", "layers.*.attention.dense"),
                RenameRule("layers.*.self_attn.forget_gate.f_proj", "layers.*.attention.f_proj"),
                RenameRule("layers.*.self_attn", "layers.*.attention"),
            ]),
        RenameEntry(
            "exaone", ["exaone"],
            [
                RenameRule("^model.embed_tokens", "^transformer.wte"),
                RenameRule("^model.layers.*.self_attn.o_proj", "^transformer.h.*.attn.attention.out_proj"),
                RenameRule("^model.layers.*.self_attn", "^transformer.h.*.attn.attention"),
                RenameRule("^model.layers.*.mlp.gate_proj", "^transformer.h.*.mlp.c_fc_0"),
                RenameRule("^model.layers.*.mlp.up_proj", "^transformer.h.*.mlp.c_fc_1"),
                RenameRule("^model.layers.*.mlp.down_proj", "^transformer.h.*.mlp.c_proj"),
                RenameRule("^model.layers.*.input_layernorm", "^transformer.h.*.ln_1"),
                RenameRule("^model.layers.*.post_attention_layernorm", "^transformer.h.*.ln_2"),
                RenameRule("^model.norm", "^transformer.ln_f"),
            ]),
        RenameEntry(
            "gte", ["gte"],
            [
                RenameRule("layers.*.self_attn.o_proj", "encoder.layer.*.attention.o_proj"),
                RenameRule("layers.*.post_attention_layernorm", "encoder.layer.*.attn_ln"),
                RenameRule("layers.*.post_mlp_layernorm", "encoder.layer.*.mlp_ln"),
                RenameRule("layers.*", "encoder.layer.*"),
            ]),
        RenameEntry(
            "jina_embeddings_v3", ["jina_embeddings_v3"],
            [
                RenameRule("layers.*.self_attn.o_proj", "encoder.layers.*.mixer.out_proj"),
                RenameRule("layers.*.post_attention_layernorm", "encoder.layers.*.norm1"),
                RenameRule("layers.*.post_mlp_layernorm", "encoder.layers.*.norm2"),
                RenameRule("layers.*", "encoder.layers.*"),
                RenameRule("embeddings.LayerNorm", "emb_ln"),
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

/// The spellings of one tensor name: as it stands, renamed to the file's, renamed to version 5's; each by the first rule that
/// fits, and by all that fit in turn, as transformers applies its entries: a detector's `encoder.aifi.0.layers.0.self_attn.o_proj`
/// needs one rule for its front and one for its end, a composite model those of several parts.
struct TensorSpellings: Sendable {
    /// Distinct names, the one in the adapter first.
    let names: [String]

    init(_ name: String, rules: [RenameRule]) {
        var names = [name]
        for (from, to) in [(\RenameRule.memory, \RenameRule.file), (\RenameRule.file, \RenameRule.memory)] {
            var whole = name
            var rewritten: [String] = []
            for rule in rules {
                guard let next = rule[keyPath: from].rewrite(whole.dottedComponents, as: rule[keyPath: to]) else { continue }
                // The first rule that fits the name as it stands, then what all have made of it.
                if rewritten.isEmpty { rewritten.append(next) }
                whole = next
            }
            for spelled in rewritten + [whole] where !names.contains(spelled) { names.append(spelled) }
        }
        self.names = names
    }
}
