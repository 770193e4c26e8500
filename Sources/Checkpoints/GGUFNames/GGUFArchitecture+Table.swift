extension GGUFArchitecture {
    private typealias Lines = [(String, String)]

    // MARK: Parts of models, in the names that most share

    private static let outside: Lines = [
        ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
    ]
    private static let attention: Lines = [
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
    ]
    private static let headNorms: Lines = [("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm")]
    private static let feedForward: Lines = [
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]
    private static let preNorms: Lines = [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")]
    /// Norms before and after each half of the block.
    private static let sandwichNorms: Lines = [
        ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"), ("post_feedforward_layernorm", "post_ffw_norm"),
    ]
    private static let experts: Lines = [
        ("mlp.gate", "ffn_gate_inp"), ("mlp.experts.{e}.gate_proj", "ffn_gate_exps"),
        ("mlp.experts.{e}.up_proj", "ffn_up_exps"), ("mlp.experts.{e}.down_proj", "ffn_down_exps"),
    ]
    private static let mixtralExperts: Lines = [
        ("block_sparse_moe.gate", "ffn_gate_inp"), ("block_sparse_moe.experts.{e}.w1", "ffn_gate_exps"),
        ("block_sparse_moe.experts.{e}.w3", "ffn_up_exps"), ("block_sparse_moe.experts.{e}.w2", "ffn_down_exps"),
    ]

    /// Lines of layers under the front that the Hub's layers have, and lines outside of them.
    private static func rules(
        _ layers: Lines..., outside: Lines = outside, front: String = "model.layers.{n}.", parameters: Lines = []
    ) -> [Rule] {
        outside.map { Rule($0.0, $0.1) } + layers.joined().map { Rule(front + $0.0, "blk.{n}." + $0.1) }
            + parameters.map { Rule(front + $0.0, "blk.{n}." + $0.1, isParameter: true) }
    }

    private static let rotary: [String: GGUFRowOrder] = ["attn_q": .rotaryQuery, "attn_k": .rotaryKey]
    private static let dense = rules(attention, feedForward, preNorms)
    private static let sparse = rules(attention, feedForward, preNorms, mixtralExperts)
    private static let normed = rules(attention, headNorms, feedForward, preNorms)
    /// What is outside of the layers where the head is the embedding, always.
    private static let tied: Lines = [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm")]

    /// The architectures, one entry each.
    static let all: [GGUFArchitecture] = [
        // With `undo_permute`.
        GGUFArchitecture("llama", ["llama", "mistral", "mixtral"], sparse, rowOrders: rotary),
        GGUFArchitecture("mistral3", ["ministral3"], sparse, rowOrders: rotary),
        GGUFArchitecture("granite", ["granite"], dense, rowOrders: rotary),
        GGUFArchitecture("smollm3", ["smollm3"], dense, rowOrders: rotary),
        GGUFArchitecture("minicpm", ["minicpm"], dense, rowOrders: rotary),
        GGUFArchitecture("arcee", ["arcee"], dense, rowOrders: rotary),
        GGUFArchitecture(
            "olmo", ["olmo"],
            rules(attention, feedForward, outside: [("model.embed_tokens", "token_embd"), ("lm_head", "output")]),
            rowOrders: rotary),
        // Rows as the Hub has them.
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
            "gpt2", ["gpt2"],
            rules(
                [
                    ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"), ("mlp.c_fc", "ffn_up"),
                    ("mlp.c_proj", "ffn_down"), ("ln_1", "attn_norm"), ("ln_2", "ffn_norm"),
                ],
                outside: [
                    ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"),
                    ("transformer.ln_f", "output_norm"), ("lm_head", "output"),
                ], front: "transformer.h.{n}.")),
        GGUFArchitecture(
            "starcoder", ["gpt_bigcode"],
            rules(
                [
                    ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"), ("mlp.c_fc", "ffn_up"),
                    ("mlp.c_proj", "ffn_down"), ("ln_1", "attn_norm"), ("ln_2", "ffn_norm"),
                ],
                outside: [
                    ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"),
                    ("transformer.ln_f", "output_norm"), ("lm_head", "output"),
                ], front: "transformer.h.{n}.")),
        GGUFArchitecture(
            "gptneox", ["gpt_neox"],
            rules(
                preNorms,
                [
                    ("attention.query_key_value", "attn_qkv"), ("attention.dense", "attn_output"),
                    ("mlp.dense_h_to_4h", "ffn_up"), ("mlp.dense_4h_to_h", "ffn_down"),
                ],
                outside: [
                    ("gpt_neox.embed_in", "token_embd"), ("gpt_neox.final_layer_norm", "output_norm"), ("embed_out", "output"),
                ], front: "gpt_neox.layers.{n}."), rowOrders: ["attn_qkv": .fusedByHead]),
        GGUFArchitecture(
            "bloom", ["bloom"],
            rules(
                preNorms,
                [
                    ("self_attention.query_key_value", "attn_qkv"), ("self_attention.dense", "attn_output"),
                    ("mlp.dense_h_to_4h", "ffn_up"), ("mlp.dense_4h_to_h", "ffn_down"),
                ],
                outside: [
                    ("transformer.word_embeddings", "token_embd"),
                    ("transformer.word_embeddings_layernorm", "token_embd_norm"), ("transformer.ln_f", "output_norm"),
                    ("lm_head", "output"),
                ], front: "transformer.h.{n}."), rowOrders: ["attn_qkv": .fusedByHead]),
        // Experts.
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
            "deepseek2", ["deepseek_v2", "deepseek_v3", "kimi_k2"],
            rules(
                feedForward, preNorms, experts,
                [
                    ("self_attn.q_proj", "attn_q"), ("self_attn.q_a_proj", "attn_q_a"), ("self_attn.q_b_proj", "attn_q_b"),
                    ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"), ("self_attn.q_a_layernorm", "attn_q_a_norm"),
                    ("self_attn.kv_a_layernorm", "attn_kv_a_norm"), ("self_attn.o_proj", "attn_output"),
                    ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"), ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
                    ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
                ], parameters: [("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")])),
        GGUFArchitecture(
            "gpt-oss", ["gpt_oss"],
            rules(
                attention,
                [
                    ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
                    ("mlp.router", "ffn_gate_inp"),
                ], parameters: [("self_attn.sinks", "attn_sinks.weight")])),
    ]
}
