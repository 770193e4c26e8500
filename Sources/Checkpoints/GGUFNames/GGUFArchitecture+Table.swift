extension GGUFArchitecture {
    typealias Lines = [(String, String)]

    // MARK: Parts of models, in the names that most share

    static let outside: Lines = [
        ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
    ]
    static let attention: Lines = [
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
    ]
    static let headNorms: Lines = [("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm")]
    /// Norms of heads under HunYuan's names.
    static let namedHeadNorms: Lines = [("self_attn.query_layernorm", "attn_q_norm"), ("self_attn.key_layernorm", "attn_k_norm")]
    /// Latent attention, but for what the keys and values of all heads are made with.
    static let latentAttention: Lines = [
        ("self_attn.q_proj", "attn_q"), ("self_attn.q_a_proj", "attn_q_a"), ("self_attn.q_b_proj", "attn_q_b"),
        ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"), ("self_attn.q_a_layernorm", "attn_q_a_norm"),
        ("self_attn.kv_a_layernorm", "attn_kv_a_norm"), ("self_attn.o_proj", "attn_output"),
    ]
    /// A feed-forward whose gate and up projection are one matrix.
    static let gateWithUp: Lines = [("mlp.gate_up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down")]
    static let feedForward: Lines = [
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]
    static let preNorms: Lines = [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")]
    /// Norms before each half of the block under the names that llama.cpp has for those behind it.
    static let postNormedInput: Lines = [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm")]
    /// A block behind the others that predicts more tokens, as DeepSeek has it.
    static let predictor: Lines = [
        ("eh_proj", "nextn.eh_proj"), ("embed_tokens", "nextn.embed_tokens"), ("enorm", "nextn.enorm"), ("hnorm", "nextn.hnorm"),
        ("shared_head.head", "nextn.shared_head_head"), ("shared_head.norm", "nextn.shared_head_norm"),
    ]
    /// What makes keys and values of all heads, cut into both.
    static let latentCut = formed([
        ("self_attn.kv_b_proj", "attn_k_b", .latentKeys), ("self_attn.kv_b_proj", "attn_v_b", .latentValues),
    ])
    /// What chooses the tokens of sparse attention.
    static let indexer: Lines = [
        ("self_attn.indexer.k_norm", "indexer.k_norm"), ("self_attn.indexer.weights_proj", "indexer.proj"), ("self_attn.indexer.wk", "indexer.attn_k"),
        ("self_attn.indexer.wq_b", "indexer.attn_q_b"),
    ]
    /// Norms before and after each half of the block.
    static let sandwichNorms: Lines = [
        ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"), ("post_feedforward_layernorm", "post_ffw_norm"),
    ]
    static let experts: Lines = [
        ("mlp.gate", "ffn_gate_inp"), ("mlp.experts.{e}.gate_proj", "ffn_gate_exps"),
        ("mlp.experts.{e}.up_proj", "ffn_up_exps"), ("mlp.experts.{e}.down_proj", "ffn_down_exps"),
    ]
    static let mixtralExperts: Lines = [
        ("block_sparse_moe.gate", "ffn_gate_inp"), ("block_sparse_moe.experts.{e}.w1", "ffn_gate_exps"),
        ("block_sparse_moe.experts.{e}.w3", "ffn_up_exps"), ("block_sparse_moe.experts.{e}.w2", "ffn_down_exps"),
    ]

    /// Lines of layers under the front that the Hub's layers have, and lines outside of them.
    static func rules(
        _ layers: Lines..., outside: Lines = outside, front: String = "model.layers.{n}.", parameters: Lines = []
    ) -> [Rule] {
        outside.map { Rule($0.0, $0.1) } + layers.joined().map { Rule(front + $0.0, "blk.{n}." + $0.1) }
            + parameters.map { Rule(front + $0.0, "blk.{n}." + $0.1, isParameter: true) }
    }

    /// Lines of what the converter changes.
    static func formed(
        _ lines: [(hub: String, gguf: String, form: GGUFForm)], front: String = "model.layers.{n}.", areParameters: Bool = false
    ) -> [Rule] {
        lines.map { Rule(front + $0.hub, "blk.{n}." + $0.gguf, isParameter: areParameters, form: $0.form) }
    }

    /// The shared experts that every token goes through.
    static let sharedExperts: Lines = [
        ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"), ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
        ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
    ]

    static let rotary: [String: GGUFRowOrder] = ["attn_q": .rotaryQuery, "attn_k": .rotaryKey]
    static let dense = rules(attention, feedForward, preNorms)
    static let sparse = rules(attention, feedForward, preNorms, mixtralExperts)
    static let normed = rules(attention, headNorms, feedForward, preNorms)
    /// What is outside of the layers where the head is the embedding, always.
    static let tied: Lines = [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm")]

    /// The architectures, one entry each.
    static let all: [GGUFArchitecture] = rotaryFamily + denseFamily + fusedFamily + expertFamily + cutFamily + stateFamily
        + linearFamily + gemmaFamily + encoderFamily + packedFamily
}
