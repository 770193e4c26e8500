extension GGUFArchitecture {
    /// Those with experts, each of whose matrices is one of a stack.
    static let expertFamily: [GGUFArchitecture] = [
        GGUFArchitecture("phimoe", ["phimoe"], rules(attention, preNorms, mixtralExperts)),
        GGUFArchitecture("olmoe", ["olmoe"], rules(attention, headNorms, preNorms, experts)),
        GGUFArchitecture("qwen3moe", ["qwen3_moe"], rules(attention, headNorms, feedForward, preNorms, experts)),
        GGUFArchitecture(
            "qwen3vlmoe", ["qwen3_vl_moe", "qwen3_vl_moe_text"], rules(attention, headNorms, feedForward, preNorms, experts)),
        GGUFArchitecture(
            "qwen2moe", ["qwen2_moe"],
            rules(
                attention, feedForward, preNorms, experts,
                [
                    ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"), ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
                    ("mlp.shared_expert.up_proj", "ffn_up_shexp"), ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
                ])),
        GGUFArchitecture(
            "dots1", ["dots1"],
            rules(
                attention, headNorms, feedForward, preNorms, experts, sharedExperts,
                parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "glm4moe", ["glm4_moe", "solar_open"],
            rules(
                attention, headNorms, feedForward, experts, sharedExperts, postNormedInput, predictor,
                parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "hy_v3", ["hy_v3"],
            rules(
                attention, headNorms, feedForward, preNorms, experts.dropFirst() + [("mlp.router.gate", "ffn_gate_inp")],
                predictor.dropLast() + [("final_layernorm", "nextn.shared_head_norm")],
                [
                    ("mlp.shared_mlp.gate_proj", "ffn_gate_shexp"), ("mlp.shared_mlp.up_proj", "ffn_up_shexp"),
                    ("mlp.shared_mlp.down_proj", "ffn_down_shexp"),
                ], parameters: [("mlp.expert_bias", "exp_probs_b")]), tellsModelType: true),
        GGUFArchitecture(
            "cohere2moe", ["cohere2_moe"],
            rules(attention, feedForward, experts, sharedExperts, predictor, [("input_layernorm", "attn_norm")])),
        GGUFArchitecture("rnd1", ["rnd1"], rules(attention, headNorms, preNorms, experts)),
        GGUFArchitecture("llada-moe", [], rules(attention, headNorms, preNorms, experts)),
        GGUFArchitecture(
            "smallthinker", ["smallthinker"],
            rules(
                attention, preNorms, feedForward,
                [
                    ("block_sparse_moe.primary_router", "ffn_gate_inp"), ("block_sparse_moe.experts.{e}.gate", "ffn_gate_exps"),
                    ("block_sparse_moe.experts.{e}.up", "ffn_up_exps"), ("block_sparse_moe.experts.{e}.down", "ffn_down_exps"),
                ])),
        GGUFArchitecture("mellum", ["mellum"], rules(attention, headNorms, feedForward, preNorms, experts)),
        GGUFArchitecture(
            "bailingmoe2", ["bailing_moe_v2"],
            rules(
                feedForward, preNorms, experts, sharedExperts, predictor.dropLast() + [("final_layernorm", "nextn.shared_head_norm")],
                [
                    ("attention.query_key_value", "attn_qkv"), ("attention.dense", "attn_output"), ("attention.query_layernorm", "attn_q_norm"),
                    ("attention.key_layernorm", "attn_k_norm"),
                ], outside: [("model.word_embeddings", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")],
                parameters: [("mlp.gate.expert_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "exaone-moe", ["exaone_moe"],
            rules(
                attention, headNorms, feedForward, preNorms, experts, sharedExperts,
                parameters: [("mlp.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "ernie4_5-moe", ["ernie4_5_moe"],
            rules(
                attention, feedForward, preNorms, experts, sharedExperts,
                parameters: [("mlp.moe_statics.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "afmoe", ["afmoe"],
            rules(
                attention, headNorms, feedForward, experts.dropFirst() + [("mlp.router.gate", "ffn_gate_inp")], sharedExperts,
                [
                    ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
                    ("pre_mlp_layernorm", "ffn_norm"), ("post_mlp_layernorm", "post_ffw_norm"), ("self_attn.gate_proj", "attn_gate"),
                ], parameters: [("mlp.expert_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "hunyuan-moe", ["hunyuan_v1_moe"],
            rules(
                attention, namedHeadNorms, preNorms, experts.dropFirst() + [("mlp.gate.wg", "ffn_gate_inp")],
                [
                    ("mlp.shared_mlp.gate_proj", "ffn_gate_shexp"), ("mlp.shared_mlp.up_proj", "ffn_up_shexp"),
                    ("mlp.shared_mlp.down_proj", "ffn_down_shexp"),
                ])),
        GGUFArchitecture(
            "minimax-m2", ["minimax_m2"],
            rules(
                attention, headNorms, preNorms, mixtralExperts,
                parameters: [("block_sparse_moe.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "laguna", ["laguna"],
            rules(
                attention, headNorms, feedForward, preNorms, experts,
                [
                    ("self_attn.g_proj", "attn_gate"), ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
                    ("mlp.shared_expert.up_proj", "ffn_up_shexp"), ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
                ], parameters: [("mlp.experts.e_score_correction_bias", "exp_probs_b.bias")]), tellsModelType: true),
    ]
}
