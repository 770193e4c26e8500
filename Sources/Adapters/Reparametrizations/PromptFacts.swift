import ByteAccess

/// What a config says of the attention that a prefix is for: layers, the width of one key or value slot, and its heads.
///
/// A key of layer l lies at slot 2l, its value at 2l + 1; a slot is heads × head_dim wide. With grouped queries (GQA) the
/// heads are the key/value heads.
public struct PromptFacts: Sendable, Hashable {
    /// Transformer layers of the base.
    public var layers: Int?
    /// heads · head_dim of one slot.
    public var tokenWidth: Int?
    /// Key/value heads.
    public var heads: Int?
    /// The model's own width, for prompts that are input embeddings.
    public var hidden: Int?

    /// Sizes that the caller states; nil where one is not known and must be told by a config or a tensor.
    public init(layers: Int? = nil, tokenWidth: Int? = nil, heads: Int? = nil, hidden: Int? = nil) {
        self.layers = layers
        self.tokenWidth = tokenWidth
        self.heads = heads
        self.hidden = hidden
    }

    /// Reads a config in any of the spellings of PEFT, transformers, ChatGLM, PrefixTuning and AdapterHub; nil for no config.
    ///
    /// The rules for models are PEFT's: key/value heads and `head_dim` where the config has them, else the hidden size
    /// over the attention heads; where layers differ, those of the widest. Source: `_prepare_prompt_learning_config` in peft/utils/other.py.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where a size is no positive whole number, `multi_query_attention` no flag, or heads
    ///   times their width too large for an integer; and with rule `DuplicateKey` where a key stands twice in `text_config` or in a
    ///   layer of `per_layer_config`.
    public init?(of config: AdapterConfig?) throws {
        guard var config else { return nil }
        if let text = config["text_config"]?.objectValue { config = try AdapterConfig(json: text, path: config.path) }
        func first(_ keys: [ExactString]) throws -> Int? {
            for key in keys {
                if let value = try config.count(key) { return value }
            }
            return nil
        }
        layers = try first(["num_hidden_layers", "num_layers", "match_n_layer", "n_layer"])
        hidden = try first(["hidden_size", "n_embd", "d_model"])
        heads = try first(["num_attention_heads", "n_head", "match_n_head", "num_heads", "encoder_attention_heads"])
        if config.peftType != nil {
            tokenWidth = try config.count("token_dim")
            hidden = tokenWidth
            return
        }
        tokenWidth = hidden
        if let groups = try config.count("multi_query_group_num"), let channels = try config.count("kv_channels"),
            try config["multi_query_attention"] == nil || config.flag("multi_query_attention")
        {
            (heads, tokenWidth) = (groups, try PromptFacts.product(groups, channels, config))
        } else if let shared = try config.count("num_key_value_heads") {
            var keyHeads = shared
            var headWidth = try config.count("head_dim")
            if let global = try config.count("global_head_dim") {
                headWidth = global
                keyHeads = try config.count("num_global_key_value_heads") ?? shared
            }
            if headWidth == nil, let hidden, let heads { headWidth = hidden / heads }
            if config["global_head_dim"].map(\.isNull) ?? true {
                (keyHeads, headWidth) = try PromptFacts.largest(config, heads: shared, width: headWidth)
            }
            if let headWidth { tokenWidth = try PromptFacts.product(keyHeads, headWidth, config) }
            heads = keyHeads
        }
    }

    /// The key/value heads of the layer with the widest ones, where `per_layer_config` says otherwise for some of them.
    private static func largest(_ config: AdapterConfig, heads: Int, width: Int?) throws -> (heads: Int, width: Int?) {
        guard let layers = config["per_layer_config"]?.objectValue else { return (heads, width) }
        var result = (heads: heads, width: width)
        for key in layers.keys {
            guard let layer = layers[key]?.objectValue else { continue }
            let own = try AdapterConfig(json: layer, path: config.path)
            guard let wide = try own.count("head_dim"), wide > result.width ?? 0 else { continue }
            result = (try own.count("num_key_value_heads") ?? heads, wide)
        }
        return result
    }

    private static func product(_ left: Int, _ right: Int, _ config: AdapterConfig) throws -> Int {
        let (value, overflow) = left.multipliedReportingOverflow(by: right)
        if overflow { throw config.wrong("head_dim", "a size that fits") }
        return value
    }
}
