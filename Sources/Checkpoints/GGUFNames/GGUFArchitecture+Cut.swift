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
            "deepseek2", ["deepseek_v3", "deepseek_v2", "kimi_k2"],
            rules(
                feedForward, preNorms, experts, latentAttention, sharedExperts,
                parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")])
                + formed([
                    ("self_attn.kv_b_proj", "attn_k_b", .latentKeys), ("self_attn.kv_b_proj", "attn_v_b", .latentValues),
                ])
                // Before the cut.
                + rules([("self_attn.kv_b_proj", "attn_kv_b")], outside: [])),
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
