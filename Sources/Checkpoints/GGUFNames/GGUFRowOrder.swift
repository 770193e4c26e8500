public import ByteAccess

/// How many heads a model has: what the order of a GGUF tensor's rows depends on.
public struct GGUFHeads: Sendable, Hashable {
    /// Heads of queries.
    public var query: Int
    /// Heads of keys and values, fewer where groups of queries share them.
    public var key: Int

    public init(query: Int, key: Int) {
        self.query = query
        self.key = key
    }

    /// What config.json counts; nil where it counts none.
    public init?(_ config: JSONObject) {
        let model = GGUFHeads.languageModel(of: config)
        func count(_ keys: [ExactString]) -> Int? {
            keys.lazy.compactMap { model[$0]?.intValue }.first { $0 > 0 }
        }
        guard let query = count(["num_attention_heads", "n_head", "n_heads", "num_heads"]) else { return nil }
        self.init(query: query, key: count(["num_key_value_heads", "n_kv_heads", "num_kv_heads"]) ?? query)
    }

    /// The part of a config that describes the language model: a sub-config of a multimodal model, else the whole.
    static func languageModel(of config: JSONObject) -> JSONObject {
        let keys: [ExactString] = ["text_config", "llm_config", "language_config"]
        return keys.lazy.compactMap { config[$0]?.objectValue }.first { $0["model_type"] != nil || $0["hidden_size"] != nil }
            ?? config
    }
}

/// An order of a weight's rows that llama.cpp's converter changes.
public enum GGUFRowOrder: Sendable, Hashable {
    /// q and k for a rotary embedding of neighbouring pairs: of each head's d rows the Hub has (2, d/2), GGUF (d/2, 2).
    /// Source: `LlamaModel.permute` in conversion/llama.py.
    case rotaryQuery, rotaryKey
    /// q, k and v in one weight: the Hub has (heads, 3, d), GGUF (3, heads, d).
    /// Source: `GPTNeoXModel.modify_tensors` in conversion/gpt_neox.py, `BloomModel`'s in bloom.py.
    case fusedByHead

    /// For each row of GGUF's tensor the row of the Hub's; nil where the heads do not divide the rows.
    public func hubRows(count: Int, heads: GGUFHeads) -> [Int]? {
        let (first, second, block): (Int, Int, Int)
        switch self {
        case .rotaryQuery, .rotaryKey:
            let own = self == .rotaryKey ? heads.key : heads.query
            guard own > 0, count % (2 * own) == 0 else { return nil }
            let half = count / own / 2
            // (heads, 2, half) to (heads, half, 2), head by head.
            return (0..<count).map { row in
                let within = row % (2 * half)
                return row - within + within % 2 * half + within / 2
            }
        case .fusedByHead: (first, second, block) = (heads.query, 3, count / 3 / max(1, heads.query))
        }
        guard first > 0, block > 0, first * second * block == count else { return nil }
        return (0..<count).map { row in
            let (part, head) = (row / block / first, row / block % first)
            return (head * second + part) * block + row % block
        }
    }

    /// For each row of the Hub's tensor the row of GGUF's.
    public func ggufRows(count: Int, heads: GGUFHeads) -> [Int]? {
        hubRows(count: count, heads: heads).map { rows in
            var inverse = [Int](repeating: 0, count: rows.count)
            for (gguf, hub) in rows.enumerated() { inverse[hub] = gguf }
            return inverse
        }
    }
}
