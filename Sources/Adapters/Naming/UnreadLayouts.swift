/// Modules whose matrices a file holds in a way that is not read: their names can be found, their rows cannot.
///
/// Source: the operations `PermuteForRope`, `Interleave` and `Split` of `conversion_mapping.py` in transformers 5.24, and
/// `ErnieFuseAndSplitTextVisionExperts`.
enum UnreadLayouts {
    private static let table: [(modelTypes: Set<String>, modules: [String], layout: String)] = [
        (
            ["kimi_k25", "step3p7"],
            ["vision_tower.layers.*.attn", "vision_model.layers.*.self_attn"].flatMap(projections),
            "one matrix for query, key and value, with rows in the order of another position encoding"
        ),
        (
            ["gradium_phonon_tts"], projections("layers.*.self_attn"),
            "one matrix for query, key and value, with rows in the order of another position encoding"
        ),
        (
            ["mistral_large4"], ["vision_tower.transformer.layers.*.attention.q_proj", "vision_tower.transformer.layers.*.attention.k_proj"],
            "a matrix with rows in the order of another position encoding"
        ),
        (
            ["lara_mini"], ["qkv", "z", "b", "a"].map { "linear_attn.in_proj_\($0)" },
            "one matrix for all input projections, of heights that no file tells"
        ),
        (
            ["molmo2", "molmo2_text"], ["language_model.layers.*.self_attn", "^layers.*.self_attn"].flatMap(projections),
            "one matrix for query, key and value, of heights that no file tells"
        ),
        (
            ["inkling_mm_model", "inkling2", "inkling2_loop", "inkling2_text", "inkling2_loop_text"],
            ["mlp.experts", "mlp.shared_experts"],
            "stacks in which the rows of gate and up take turns (w13_weight)"
        ),
        (
            ["ernie4_5_vl_moe"], ["mlp.text_moe.experts", "mlp.vision_moe.experts"],
            "one list for the experts of text and of images"
        ),
    ]

    private static func projections(_ attention: String) -> [String] { ["q", "k", "v"].map { "\(attention).\($0)_proj" } }

    /// How the file of such a base holds the module, where that is known and not read.
    static func layout(of module: String, in modelTypes: [String]) -> String? {
        let parts = module.dottedComponents
        return table.first { row in
            !row.modelTypes.isDisjoint(with: modelTypes) && row.modules.contains { DottedPattern($0).firstMatch(in: parts) != nil }
        }?.layout
    }

    /// What to do about it.
    static let help = "save the base with transformers 5 and save_original_format=False, and merge onto that"
}
