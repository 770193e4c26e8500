extension GGUFArchitecture {
    /// GPT-2's names, which GPTBigCode has too.
    private static let gpt2Rules = rules(
        [
            ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"), ("mlp.c_fc", "ffn_up"),
            ("mlp.c_proj", "ffn_down"), ("ln_1", "attn_norm"), ("ln_2", "ffn_norm"),
        ],
        outside: [
            ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"),
            ("transformer.ln_f", "output_norm"), ("lm_head", "output"),
        ], front: "transformer.h.{n}.")

    /// Those with one matrix for queries, keys and values, whose rows or sides the converter changes.
    static let fusedFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "gpt2", ["gpt2"], gpt2Rules, transposed: ["attn_qkv", "attn_output", "ffn_up", "ffn_down"]),
        GGUFArchitecture(
            "starcoder", ["gpt_bigcode"], gpt2Rules),
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
        GGUFArchitecture(
            "falcon", ["falcon"],
            rules(
                [
                    ("self_attention.query_key_value", "attn_qkv"), ("self_attention.dense", "attn_output"),
                    ("mlp.dense_h_to_4h", "ffn_up"), ("mlp.dense_4h_to_h", "ffn_down"), ("ln_attn", "attn_norm_2"),
                ],
                outside: [
                    ("transformer.word_embeddings", "token_embd"), ("transformer.ln_f", "output_norm"), ("lm_head", "output"),
                ], front: "transformer.h.{n}.") + [
                    // Of two norms the second's is that of the attention.
                    Rule("transformer.h.{n}.ln_mlp", "blk.{n}.attn_norm", beside: "blk.{n}.attn_norm_2.weight"),
                    Rule("transformer.h.{n}.input_layernorm", "blk.{n}.attn_norm"),
                ], rowOrders: ["attn_qkv": .fusedByHead]),
        GGUFArchitecture(
            "mpt", ["mpt"],
            rules(
                [
                    ("attn.Wqkv", "attn_qkv"), ("attn.out_proj", "attn_output"), ("ffn.up_proj", "ffn_up"),
                    ("ffn.down_proj", "ffn_down"), ("norm_1", "attn_norm"), ("norm_2", "ffn_norm"),
                ],
                outside: [
                    ("transformer.wte", "token_embd"), ("transformer.wpe", "position_embd"), ("transformer.norm_f", "output_norm"),
                    ("lm_head", "output"),
                ], front: "transformer.blocks.{n}.")),
    ]
}
