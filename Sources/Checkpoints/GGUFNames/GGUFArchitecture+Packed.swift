extension GGUFArchitecture {
    /// Queries, keys and values that the Hub has in one matrix and GGUF apart.
    private static func packed(_ module: String, isGrouped: Bool) -> [Rule] {
        formed(["attn_q", "attn_k", "attn_v"].enumerated().map { (module, $1, .packed(part: $0, isGrouped: isGrouped)) })
    }

    /// Those whose code came with their files, and what it has in one matrix: heads, or experts.
    static let packedFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "internlm2", ["internlm2"],
            rules(
                [
                    ("attention.wo", "attn_output"), ("attention_norm", "attn_norm"), ("ffn_norm", "ffn_norm"), ("feed_forward.w1", "ffn_gate"),
                    ("feed_forward.w3", "ffn_up"), ("feed_forward.w2", "ffn_down"),
                ], outside: [("model.tok_embeddings", "token_embd"), ("model.norm", "output_norm"), ("output", "output")])
                + packed("attention.wqkv", isGrouped: true)),
        GGUFArchitecture(
            "baichuan", ["baichuan"], rules([attention[3]], feedForward, preNorms) + packed("self_attn.W_pack", isGrouped: false)),
        GGUFArchitecture(
            "dbrx", ["dbrx"],
            rules(
                [
                    ("norm_attn_norm.norm_1", "attn_norm"), ("norm_attn_norm.norm_2", "attn_output_norm"), ("norm_attn_norm.attn.Wqkv", "attn_qkv"),
                    ("norm_attn_norm.attn.out_proj", "attn_output"), ("ffn.router.layer", "ffn_gate_inp"),
                ], outside: [("transformer.wte", "token_embd"), ("transformer.norm_f", "output_norm"), ("lm_head", "output")],
                front: "transformer.blocks.{n}.")
                + formed(
                    [
                        ("ffn.experts.mlp.w1", "ffn_gate_exps.weight", .below(isTurned: false)),
                        ("ffn.experts.mlp.v1", "ffn_up_exps.weight", .below(isTurned: false)),
                        ("ffn.experts.mlp.w2", "ffn_down_exps.weight", .below(isTurned: true)),
                    ], front: "transformer.blocks.{n}.", areParameters: true)),
        GGUFArchitecture(
            "llada", [],
            rules(
                [
                    ("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("attn_out", "attn_output"), ("ff_proj", "ffn_gate"),
                    ("up_proj", "ffn_up"), ("ff_out", "ffn_down"), ("attn_norm", "attn_norm"), ("ff_norm", "ffn_norm"),
                ],
                outside: [
                    ("model.transformer.wte", "token_embd"), ("model.transformer.ln_f", "output_norm"), ("model.transformer.ff_out", "output"),
                ], front: "model.transformer.blocks.{n}."), rowOrders: rotary),
    ]
}
