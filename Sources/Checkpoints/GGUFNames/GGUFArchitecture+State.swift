extension GGUFArchitecture {
    /// LFM2's blocks: a short convolution or attention, then a feed-forward.
    private static let shortConvolution =
        rules(
            [
                ("operator_norm", "attn_norm"), ("ffn_norm", "ffn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
                ("self_attn.v_proj", "attn_v"), ("self_attn.out_proj", "attn_output"), ("self_attn.q_layernorm", "attn_q_norm"),
                ("self_attn.k_layernorm", "attn_k_norm"), ("feed_forward.w1", "ffn_gate"), ("feed_forward.w3", "ffn_up"),
                ("feed_forward.w2", "ffn_down"), ("conv.in_proj", "shortconv.in_proj"), ("conv.out_proj", "shortconv.out_proj"),
            ],
            outside: [("model.embed_tokens", "token_embd"), ("model.embedding_norm", "token_embd_norm"), ("lm_head", "output")])
        + formed([("conv.conv", "shortconv.conv", .filters)])

    /// Mamba's selective state space under a module's name; `A_log` and `D` of the first kind.
    private static func mamba(_ module: String, front: String = "model.layers.{n}.") -> [Rule] {
        rules(
            [
                ("\(module).in_proj", "ssm_in"), ("\(module).x_proj", "ssm_x"), ("\(module).dt_proj", "ssm_dt"),
                ("\(module).out_proj", "ssm_out"), ("\(module).dt_layernorm", "ssm_dt_norm"), ("\(module).b_layernorm", "ssm_b_norm"),
                ("\(module).c_layernorm", "ssm_c_norm"),
            ], outside: [], front: front, parameters: [("\(module).D", "ssm_d")])
            + formed([("\(module).conv1d", "ssm_conv1d", .filters)], front: front)
            + formed([("\(module).A_log", "ssm_a", .exponential(isVector: false))], front: front, areParameters: true)
    }

    /// Mamba 2's, of which `A_log` and `D` have a number for each head.
    private static func mamba2(_ module: String, front: String = "model.layers.{n}.") -> [Rule] {
        rules(
            [("\(module).in_proj", "ssm_in"), ("\(module).out_proj", "ssm_out")], outside: [], front: front,
            parameters: [("\(module).dt_bias", "ssm_dt.bias")])
            + formed([("\(module).conv1d", "ssm_conv1d", .filters), ("\(module).norm", "ssm_norm", .vector)], front: front)
            + formed(
                [("\(module).A_log", "ssm_a", .exponential(isVector: true)), ("\(module).D", "ssm_d", .vector)], front: front,
                areParameters: true)
    }

    private static let backbone: Lines = [
        ("backbone.embeddings", "token_embd"), ("backbone.norm_f", "output_norm"), ("lm_head", "output"),
    ]
    private static let ofBackbone = "backbone.layers.{n}."
    private static let finalNorm: Lines = [
        ("model.embed_tokens", "token_embd"), ("model.final_layernorm", "output_norm"), ("lm_head", "output"),
    ]
    private static let feedForwardNorms: Lines = [
        ("input_layernorm", "attn_norm"), ("pre_ff_layernorm", "ffn_norm"), ("feed_forward.gate_proj", "ffn_gate"),
        ("feed_forward.up_proj", "ffn_up"), ("feed_forward.down_proj", "ffn_down"),
    ]

    /// Nemotron-H's blocks: one norm, and a mixer that is a state, attention, a feed-forward or experts without a gate projection.
    private static let nemotronH =
        rules(
            [
                ("norm", "attn_norm"), ("mixer.q_proj", "attn_q"), ("mixer.k_proj", "attn_k"), ("mixer.v_proj", "attn_v"),
                ("mixer.o_proj", "attn_output"), ("mixer.up_proj", "ffn_up"), ("mixer.down_proj", "ffn_down"), ("mixer.gate", "ffn_gate_inp"),
                ("mixer.experts.{e}.up_proj", "ffn_up_exps"), ("mixer.experts.{e}.down_proj", "ffn_down_exps"),
                ("mixer.shared_experts.up_proj", "ffn_up_shexp"), ("mixer.shared_experts.down_proj", "ffn_down_shexp"),
                ("mixer.fc1_latent_proj", "ffn_latent_down"), ("mixer.fc2_latent_proj", "ffn_latent_up"),
            ], outside: backbone, front: ofBackbone, parameters: [("mixer.gate.e_score_correction_bias", "exp_probs_b.bias")])
        + mamba2("mixer", front: ofBackbone)

    /// Those with a state in the place of attention, or beside it.
    static let stateFamily: [GGUFArchitecture] = [
        GGUFArchitecture("lfm2", ["lfm2"], shortConvolution),
        GGUFArchitecture(
            "lfm2moe", ["lfm2_moe"],
            shortConvolution
                + rules(
                    [
                        ("feed_forward.gate", "ffn_gate_inp"), ("feed_forward.experts.{e}.w1", "ffn_gate_exps"),
                        ("feed_forward.experts.{e}.w3", "ffn_up_exps"), ("feed_forward.experts.{e}.w2", "ffn_down_exps"),
                    ], outside: [], parameters: [("feed_forward.expert_bias", "exp_probs_b.bias")]),
            tellsModelType: true),
        GGUFArchitecture(
            "mamba", ["mamba", "falcon_mamba"],
            rules([("norm", "attn_norm")], outside: backbone, front: ofBackbone) + mamba("mixer", front: ofBackbone)),
        GGUFArchitecture(
            "mamba2", ["mamba2"],
            rules([("norm", "attn_norm")], outside: backbone, front: ofBackbone) + mamba2("mixer", front: ofBackbone)),
        GGUFArchitecture(
            "jamba", ["jamba"],
            rules(
                attention, feedForwardNorms,
                [
                    ("feed_forward.router", "ffn_gate_inp"), ("feed_forward.experts.{e}.gate_proj", "ffn_gate_exps"),
                    ("feed_forward.experts.{e}.up_proj", "ffn_up_exps"), ("feed_forward.experts.{e}.down_proj", "ffn_down_exps"),
                ], outside: finalNorm) + mamba("mamba"), tellsModelType: true),
        // Granite's converter writes its multipliers; of Bamba, which has the same architecture and other names, there are none.
        GGUFArchitecture(
            "granitehybrid", ["granitemoehybrid"], rules(attention, preNorms) + mamba2("mamba") + graniteExperts, rowOrders: rotary,
            markedBy: "embedding_scale", tellsModelType: true),
        GGUFArchitecture(
            "granitehybrid", ["bamba"], rules(attention, feedForwardNorms, outside: finalNorm) + mamba2("mamba"), rowOrders: rotary),
        GGUFArchitecture("nemotron_h", ["nemotron_h"], nemotronH, rowOrders: rotary, tellsModelType: true),
        GGUFArchitecture("nemotron_h_moe", [], nemotronH, rowOrders: rotary, tellsModelType: true),
    ]
}
