extension GGUFArchitecture {
    /// The expert that every token goes through, with a gate of its own.
    static let gatedSharedExpert: Lines = [
        ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"), ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
        ("mlp.shared_expert.up_proj", "ffn_up_shexp"), ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
    ]

    /// What the blocks that predict more tokens have besides: `_QwenMtpMixin` in conversion/qwen.py.
    private static let predictors: [Rule] = [
        Rule("mtp.fc", "blk.{n}.nextn.eh_proj"), Rule("mtp.pre_fc_norm_embedding", "blk.{n}.nextn.enorm"),
        Rule("mtp.pre_fc_norm_hidden", "blk.{n}.nextn.hnorm"), Rule("mtp.norm", "blk.{n}.nextn.shared_head_norm"),
    ]

    /// Qwen3.5's blocks without the feed-forward, whose heads of values llama.cpp has in another order.
    private static let tiledLinear =
        rules(attention, headNorms, postNormedInput, [("linear_attn.norm", "ssm_norm")])
        + ([
            ("linear_attn.in_proj_qkv", "attn_qkv", .valueRows(isWide: true)), ("linear_attn.in_proj_z", "attn_gate", .valueRows(isWide: true)),
            ("linear_attn.in_proj_a", "ssm_alpha", .valueRows(isWide: false)), ("linear_attn.in_proj_b", "ssm_beta", .valueRows(isWide: false)),
            ("linear_attn.conv1d", "ssm_conv1d", .valueFilters), ("linear_attn.out_proj", "ssm_out", .valueColumns),
        ] as [(String, String, GGUFForm)]).map {
            // In a layer of attention `attn_qkv` is what an option of the converter joins.
            Rule("model.layers.{n}.\($0.0)", "blk.{n}.\($0.1)", beside: "blk.{n}.ssm_a", form: $0.2)
        }
        + formed(
            [("linear_attn.dt_bias", "ssm_dt.bias", .valueVector), ("linear_attn.A_log", "ssm_a", .valueExponential)], areParameters: true)
        + predictors

    /// A layer of Kimi's delta attention, whose decay and gate each have two factors.
    private static let deltaAttention =
        rules(
            [
                ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("self_attn.f_a_proj", "ssm_f_a"), ("self_attn.f_b_proj", "ssm_f_b"),
                ("self_attn.g_a_proj", "ssm_g_a"), ("self_attn.g_b_proj", "ssm_g_b"), ("self_attn.b_proj", "ssm_beta"), ("self_attn.o_norm", "ssm_norm"),
            ], outside: [], parameters: [("self_attn.dt_bias", "ssm_dt.bias")])
        + formed([
            ("self_attn.q_conv1d", "ssm_conv1d_q", .filters), ("self_attn.k_conv1d", "ssm_conv1d_k", .filters),
            ("self_attn.v_conv1d", "ssm_conv1d_v", .filters),
        ]) + formed([("self_attn.A_log", "ssm_a", .exponential(isVector: false))], areParameters: true)

    /// Those whose layers are linear attention, a gated delta rule, and every fourth attention.
    static let linearFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "qwen3next", ["qwen3_next"],
            rules(
                attention, headNorms, feedForward, postNormedInput, experts, gatedSharedExpert,
                [
                    ("linear_attn.in_proj_ba", "ssm_ba"), ("linear_attn.norm", "ssm_norm"), ("linear_attn.out_proj", "ssm_out"),
                ], parameters: [("linear_attn.dt_bias", "ssm_dt.bias")])
                + ([
                    ("linear_attn.in_proj_qkvz", "attn_qkv", .linearProjection(part: 0)),
                    ("linear_attn.in_proj_qkvz", "attn_gate", .linearProjection(part: 1)), ("linear_attn.conv1d", "ssm_conv1d", .filters),
                ] as [(String, String, GGUFForm)]).map { Rule("model.layers.{n}.\($0.0)", "blk.{n}.\($0.1)", beside: "blk.{n}.ssm_a", form: $0.2) }
                + formed([("linear_attn.A_log", "ssm_a", .exponential(isVector: false))], areParameters: true) + predictors,
            normOffset: 1, tellsModelType: true, hasPredictors: true),
        GGUFArchitecture(
            "qwen35", ["qwen3_5_text", "qwen3_5"], rules(feedForward, outside: []) + tiledLinear, normOffset: 1, tellsModelType: true,
            hasPredictors: true),
        GGUFArchitecture(
            "qwen35moe", ["qwen3_5_moe_text", "qwen3_5_moe"],
            rules([("mlp.gate", "ffn_gate_inp")], gatedSharedExpert, outside: []) + tiledLinear
                + wholeExperts("mlp.experts"),
            normOffset: 1, tellsModelType: true, hasPredictors: true),
        GGUFArchitecture(
            "kimi-linear", ["kimi_linear"],
            rules(
                feedForward, preNorms, mixtralExperts, latentAttention,
                [
                    ("block_sparse_moe.shared_experts.gate_proj", "ffn_gate_shexp"), ("block_sparse_moe.shared_experts.up_proj", "ffn_up_shexp"),
                    ("block_sparse_moe.shared_experts.down_proj", "ffn_down_shexp"),
                ], parameters: [("block_sparse_moe.gate.e_score_correction_bias", "exp_probs_b.bias")])
                + latentCut + deltaAttention, tellsModelType: true),
    ]
}
