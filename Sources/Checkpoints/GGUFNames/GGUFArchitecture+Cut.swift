extension GGUFArchitecture {
    /// Granite's experts, whose gate and up projection the Hub has as one matrix each, (E, 2·width, in), and whose rows the converter
    /// cuts in two; the shared expert's too.
    static let graniteExperts = rules(
        [
            ("block_sparse_moe.router.layer", "ffn_gate_inp"), ("block_sparse_moe.output_linear", "ffn_down_exps"),
            ("shared_mlp.output_linear", "ffn_down_shexp"),
        ], outside: [])
        + formed([
            ("block_sparse_moe.input_linear", "ffn_gate_exps", .rows(part: 0)),
            ("block_sparse_moe.input_linear", "ffn_up_exps", .rows(part: 1)),
            ("shared_mlp.input_linear", "ffn_gate_shexp", .rows(part: 0)), ("shared_mlp.input_linear", "ffn_up_shexp", .rows(part: 1)),
        ]) + graniteDense

    /// The same of models without experts, whose shared one is a feed-forward.
    static let graniteDense =
        rules([("shared_mlp.output_linear", "ffn_down")], outside: [])
        + formed([
            ("shared_mlp.input_linear", "ffn_gate", .rows(part: 0)), ("shared_mlp.input_linear", "ffn_up", .rows(part: 1)),
        ])

    /// Latent attention to the tokens that an indexer chooses.
    private static let sparseLatent =
        rules(
            feedForward, preNorms, experts, latentAttention, sharedExperts, indexer, predictor,
            parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")]) + latentCut

    /// Experts that are parameters of all in the Hub too, (E, 2f, in) and (E, out, f): llama.cpp has gate and up projection in one stack or in two.
    static func wholeExperts(_ module: String) -> [Rule] {
        formed(
            [
                ("\(module).gate_up_proj", "ffn_gate_exps.weight", .rows(part: 0)), ("\(module).gate_up_proj", "ffn_up_exps.weight", .rows(part: 1)),
            ], areParameters: true)
            + rules(
                outside: [], parameters: [("\(module).gate_up_proj", "ffn_gate_up_exps.weight"), ("\(module).down_proj", "ffn_down_exps.weight")])
    }

    /// Those with a tensor that the converter cuts in two, or turns in a stack.
    static let cutFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "granitemoe", ["granitemoe", "granitemoeshared"], rules(attention, preNorms) + graniteExperts, rowOrders: rotary,
            tellsModelType: true),
        // Granite 4 without layers of Mamba is written as "granite" by `GraniteHybridModel`, which leaves its keys there.
        GGUFArchitecture("granite", [], rules(attention, preNorms) + graniteDense, rowOrders: rotary, markedBy: "ssm.conv_kernel"),
        GGUFArchitecture(
            "gpt-oss", ["gpt_oss"],
            rules(
                attention,
                [
                    ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
                    ("mlp.router", "ffn_gate_inp"),
                ], parameters: [("self_attn.sinks", "attn_sinks.weight"), ("mlp.experts.down_proj_bias", "ffn_down_exps.bias")])
                + formed(
                    [
                        ("mlp.experts.gate_up_proj", "ffn_gate_exps.weight", .columns(part: 0, alternate: true)),
                        ("mlp.experts.gate_up_proj", "ffn_up_exps.weight", .columns(part: 1, alternate: true)),
                        ("mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias", .columns(part: 0, alternate: true)),
                        ("mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias", .columns(part: 1, alternate: true)),
                        ("mlp.experts.down_proj", "ffn_down_exps.weight", .turned),
                    ], areParameters: true)),
        GGUFArchitecture(
            "llama4", ["llama4_text", "llama4"],
            rules(
                attention, preNorms,
                [
                    ("feed_forward.gate_proj", "ffn_gate"), ("feed_forward.up_proj", "ffn_up"), ("feed_forward.down_proj", "ffn_down"),
                    ("feed_forward.router", "ffn_gate_inp"), ("feed_forward.shared_expert.gate_proj", "ffn_gate_shexp"),
                    ("feed_forward.shared_expert.up_proj", "ffn_up_shexp"), ("feed_forward.shared_expert.down_proj", "ffn_down_shexp"),
                ])
                + formed(
                    [
                        ("feed_forward.experts.gate_up_proj", "ffn_gate_exps.weight", .columns(part: 0, alternate: false)),
                        ("feed_forward.experts.gate_up_proj", "ffn_up_exps.weight", .columns(part: 1, alternate: false)),
                        ("feed_forward.experts.down_proj", "ffn_down_exps.weight", .turned),
                    ], areParameters: true)),
        GGUFArchitecture(
            "deepseek2", ["deepseek_v3", "deepseek_v2", "kimi_k2", "glm4_moe_lite"],
            rules(
                feedForward, preNorms, experts, latentAttention, sharedExperts, predictor,
                parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")])
                + latentCut
                // Before the cut.
                + rules([("self_attn.kv_b_proj", "attn_kv_b")], outside: [])),
        GGUFArchitecture("deepseek32", ["deepseek_v32"], sparseLatent),
        GGUFArchitecture("glm-dsa", ["glm_moe_dsa"], sparseLatent),
        GGUFArchitecture(
            "mistral4", ["mistral4"],
            rules(feedForward, preNorms, latentAttention, sharedExperts, [("mlp.gate", "ffn_gate_inp")]) + latentCut
                + wholeExperts("mlp.experts"), tellsModelType: true),
        GGUFArchitecture(
            "granite_swa", ["granitemoe_swa", "granite_swa"],
            rules(
                attention, preNorms, feedForward,
                [
                    ("block_sparse_moe.router", "ffn_gate_inp"), ("shared_mlp.input_linear", "ffn_up_shexp"), ("shared_mlp.output_linear", "ffn_down_shexp"),
                ], parameters: [("self_attn.sinks", "attn_sinks.weight")]) + wholeExperts("block_sparse_moe.experts"),
            rowOrders: rotary, tellsModelType: true),
        GGUFArchitecture(
            "apertus", ["apertus"],
            rules(
                attention, headNorms, feedForward,
                [("attention_layernorm", "attn_norm"), ("feedforward_layernorm", "ffn_norm")]),
            // Of the activation's numbers the converter makes metadata: `ApertusModel` in conversion/llama.py.
            numbers: [
                ("xielu.alpha_n", "model.layers.{n}.mlp.act_fn.alpha_n", [1]), ("xielu.alpha_p", "model.layers.{n}.mlp.act_fn.alpha_p", [1]),
                ("xielu.beta", "model.layers.{n}.mlp.act_fn.beta", []), ("xielu.eps", "model.layers.{n}.mlp.act_fn.eps", []),
            ]),
    ]
}
