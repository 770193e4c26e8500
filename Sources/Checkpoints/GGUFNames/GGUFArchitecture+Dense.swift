extension GGUFArchitecture {
    /// Those of plain names, whose rows are as the Hub has them.
    static let denseFamily: [GGUFArchitecture] = [
        GGUFArchitecture("qwen2", ["qwen2"], dense),
        GGUFArchitecture("qwen2vl", ["qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text"], dense),
        GGUFArchitecture("qwen3", ["qwen3"], normed),
        GGUFArchitecture("qwen3vl", ["qwen3_vl", "qwen3_vl_text"], normed),
        GGUFArchitecture(
            "seed_oss", ["seed_oss"],
            rules(
                attention, feedForward,
                [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm")])),
        GGUFArchitecture("ernie4_5", ["ernie4_5"], dense),
        GGUFArchitecture(
            "command-r", ["cohere"],
            rules(attention, headNorms, feedForward, [("input_layernorm", "attn_norm")], outside: tied)),
        GGUFArchitecture(
            "cohere2", ["cohere2"], rules(attention, feedForward, [("input_layernorm", "attn_norm")], outside: tied)),
        GGUFArchitecture("stablelm", ["stablelm"], dense),
        GGUFArchitecture("nemotron", ["nemotron"], dense, normOffset: 1),
        GGUFArchitecture(
            "starcoder2", ["starcoder2"],
            rules(attention, preNorms, [("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down")])),
        GGUFArchitecture(
            "olmo2", ["olmo2", "olmo3"],
            rules(
                attention, headNorms, feedForward,
                [("post_attention_layernorm", "post_attention_norm"), ("post_feedforward_layernorm", "post_ffw_norm")])),
        GGUFArchitecture("gemma", ["gemma"], rules(attention, feedForward, preNorms, outside: tied), normOffset: 1),
        GGUFArchitecture(
            "gemma2", ["gemma2"], rules(attention, feedForward, sandwichNorms, outside: tied), normOffset: 1),
        GGUFArchitecture(
            "gemma3", ["gemma3_text", "gemma3"], rules(attention, headNorms, feedForward, sandwichNorms), normOffset: 1),
        GGUFArchitecture(
            "phi3", ["phi3"],
            rules(
                preNorms,
                [
                    ("self_attn.qkv_proj", "attn_qkv"), ("self_attn.o_proj", "attn_output"),
                    ("mlp.gate_up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
                ])),
        GGUFArchitecture(
            "phi2", ["phi"],
            rules(
                [
                    ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
                    ("self_attn.dense", "attn_output"), ("mlp.fc1", "ffn_up"), ("mlp.fc2", "ffn_down"),
                    ("input_layernorm", "attn_norm"),
                ], outside: [("model.embed_tokens", "token_embd"), ("model.final_layernorm", "output_norm"), ("lm_head", "output")])),
        GGUFArchitecture(
            "exaone", ["exaone"],
            rules(
                [
                    ("attn.attention.q_proj", "attn_q"), ("attn.attention.k_proj", "attn_k"), ("attn.attention.v_proj", "attn_v"),
                    ("attn.attention.out_proj", "attn_output"), ("mlp.c_fc_0", "ffn_gate"), ("mlp.c_fc_1", "ffn_up"),
                    ("mlp.c_proj", "ffn_down"), ("ln_1", "attn_norm"), ("ln_2", "ffn_norm"),
                ], outside: [("transformer.wte", "token_embd"), ("transformer.ln_f", "output_norm"), ("lm_head", "output")],
                front: "transformer.h.{n}.")),
        GGUFArchitecture(
            "exaone4", ["exaone4"],
            rules(
                attention, headNorms, feedForward,
                [("post_attention_layernorm", "post_attention_norm"), ("post_feedforward_layernorm", "post_ffw_norm")])),
        GGUFArchitecture("chatglm", ["glm"], rules(attention, preNorms, gateWithUp)),
        GGUFArchitecture(
            "glm4", ["glm4"],
            rules(
                attention, preNorms, gateWithUp,
                [("post_self_attn_layernorm", "post_attention_norm"), ("post_mlp_layernorm", "post_ffw_norm")]),
            // `Glm4Model.normal_to_neox`: of models that see pictures, queries and keys have another order.
            reorderedWith: "rope.dimension_sections"),
        GGUFArchitecture("hunyuan_vl", ["hunyuan_vl", "hunyuan_vl_text"], rules(attention, namedHeadNorms, feedForward, preNorms)),
        GGUFArchitecture("paddleocr", ["paddleocr_vl_text", "paddleocr_vl"], dense),
        GGUFArchitecture("dream", ["Dream"], dense),
        GGUFArchitecture("pangu-embedded", ["PanguEmbedded"], dense),
        GGUFArchitecture("hunyuan-dense", ["hunyuan_v1_dense"], rules(attention, namedHeadNorms, feedForward, preNorms)),
        GGUFArchitecture("jais2", ["jais2"], rules(attention, feedForward, preNorms)),
        GGUFArchitecture("minicpm3", ["minicpm3"], rules(feedForward, preNorms, latentAttention, [("self_attn.kv_b_proj", "attn_kv_b")])),
    ]
}
