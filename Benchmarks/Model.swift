/// A Llama checkpoint in BF16, by its shapes: hidden 2048, 4 of 32 heads for keys and values, ffn 5632, vocabulary 32000.
struct Model {
    /// As `--size` says it.
    let size: String
    let layers: Int
    static let hidden = 2048, keyValue = 256, feedForward = 5632, vocabulary = 32000, shards = 3

    static let full = Model(size: "full", layers: 22)

    /// The folder of the cache. The number changes with what is generated.
    var name: String { "\(size)-1" }

    private init(size: String, layers: Int) { (self.size, self.layers) = (size, layers) }

    /// 0.53, 2.20 and 8.01 GB.
    init?(size: String) {
        switch size {
        case "small": self.init(size: size, layers: 3)
        case "full": self = .full
        case "8g": self.init(size: size, layers: 88)
        default: return nil
        }
    }

    /// The linear layers of a block: name below the block, rows (out), columns (in).
    static let linears: [(name: String, rows: Int, columns: Int)] = [
        ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", keyValue, hidden),
        ("self_attn.v_proj", keyValue, hidden), ("self_attn.o_proj", hidden, hidden),
        ("mlp.gate_proj", feedForward, hidden), ("mlp.up_proj", feedForward, hidden),
        ("mlp.down_proj", hidden, feedForward),
    ]

    /// Every tensor in the order of its file. Weights are as wide as those of trained models: 0.02, norms about 1.
    var tensors: [Tensor] {
        var list = [Tensor("model.embed_tokens.weight", "BF16", [Self.vocabulary, Self.hidden], deviation: 0.02)]
        for layer in 0..<layers {
            let prefix = "model.layers.\(layer)."
            for linear in Self.linears {
                list.append(Tensor("\(prefix)\(linear.name).weight", "BF16", [linear.rows, linear.columns], deviation: 0.02))
            }
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                list.append(Tensor("\(prefix)\(norm).weight", "BF16", [Self.hidden], mean: 1, deviation: 0.1))
            }
        }
        list.append(Tensor("model.norm.weight", "BF16", [Self.hidden], mean: 1, deviation: 0.1))
        list.append(Tensor("lm_head.weight", "BF16", [Self.vocabulary, Self.hidden], deviation: 0.02))
        return list
    }

    /// The tensors of each shard: cut where a third of the bytes is full.
    var shardTensors: [[Tensor]] {
        let all = tensors
        let share = all.reduce(0) { $0 + $1.bytes } / Self.shards + 1
        var shards = [[Tensor]](repeating: [], count: Self.shards)
        var bytes = 0
        for tensor in all {
            shards[min(bytes / share, Self.shards - 1)].append(tensor)
            bytes += tensor.bytes
        }
        return shards
    }

    /// The same base with its linear layers stored as codes, in one file.
    func tensors(_ kind: QuantisedKind) -> [Tensor] {
        tensors.flatMap { tensor in
            let name = String(tensor.name.dropLast(".weight".count))
            guard tensor.shape.count == 2, Self.linears.contains(where: { name.hasSuffix(".\($0.name)") }) else { return [tensor] }
            return kind.parts(name, rows: tensor.shape[0], columns: tensor.shape[1])
        }
    }

    /// What transformers wants to know of the base; `more` are further entries.
    func config(_ more: String? = nil, architecture: String = "LlamaForCausalLM", type: String = "llama") -> String {
        """
        {"architectures": ["\(architecture)"], "model_type": "\(type)", "dtype": "bfloat16", "torch_dtype": "bfloat16",
         "hidden_size": \(Self.hidden), "intermediate_size": \(Self.feedForward), "num_hidden_layers": \(layers),
         "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": \(Self.vocabulary),
         "max_position_embeddings": 2048, "rms_norm_eps": 1e-05, "tie_word_embeddings": false, "hidden_act": "silu"\(more.map { ",\n \($0)" } ?? "")}

        """
    }
}

/// An adapter of the issue, in F32 as PEFT saves it: a = all linear layers r=16, b = q and v r=8, c = all linear r=256,
/// d = DoRA, all linear r=16.
enum AdapterKind: String, CaseIterable {
    case a, b, c, d

    var rank: Int { self == .b ? 8 : self == .c ? 256 : 16 }
    var targets: [(name: String, rows: Int, columns: Int)] {
        Model.linears.filter { self != .b || $0.name.hasSuffix("q_proj") || $0.name.hasSuffix("v_proj") }
    }

    /// The bytes of its largest pair of factors: what the goal for memory adds to 64 MiB.
    var largestPair: Int { (targets.map { $0.rows + $0.columns }.max() ?? 0) * rank * 4 }

    /// A as Kaiming's initialisation spreads it; B so that an update is about a tenth of its weight.
    func tensors(layers: Int) -> [Tensor] {
        (0..<layers).flatMap { layer in
            targets.flatMap { linear in
                let prefix = "base_model.model.model.layers.\(layer).\(linear.name)."
                var list = [
                    Tensor("\(prefix)lora_A.weight", "F32", [rank, linear.columns], deviation: 0.0128),
                    Tensor("\(prefix)lora_B.weight", "F32", [linear.rows, rank], deviation: 0.08 / Float(rank).squareRoot()),
                ]
                if self == .d {
                    // |W| of a row: 0.02 * sqrt(in), give or take a little.
                    let norm = 0.02 * Float(linear.columns).squareRoot()
                    list.append(
                        Tensor("\(prefix)lora_magnitude_vector", "F32", [linear.rows], mean: norm, deviation: norm / 50))
                }
                return list
            }
        }
    }

    var config: String {
        let names = targets.map { "\"\($0.name.split(separator: ".")[1])\"" }.joined(separator: ", ")
        return """
            {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "bench", "r": \(rank),
             "lora_alpha": \(2 * rank), "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
             "use_rslora": false, "use_dora": \(self == .d), "modules_to_save": null, "target_modules": [\(names)]}

            """
    }
}

/// A tensor to be generated.
struct Tensor {
    let name: String
    let dtype: String
    let shape: [Int]
    let content: Content

    /// What a tensor holds.
    enum Content {
        /// Normally distributed numbers.
        case normal(mean: Float, deviation: Float)
        /// Codes, each as likely as another; of F8_E4M3 those that are numbers.
        case codes
        /// Blocks of GGUF: codes of every kind, and scales that are numbers.
        case blocks
        /// These bytes, over and over.
        case bytes([UInt8])
    }

    init(_ name: String, _ dtype: String, _ shape: [Int], mean: Float = 0, deviation: Float) {
        (self.name, self.dtype, self.shape, content) = (name, dtype, shape, .normal(mean: mean, deviation: deviation))
    }

    init(_ name: String, _ dtype: String, _ shape: [Int], _ content: Content = .codes) {
        (self.name, self.dtype, self.shape, self.content) = (name, dtype, shape, content)
    }

    var count: Int { shape.reduce(1, *) }
    var width: Int { ["U8": 1, "I8": 1, "F8_E4M3": 1, "BF16": 2, "F16": 2, "I64": 8][dtype] ?? 4 }
    var bytes: Int { count * width }
}
