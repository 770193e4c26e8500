public import ByteAccess
import Containers

/// What llama.cpp's names and orders of rows depend on: the base's architecture and its heads.
public struct GGUFFacts: Sendable {
    /// The names; nil where the architecture is not known.
    public var architecture: GGUFArchitecture?
    /// The heads; nil where nobody counts them.
    public var heads: GGUFHeads?
    /// How many experts each layer has; nil where there are none, or nothing says.
    public var experts: Int?
    /// The model's width; nil where nothing says it.
    public var width: Int?
    /// What the base calls its own kind, `model_type` or llama.cpp's architecture; nil where no base was asked.
    public private(set) var kind: String?

    /// Facts that the caller knows.
    public init(architecture: GGUFArchitecture? = nil, heads: GGUFHeads? = nil, experts: Int? = nil, width: Int? = nil) {
        self.architecture = architecture
        self.heads = heads
        self.experts = experts
        self.width = width
    }

    /// What config.json says.
    public init(_ config: JSONObject) {
        let model = GGUFHeads.languageModel(of: config)
        let keys: [ExactString] = ["num_local_experts", "num_experts", "n_routed_experts"]
        let widths: [ExactString] = ["hidden_size", "n_embd", "d_model"]
        self.init(
            architecture: GGUFArchitecture.of(config), heads: GGUFHeads(config),
            experts: keys.lazy.compactMap { model[$0]?.intValue }.first, width: widths.lazy.compactMap { model[$0]?.intValue }.first)
        kind = (model["model_type"] ?? config["model_type"])?.stringValue
    }

    /// What a base says: its config.json, or its own metadata where it is a GGUF file.
    public init(_ base: Checkpoint) {
        self = base.config.map { GGUFFacts($0) } ?? GGUFFacts()
        guard let file = base.shards.first?.file as? GGUFFile, let name = file.value("general.architecture")?.stringValue else { return }
        func count(_ key: String) -> Int? { file.value(ExactString("\(name).\(key)"))?.intValue }
        architecture = architecture ?? base.gguf?.architecture ?? GGUFArchitecture.named(name)
        kind = kind ?? name
        if heads == nil, let query = count("attention.head_count"), query > 0 {
            heads = GGUFHeads(query: query, key: count("attention.head_count_kv") ?? query)
        }
        experts = experts ?? count("expert_count")
        width = width ?? count("embedding_length")
    }

    /// What the config.json in a directory says, or one that is named itself; nil where there is none.
    ///
    /// - Throws: `.malformed` with rule `InvalidJSON` or `InvalidUTF8` where config.json is no JSON object; `.refused` where it has
    ///   more than 64 MiB; `.io` where it cannot be read.
    public init?(configAt path: String) throws {
        guard let config = try Checkpoint.config(in: FileSystem.isDirectory(path) ? path : FileSystem.directory(of: path)) else {
            return nil
        }
        self.init(config)
    }
}
