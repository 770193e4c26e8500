extension GGUFArchitecture {
    /// T5's layers of attention, of which the encoder has one and the decoder two, then a feed-forward with a gate or without.
    private static func t5(_ hub: String, _ gguf: String, crossed: Bool) -> [Rule] {
        let front = "\(hub).block.{n}.layer."
        let feed = "\(front)\(crossed ? 2 : 1)."
        func layer(_ place: String, _ module: String, _ name: String) -> [Rule] {
            ["q", "k", "v", "o"].map { Rule("\(front)\(place).\(module).\($0)", "\(gguf).blk.{n}.\(name)_\($0)") }
                + [Rule("\(front)\(place).layer_norm", "\(gguf).blk.{n}.\(name)_norm")]
        }
        return layer("0", "SelfAttention", "attn") + (crossed ? layer("1", "EncDecAttention", "cross_attn") : [])
            + [
                Rule("\(front)0.SelfAttention.relative_attention_bias", "\(gguf).blk.{n}.attn_rel_b"),
                Rule("\(feed)DenseReluDense.wi_0", "\(gguf).blk.{n}.ffn_gate"),
                Rule("\(feed)DenseReluDense.wi_1", "\(gguf).blk.{n}.ffn_up", beside: "\(gguf).blk.{n}.ffn_gate.weight"),
                Rule("\(feed)DenseReluDense.wi", "\(gguf).blk.{n}.ffn_up"), Rule("\(feed)DenseReluDense.wo", "\(gguf).blk.{n}.ffn_down"),
                Rule("\(feed)layer_norm", "\(gguf).blk.{n}.ffn_norm"), Rule("\(hub).final_layer_norm", "\(gguf).output_norm"),
            ]
    }

    /// Encoders, and pairs of an encoder and a decoder, under the names of files without a head; BERT's pooler is not in a GGUF file.
    static let encoderFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "bert", ["bert"],
            rules(
                [
                    ("attention.self.query", "attn_q"), ("attention.self.key", "attn_k"), ("attention.self.value", "attn_v"),
                    ("attention.output.dense", "attn_output"), ("attention.output.LayerNorm", "attn_output_norm"),
                    ("intermediate.dense", "ffn_up"), ("output.dense", "ffn_down"), ("output.LayerNorm", "layer_output_norm"),
                ],
                outside: [
                    ("embeddings.word_embeddings", "token_embd"), ("embeddings.position_embeddings", "position_embd"),
                    ("embeddings.token_type_embeddings", "token_types"), ("embeddings.LayerNorm", "token_embd_norm"),
                ], front: "encoder.layer.{n}."), bareClass: "BertModel"),
        GGUFArchitecture(
            "modern-bert", ["modernbert"],
            rules(
                [
                    ("attn.Wqkv", "attn_qkv"), ("attn.Wo", "attn_output"), ("attn_norm", "attn_norm"), ("mlp.Wi", "ffn_up"), ("mlp.Wo", "ffn_down"),
                    ("mlp_norm", "ffn_norm"),
                ],
                outside: [
                    ("embeddings.tok_embeddings", "token_embd"), ("embeddings.norm", "token_embd_norm"), ("final_norm", "output_norm"),
                ], front: "layers.{n}."), bareClass: "ModernBertModel"),
        GGUFArchitecture(
            "nomic-bert", ["nomic_bert"],
            rules(
                [
                    ("attn.Wqkv", "attn_qkv"), ("attn.out_proj", "attn_output"), ("norm1", "attn_output_norm"), ("mlp.fc11", "ffn_up"),
                    ("mlp.fc12", "ffn_gate"), ("mlp.fc2", "ffn_down"), ("norm2", "layer_output_norm"),
                ],
                outside: [
                    ("embeddings.word_embeddings", "token_embd"), ("embeddings.token_type_embeddings", "token_types"), ("emb_ln", "token_embd_norm"),
                ], front: "encoder.layers.{n}."), bareClass: "NomicBertModel"),
        GGUFArchitecture(
            "eurobert", ["eurobert"],
            rules(attention, feedForward, preNorms, outside: [("embed_tokens", "token_embd"), ("norm", "output_norm")], front: "layers.{n}."),
            bareClass: "EuroBertModel"),
        GGUFArchitecture(
            "t5encoder", [], [Rule("shared", "token_embd")] + t5("encoder", "enc", crossed: false), bareClass: "T5EncoderModel"),
        GGUFArchitecture(
            "t5", ["t5", "mt5", "umt5"],
            [Rule("shared", "token_embd"), Rule("lm_head", "output")] + t5("encoder", "enc", crossed: false) + t5("decoder", "dec", crossed: true)),
    ]
}
