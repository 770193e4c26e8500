import ByteAccess
import Checkpoints
import Tensors

extension BaseDirectory {
    /// Tensors of a base, with what its config.json says, or where a GGUF file has none what its architecture and its experts' names do.
    init(tensors: [(name: ExactString, shape: Shape)], of base: Checkpoint) {
        self.init(tensors: tensors, config: base.config ?? base.gguf?.expertsModelType.map { ["model_type": .string($0)] })
        if base.config == nil, let own = base.gguf?.architecture.bareClass { architectures = [own] }
    }

    /// Reads from config.json what decides between spellings of names.
    ///
    /// A config with `_class_name` is of a diffusion model, and a `model_type` in it no class of transformers: Wan's own repository says "t2v".
    init(tensors: [(name: ExactString, shape: Shape)], config: JSONObject?) {
        let text = BaseDirectory.languageModel(of: config)
        self.init(
            tensors: tensors, modelType: config?["_class_name"] == nil ? config?["model_type"]?.stringValue : nil,
            textModelType: text?["model_type"]?.stringValue,
            visionModelType: config?["vision_config"]?["model_type"]?.stringValue,
            tieWordEmbeddings: config?["tie_word_embeddings"]?.boolValue,
            // The decoder of a pair ties its own head, whatever the pair's config says.
            textTieWordEmbeddings: (text ?? config?["decoder"]?.objectValue)?["tie_word_embeddings"]?.boolValue,
            architectures: config?["architectures"]?.arrayValue?.compactMap(\.stringValue) ?? [])
        className = config?["_class_name"]?.stringValue
        layerCount = config.flatMap(BaseDirectory.layers)
        partModelTypes = config.map(BaseDirectory.parts) ?? []
        sharedLayers = config.map(BaseDirectory.sharedLayers) ?? []
    }

    /// The model types of all sub-configs, in the config's order.
    private static func parts(_ config: JSONObject) -> [String] {
        config.members.compactMap(\.value.objectValue).flatMap { part in
            (part["model_type"]?.stringValue.map { [$0] } ?? []) + parts(part)
        }
    }

    /// The layers of zamba that run one block: of its hybrid layers, every `num_mem_blocks`-th is the same.
    ///
    /// Source: `get_layers` in transformers' modeling_zamba.py and modeling_zamba2.py.
    private static func sharedLayers(_ config: JSONObject) -> [[Int]] {
        guard let type = config["model_type"]?.stringValue, ["zamba", "zamba2"].contains(type) else { return [] }
        let kinds = config["layers_block_type"]?.arrayValue ?? []
        let hybrid = kinds.isEmpty
            ? config["hybrid_layer_ids"]?.arrayValue?.compactMap(\.intValue) ?? []
            : kinds.indices.filter { kinds[$0].stringValue == "hybrid" }
        let blocks = type == "zamba2" ? max(1, config["num_mem_blocks"]?.intValue ?? 1) : 1
        return (0..<min(blocks, hybrid.count)).map { block in
            stride(from: block, to: hybrid.count, by: blocks).map { hybrid[$0] }
        }
    }

    /// The largest number of layers that a config or one of its sub-configs names.
    private static func layers(_ config: JSONObject) -> Int? {
        let keys: Set<String> = [
            "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers", "depth",
        ]
        return config.members.compactMap { member in
            keys.contains(member.key.text) ? member.value.intValue : member.value.objectValue.flatMap(layers)
        }.max()
    }

    /// The sub-config that describes the language model.
    private static func languageModel(of config: JSONObject?) -> JSONObject? {
        let keys: [ExactString] = ["text_config", "llm_config", "language_config", "thinker_config"]
        return keys.lazy.compactMap { config?[$0]?.objectValue }.first
    }
}
