public import ByteAccess

/// How many heads a model's attention has: what the order of rows in its projections depends on.
public struct GGUFHeads: Sendable, Hashable {
    /// Heads of queries.
    public var query: Int
    /// Heads of keys and values, fewer where groups of queries share them.
    public var key: Int

    /// Heads that the caller counts.
    public init(query: Int, key: Int) {
        self.query = query
        self.key = key
    }

    /// What config.json counts for the language model; nil where it counts none.
    public init?(_ config: JSONObject) {
        let model = GGUFHeads.languageModel(of: config)
        func count(_ keys: [ExactString]) -> Int? { keys.lazy.compactMap { model[$0]?.intValue }.first { $0 > 0 } }
        guard let query = count(["num_attention_heads", "n_head", "n_heads", "num_heads"]) else { return nil }
        guard model["model_type"]?.stringValue != "falcon" else {
            // Falcon's num_kv_heads counts where not all queries share one key: `FalconAttention` in modeling_falcon.py of transformers.
            let sharesOne = model["multi_query"]?.boolValue ?? true && model["new_decoder_architecture"]?.boolValue != true
            self.init(query: query, key: sharesOne ? 1 : count(["num_kv_heads", "n_head_kv"]) ?? query)
            return
        }
        self.init(query: query, key: count(["num_key_value_heads", "n_kv_heads", "num_kv_heads"]) ?? query)
    }

    /// The part of a config that describes the language model: a sub-config of a multimodal model, else the whole.
    static func languageModel(of config: JSONObject) -> JSONObject {
        let keys: [ExactString] = ["text_config", "llm_config", "language_config"]
        return keys.lazy.compactMap { config[$0]?.objectValue }.first { $0["model_type"] != nil || $0["hidden_size"] != nil }
            ?? config
    }
}
