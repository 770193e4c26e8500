public import ByteAccess
public import Tensors

/// What name resolution knows of a base model: its tensors by name, and the few words of its config that decide between
/// spellings. Plain values, so that a directory can be made from a checkpoint, an index alone, or a test's list.
public struct BaseDirectory: Sendable {
    /// Every stored tensor, in the order of the files.
    public let names: [ExactString]
    /// The shape of every stored tensor, outermost dimension first.
    public let shapes: [ExactString: Shape]
    /// `model_type` of config.json.
    public var modelType: String?
    /// `text_config.model_type` (or of whatever sub-config holds the language model).
    public var textModelType: String?
    /// `vision_config.model_type`.
    public var visionModelType: String?
    /// `tie_word_embeddings` of config.json; nil where the key is absent.
    public var tieWordEmbeddings: Bool?
    /// `text_config.tie_word_embeddings`; nil where absent. Up to transformers 4.57 a multimodal model asks this one.
    public var textTieWordEmbeddings: Bool?
    /// `architectures` of config.json: the class the base was saved from.
    public var architectures: [String]
    /// `_class_name` of config.json: diffusers' class of a part of a pipeline.
    public var className: String?
    /// `model_type` of every other part that config.json describes: the encoder and decoder of a pair, a backbone, an audio tower.
    public var partModelTypes: [String] = []
    /// Layers that run one and the same block, each list from the layer that holds it: zamba's.
    public var sharedLayers: [[Int]] = []
    /// How many layers the longest stack of the model has, as config.json says; nil where it does not say.
    public var layerCount: Int?

    /// A base as its tensors and the facts of its config that decide names.
    public init(
        tensors: [(name: ExactString, shape: Shape)], modelType: String? = nil, textModelType: String? = nil,
        visionModelType: String? = nil, tieWordEmbeddings: Bool? = nil, textTieWordEmbeddings: Bool? = nil,
        architectures: [String] = []
    ) {
        names = tensors.map(\.name)
        shapes = Dictionary(tensors.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
        self.modelType = modelType
        self.textModelType = textModelType
        self.visionModelType = visionModelType
        self.tieWordEmbeddings = tieWordEmbeddings
        self.textTieWordEmbeddings = textTieWordEmbeddings
        self.architectures = architectures
    }

    /// The model types that are present, the outermost first. `-` and `_` are not told apart: configs say
    /// `xlm-roberta`, module names and transformers' folders `xlm_roberta`.
    var modelTypes: [String] {
        [modelType, textModelType, visionModelType].compactMap { $0.map(normalizedModelType) }
    }

    /// The same with those of all parts: a composite model renames in each part as that part's own class does
    /// (`get_model_conversion_mapping` in conversion_mapping.py goes through all submodels).
    var allModelTypes: [String] {
        let outer = modelTypes
        return outer + partModelTypes.map(normalizedModelType).filter { !outer.contains($0) }
    }

    /// The shape of a stored tensor, or nil.
    func shape(_ name: String) -> Shape? { shapes[ExactString(name)] }
}

/// `model_type` with `-` written as `_`.
func normalizedModelType(_ text: String) -> String {
    String(text.map { $0 == "-" ? "_" : $0 })
}
