import ByteAccess

/// The order in which a model registers its modules (`named_modules()`), which is not in a checkpoint: files sort by name.
///
/// Some methods deal out random numbers along it. Lists of layers go by number; siblings go as the classes of
/// transformers register them, most of which name alike what they register alike: `q_proj`, `k_proj`, `v_proj`, `o_proj`
/// in this order wherever the four stand together, but `k_proj`, `v_proj`, `q_proj` beside an `out_proj`. Where the rows
/// below do not decide, the order is not known, and the adapter refused.
///
/// Source: the `__init__` methods in transformers 5, all 574 model types of which were compared with the rows; the types
/// that register otherwise stand in `exceptions` and `others`.
struct ModuleOrder {
    private static let rows: [[String]] = [
        "q_proj k_proj v_proj o_proj", "k_proj v_proj q_proj out_proj", "o_proj qkv_proj", "qkv_proj o_proj",
        "q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj", "q_proj kv_a_proj_with_mqa kv_b_proj o_proj",
        "gate_proj up_proj down_proj", "gate_up_proj down_proj", "self_attn mlp", "self_attn feed_forward", "attn mlp",
        "self_attn encoder_attn fc1 fc2", "self_attn cross_attn mlp", "attn crossattention mlp",
        "attention mlp", "attention feed_forward", "attention crossattention intermediate output", "attention ffn",
        "self output", "query key value dense", "query_proj key_proj value_proj", "q_lin k_lin v_lin out_lin", "lin1 lin2",
        "linear1 linear2", "linear_1 linear_2", "fc_in fc_out", "c_attn q_attn c_proj", "c_fc c_proj",
        "self_attention mlp", "query_key_value dense", "dense_h_to_4h dense_4h_to_h", "Wqkv Wo", "Wqkv out_proj", "Wi Wo",
        "q k v o", "SelfAttention EncDecAttention", "wi wi_0 wi_1 wo", "w1 w3 w2", "encoder decoder", "encoder pooler",
        "intermediate_dense output_dense", "in_proj x_proj dt_proj out_proj", "linear_attn mlp",
        "in_proj_qkv in_proj_z in_proj_b in_proj_a", "linear_q linear_k linear_v linear_out", "linear_fc1 linear_fc2",
        "model lm_head", "transformer lm_head", "gpt_neox embed_out", "qkv proj", "qkv projection",
        "self_attn mlp per_layer_input_gate per_layer_projection",
    ].map { $0.split(separator: " ").map { String($0) } }

    private static let exceptions: [(types: Set<String>, row: [String])] = [
        (["lfm2", "lfm2_vl", "sam", "sam_hq"], ["q_proj", "k_proj", "v_proj", "out_proj"]),
        (["dinov3_vit"], ["k_proj", "v_proj", "q_proj", "o_proj"]),
        (["gte", "jina_embeddings_v3", "nomic_bert"], ["mlp", "self_attn"]),
        (["idefics"], ["gate_proj", "down_proj", "up_proj"]),
        (["jetmoe"], ["mlp", "self_attention"]),
    ]

    /// Types with another order than the rows say, some in one of several towers alone.
    private static let others: Set<String> = [
        "d_fine", "deimv2", "edgetam_video", "exaone4_5", "exaone4_5_vision", "falcon_h1", "gemma4_audio", "lfm3_vl",
        "lfm3_vl_vision", "lighton_ocr", "longcat_flash", "maskformer", "mistral3", "mistral_large4", "mistral_large4_text",
        "olmo_hybrid", "oneformer", "pixtral", "pp_doclayout_v3", "pp_doclayout_v4", "prophetnet", "rt_detr",
        "rt_detr_v2", "sapiens2", "t5gemma",
    ]

    private let rows: [[String]]
    private let modelTypes: [String]
    /// The names that stand beside a name in the base, by the name that both stand under.
    private let children: [String: Set<String>]

    init(base: BaseDirectory) {
        modelTypes = base.modelTypes
        let types = Set(base.modelTypes)
        let own = Self.exceptions.filter { !$0.types.isDisjoint(with: types) }.map(\.row)
        rows = Self.others.isDisjoint(with: types) ? own.isEmpty ? Self.rows : own + Self.rows.filter { row in
            !own.contains { $0.contains { row.contains($0) } }
        } : []
        var children: [String: Set<String>] = [:]
        for name in base.names {
            let parts = name.text.dottedComponents.map { String($0) }
            for (parent, child) in zip(parts, parts.dropFirst()) { children[parent, default: []].insert(child) }
        }
        self.children = children
    }

    /// The paths in the model's order.
    ///
    /// - Throws: `.refused` where the order of two of them is not known.
    func sorted(_ paths: [ExactString]) throws -> [ExactString] {
        let split = paths.map { path in (path, path.text.dottedComponents.map { String($0) }) }
        return try sorted(split, depth: 0).map(\.0)
    }

    private typealias Path = (ExactString, [String])

    private func sorted(_ paths: [Path], depth: Int) throws -> [Path] {
        guard paths.count > 1 else { return paths }
        // A module comes before what it holds.
        let own = paths.filter { $0.1.count <= depth }
        let groups = Dictionary(grouping: paths.filter { $0.1.count > depth }) { $0.1[depth] }
        let parent = depth == 0 ? "" : paths.first?.1[depth - 1] ?? ""
        var names = Array(groups.keys)
        // Insertion, since a comparison may throw and the siblings are few or numbered.
        if names.allSatisfy({ Int($0) != nil }) {
            names.sort { (Int($0) ?? 0, $0) < (Int($1) ?? 0, $1) }
        } else {
            names.sort()
            var ordered: [String] = []
            for name in names {
                var place = ordered.endIndex
                for (index, other) in ordered.enumerated() where try precedes(name, other, under: parent) {
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

    private func precedes(_ a: String, _ b: String, under parent: String) throws -> Bool {
        let siblings = children[parent] ?? []
        func verdict(_ rows: [[String]]) -> Bool? {
            let orders = Set(rows.compactMap { row -> Bool? in
                guard let first = row.firstIndex(of: a), let second = row.firstIndex(of: b) else { return nil }
                return first < second
            })
            return orders.count == 1 ? orders.first : nil
        }
        if let order = verdict(rows) ?? verdict(rows.filter { $0.allSatisfy(siblings.contains) }) { return order }
        throw PeftfileError(
            .refused,
            "whether the model registers \"\(a.printable)\" before \"\(b.printable)\" is in no file"
                + (modelTypes.first.map { " and not known for model_type \"\($0.printable)\"" } ?? ""),
            rule: "ModuleOrder", help: "save the adapter again with its indices or projections in the file")
    }
}
