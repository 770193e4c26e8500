import ByteAccess

/// The order in which a model registers its modules (`named_modules()`), which is not in a checkpoint: files sort by name.
///
/// Some methods deal out random numbers along it. Lists of layers go by number; siblings go as the classes of
/// transformers register them, most of which name alike what they register alike: `q_proj`, `k_proj`, `v_proj`, `o_proj`
/// in this order wherever the four stand together, but `k_proj`, `v_proj`, `q_proj` beside an `out_proj`. Where the rows
/// below do not decide, the order is not known, and the adapter refused.
///
/// Source: the `__init__` methods in transformers 5, all 574 model types of which were compared with the rows; the types
/// that register otherwise stand in `exceptions` and `others`, and in ``RegisteredOrder`` those of which a model was made and looked at.
struct ModuleOrder {
    private static let rows: [[String]] = [
        "q_proj k_proj v_proj o_proj", "k_proj v_proj q_proj out_proj", "o_proj qkv_proj", "qkv_proj o_proj",
        "q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj", "q_proj kv_a_proj_with_mqa kv_b_proj o_proj",
        "gate_proj up_proj down_proj", "gate_up_proj down_proj", "self_attn mlp", "self_attn feed_forward", "attn mlp",
        "self_attn encoder_attn fc1 fc2", "self_attn cross_attn mlp", "attn crossattention mlp",
        "attention mlp", "attention feed_forward", "attention crossattention intermediate output intermediate_query output_query", "attention ffn",
        "self output", "query key value dense", "query_proj key_proj value_proj", "q_lin k_lin v_lin out_lin", "lin1 lin2",
        "linear1 linear2", "linear_1 linear_2", "fc_in fc_out", "c_attn q_attn c_proj", "c_fc c_proj",
        "self_attention mlp", "query_key_value dense", "dense_h_to_4h dense_4h_to_h", "Wqkv Wo", "Wqkv out_proj", "Wi Wo",
        "q k v o", "SelfAttention EncDecAttention", "wi wi_0 wi_1 wo", "w1 w3 w2", "encoder decoder", "encoder pooler",
        "intermediate_dense output_dense", "in_proj x_proj dt_proj out_proj", "linear_attn mlp",
        "in_proj_qkv in_proj_z in_proj_b in_proj_a", "linear_q linear_k linear_v linear_out", "linear_fc1 linear_fc2",
        "model lm_head", "transformer lm_head", "gpt_neox embed_out", "qkv proj", "qkv projection",
        "self_attn mlp per_layer_input_gate per_layer_projection", "pre_classifier classifier", "dense out_proj",
        "pooler classifier", "class_labels_classifier bbox_predictor", "norm_attn_norm ffn", "qkv_proj out_proj output_gate", "pwconv1 pwconv2",
        "conv feed_forward", "mamba feed_forward", "in_proj_qkvz in_proj_ba out_proj", "encoder head",
        "spatial_block channel_block", "q_proj k_proj v_proj projection_layer",
        "key value receptance output", "key receptance value", "embedding_hidden_mapping_in albert_layer_groups",
        "transformer global_transformer", "gate shared_mlp", "embeddings encoder head", "layer_1 layer_2",
        "self_attn encoder_attn mlp", "output_hypernetworks_mlps iou_prediction_head", "attention ffn ffn_output", "in_proj pos_proj pos_q_proj",
        "vision_tower multi_modal_projector language_model", "visual language_model", "visual model", "vision_tower language_model",
        "text_model vision_model visual_projection text_projection", "vision_model qformer language_projection language_model",
        "vision_model text_decoder", "vision_encoder prompt_encoder mask_decoder", "vision_model language_model", "video_tower image_tower multi_modal_projector language_model",
    ].map { $0.split(separator: " ").map { String($0) } }

    private static let exceptions: [(types: Set<String>, row: [String])] = [
        (["lfm2", "lfm2_moe", "sam", "sam_hq"], ["q_proj", "k_proj", "v_proj", "out_proj"]),
        (["lfm2", "lfm2_moe"], ["in_proj", "out_proj"]),
        (
            ["dinov3_vit", "eomt_dinov3", "detr", "conditional_detr", "deformable_detr", "d_fine", "pp_doclayout_v2"],
            ["k_proj", "v_proj", "q_proj", "o_proj"]
        ),
        (["gte", "jina_embeddings_v3", "nomic_bert"], ["mlp", "self_attn"]),
        (["idefics"], ["gate_proj", "down_proj", "up_proj"]),
        (["jetmoe"], ["mlp", "self_attention"]),
        (
            [
                "voxtral", "voxtral_realtime", "audioflamingo3", "glmasr", "musicflamingo", "fun_asr_nano", "moss_transcribe_diarize",
                "nemotron3_5_transcribe", "omniasr", "qwen3_asr", "vibevoice",
            ],
            ["audio_tower", "language_model", "multi_modal_projector"]
        ),
        (["qwen2_audio"], ["audio_tower", "multi_modal_projector", "language_model"]),
        (
            ["idefics2", "idefics3", "smolvlm", "modernvbert", "ultravbert", "aimv2", "bridgetower", "granite_docling"],
            ["vision_model", "connector", "text_model"]
        ),
        (["mllama", "step3p7"], ["vision_model", "language_model", "multi_modal_projector"]),
        (
            ["ernie4_5_vl_moe", "hunyuan_vl", "hy_v4_vl", "diffusion_gemma", "dots3_note", "inkling", "inkling2", "inkling2_loop"],
            ["language_model", "vision_tower"]
        ),
        (["codegen"], ["out_proj", "qkv_proj"]),
        (["opt"], ["project_out", "project_in", "layers"]),
        (["gemma3n", "gemma4"], ["vision_tower", "language_model", "audio_tower"]),
        (["qwen2_5_omni", "qwen3_omni_moe"], ["audio_tower", "visual", "language_model"]),
    ]

    /// Heads, which a class registers after the model that they stand on; its own parts have a prefix (`model`, `bert`, `vit`).
    private static let heads: Set<String> = [
        "lm_head", "score", "classifier", "qa_outputs", "embed_out", "proj_out", "decode_head",
        "classification_head", "pre_classifier", "pooler", "class_labels_classifier", "bbox_predictor",
    ]

    /// Types of which a class registers its head first, or something after it, in one version of transformers or another.
    private static let unsettledHeads: Set<String> = [
        "camembert", "xlm_roberta", "jina_embeddings_v3", "csm", "kyutai_speech_to_text", "modernbert_decoder", "gemma4_assistant",
        "gemma4_unified_assistant", "luke", "levit",
    ]

    /// Types with another order than the rows say, some in one of several towers alone.
    private static let others: Set<String> = [
        "bamba", "deimv2", "edgetam_video", "exaone4_5", "exaone4_5_vision", "falcon_h1", "gemma4_audio", "informer", "lfm2_vl", "lfm3_vl",
        "lfm3_vl_vision", "lighton_ocr", "longcat_flash", "maskformer", "mistral3", "mistral_large4", "mistral_large4_text",
        "olmo_hybrid", "oneformer", "pixtral", "nemotron_h_omni", "pp_doclayout_v3", "pp_doclayout_v4", "pp_formulanet", "prophetnet", "rt_detr",
        "rt_detr_v2", "sapiens2", "t5gemma",
    ]

    private let rows: [[String]]
    /// Rows of this very model, which go before.
    private let registered: [[String]]
    private let modelTypes: [String]
    /// Renames from the file's names to those in memory.
    private let renames: [RenameRule]
    /// The tensor that holds each module, where it is known: the fronts of names can differ.
    private let tensors: [ExactString: ExactString]
    /// The names that stand under a path of the base, both as memory has them.
    private let children: [String: Set<String>]

    /// - Parameter tensors: the tensor of each path's weight, where it has another name than the path.
    init(base: BaseDirectory, tensors: [ExactString: ExactString] = [:]) {
        modelTypes = base.modelTypes
        renames = RenameTable.rules(for: base.allModelTypes)
        self.tensors = tensors
        let types = Set(base.allModelTypes)
        let matching = Self.exceptions.filter { !$0.types.isDisjoint(with: types) }
        // What one part of a model does otherwise, the other parts need not do.
        let isOfPart = matching.contains { !$0.types.contains(base.modelTypes.first ?? "") } && types.count > 1
        let own = matching.map(\.row)
        rows = Self.others.isDisjoint(with: types) && !isOfPart ? own.isEmpty ? Self.rows : own + Self.rows.filter { row in
            !own.contains { $0.contains { row.contains($0) } }
        } : []
        registered = RegisteredOrder.rows(for: base.allModelTypes) ?? []
        var children: [String: Set<String>] = [:]
        for name in base.names {
            let parts = RenameRule.inMemory(name.text, renames).dottedComponents.map { String($0) }
            for depth in parts.indices { children[parts[..<depth].joined(separator: "."), default: []].insert(parts[depth]) }
        }
        self.children = children
    }

    /// The paths in the model's order.
    ///
    /// - Throws: `.refused` where the order of two of them is not known.
    func sorted(_ paths: [ExactString]) throws -> [ExactString] {
        let split = paths.map { path -> Path in
            let parts = path.text.dottedComponents.map { String($0) }
            guard let tensor = tensors[path] else { return (path, parts, parts) }
            // Without the parameter's own name.
            return (path, parts, RenameRule.inMemory(tensor.text, renames).dottedComponents.dropLast().map { String($0) })
        }
        return try sorted(split, depth: 0).map(\.0)
    }

    /// A module, its path in memory, and the path of its tensor in the file by the names in memory.
    private typealias Path = (ExactString, [String], [String])

    /// What stands beside the component at `depth`: the ends of both paths are the same, whatever stands in front.
    private func siblings(of path: Path, depth: Int) -> Set<String> {
        let place = path.2.count - (path.1.count - depth)
        return place >= 0 ? children[path.2[..<place].joined(separator: ".")] ?? [] : []
    }

    private func sorted(_ paths: [Path], depth: Int) throws -> [Path] {
        guard paths.count > 1 else { return paths }
        // A module comes before what it holds.
        let own = paths.filter { $0.1.count <= depth }
        let groups = Dictionary(grouping: paths.filter { $0.1.count > depth }) { $0.1[depth] }
        let siblings = groups.values.compactMap(\.first).reduce(into: Set<String>()) { $0.formUnion(self.siblings(of: $1, depth: depth)) }
        var names = Array(groups.keys)
        // Insertion, since a comparison may throw and the siblings are few or numbered.
        if names.allSatisfy({ Int($0) != nil }) {
            names.sort { (Int($0) ?? 0, $0) < (Int($1) ?? 0, $1) }
        } else {
            names.sort()
            var ordered: [String] = []
            for name in names {
                var place = ordered.endIndex
                for (index, other) in ordered.enumerated() where try precedes(name, other, among: siblings, depth: depth) {
                    place = min(place, index)
                }
                ordered.insert(name, at: place)
            }
            names = ordered
        }
        return try names.reduce(own) { result, name in
            result + (try sorted(groups[name] ?? [], depth: depth + 1))
        }
    }

    private func precedes(_ a: String, _ b: String, among siblings: Set<String>, depth: Int) throws -> Bool {
        func verdict(_ rows: [[String]]) -> Bool? {
            let orders = Set(rows.compactMap { row -> Bool? in
                guard let first = row.firstIndex(of: a), let second = row.firstIndex(of: b) else { return nil }
                return first < second
            })
            return orders.count == 1 ? orders.first : nil
        }
        if depth == 0, Self.unsettledHeads.isDisjoint(with: modelTypes), Self.heads.contains(a) != Self.heads.contains(b) {
            return Self.heads.contains(b)
        }
        let rows = registered.contains { $0.contains(a) && $0.contains(b) } ? registered : rows
        if let order = verdict(rows) ?? verdict(rows.filter { $0.allSatisfy(siblings.contains) }) { return order }
        throw PeftfileError(
            .refused,
            "whether the model registers \"\(a.printable)\" before \"\(b.printable)\" is in no file"
                + (modelTypes.first.map { " and not known for model_type \"\($0.printable)\"" } ?? ""),
            rule: "ModuleOrder", help: "save the adapter again with its indices or projections in the file")
    }
}
