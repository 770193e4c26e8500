/// The architectures whose names, orders and values are known: decoders that transformers keeps under `model.layers`.
extension GGUFArchitecture {
    /// - Parameter hasExperts: whether the model is a mixture of experts (`….expert_count`): Mixtral is `llama` here.
    public static func named(_ name: String, hasExperts: Bool) -> GGUFArchitecture? {
        switch name {
        case "llama" where hasExperts:
            // conversion/llama.py: w1, w2, w3 of all experts are stacked.
            GGUFArchitecture(
                name, decoder, ["ffn_gate_inp": "block_sparse_moe.gate"], without: gated,
                experts: ["ffn_gate_exps": "w1", "ffn_down_exps": "w2", "ffn_up_exps": "w3"], at: "block_sparse_moe.experts",
                permutes: true)
        // conversion/{llama,granite,smollm,olmo}.py: `permute` of the queries and keys.
        case "llama", "granite", "smollm3", "olmo": GGUFArchitecture(name, decoder, permutes: true)
        case "arcee": GGUFArchitecture(name, decoder, without: ["ffn_gate"], permutes: true)
        case "qwen2", "qwen2vl", "qwen3", "stablelm", "command-r", "cohere2", "internlm3", "seed_oss":
            GGUFArchitecture(name, decoder)
        case "qwen2moe":
            GGUFArchitecture(
                name, decoder,
                [
                    "ffn_gate_inp": "mlp.gate", "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
                    "ffn_gate_shexp": "mlp.shared_expert.gate_proj", "ffn_up_shexp": "mlp.shared_expert.up_proj",
                    "ffn_down_shexp": "mlp.shared_expert.down_proj",
                ], experts: projections, at: "mlp.experts")
        case "qwen3moe", "olmoe":
            GGUFArchitecture(name, decoder, ["ffn_gate_inp": "mlp.gate"], experts: projections, at: "mlp.experts")
        // conversion/gemma.py: transformers multiplies by 1 + weight, ggml by the weight.
        case "gemma": GGUFArchitecture(name, decoder, normShift: 1)
        case "gemma2", "gemma3": GGUFArchitecture(name, decoder, fourNorms, normShift: 1)
        case "olmo2":
            GGUFArchitecture(
                name, decoder,
                ["post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"],
                without: ["attn_norm", "ffn_norm"])
        case "phi3":
            GGUFArchitecture(
                name, decoder, ["attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"],
                without: ["attn_q", "attn_k", "attn_v", "ffn_gate"])
        case "phi2":
            GGUFArchitecture(
                name, decoder, ["attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"],
                without: ["ffn_gate", "ffn_norm"], outputNorm: "model.final_layernorm")
        case "starcoder2":
            GGUFArchitecture(name, decoder, ["ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"], without: ["ffn_gate"])
        default: nil
        }
    }

    private init(
        _ name: String, _ base: [String: String], _ more: [String: String] = [:], without: [String] = [],
        experts: [String: String] = [:], at path: String = "", permutes: Bool = false, normShift: Double = 0,
        outputNorm: String = "model.norm"
    ) {
        self.name = name
        inside = base.filter { !without.contains($0.key) }.merging(more) { $1 }
        outside = ["token_embd": "model.embed_tokens", "output_norm": outputNorm, "output": "lm_head"]
        self.experts = experts.mapValues { (path, $0) }
        self.permutes = permutes
        self.normShift = normShift
    }

    private static let decoder = [
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
        "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    ]
    private static let gated = ["ffn_gate", "ffn_up", "ffn_down"]
    private static let projections = ["ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"]
    private static let fourNorms = [
        "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    ]
}
