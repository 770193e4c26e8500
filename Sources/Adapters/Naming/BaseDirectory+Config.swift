import ByteAccess
import Tensors

extension BaseDirectory {
    /// Reads from config.json what decides between spellings of names.
    init(tensors: [(name: ExactString, shape: Shape)], config: JSONObject?) {
        let text = BaseDirectory.languageModel(of: config)
        self.init(
            tensors: tensors, modelType: config?["model_type"]?.stringValue,
            textModelType: text?["model_type"]?.stringValue,
            visionModelType: config?["vision_config"]?["model_type"]?.stringValue,
            tieWordEmbeddings: config?["tie_word_embeddings"]?.boolValue,
            textTieWordEmbeddings: text?["tie_word_embeddings"]?.boolValue,
            architectures: config?["architectures"]?.arrayValue?.compactMap(\.stringValue) ?? [])
        layerCount = config.flatMap(BaseDirectory.layers)
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
