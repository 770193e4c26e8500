public import ByteAccess

/// One architecture of llama.cpp: which tensor of a GGUF file is which of the Hub's checkpoint.
///
/// Both names are patterns with `{n}` for the layer and, in the Hub's, `{e}` for the expert: llama.cpp stacks the experts'
/// matrices (E, out, in) in one tensor. Patterns name modules, and `.weight` or `.bias` follows; a rule of a bare parameter
/// is written out with what follows. What the converter cuts in two has a line for each part, with the part's ``GGUFForm``; what it
/// joins (`W_pack`) has no line and is refused by name.
///
/// Source: gguf-py/gguf/tensor_mapping.py and `MODEL_TENSORS` in constants.py, `modify_tensors` of the classes in conversion/
/// (formerly convert_hf_to_gguf.py), of ggml-org/llama.cpp.
public struct GGUFArchitecture: Sendable {
    /// A pair of names.
    struct Rule: Sendable {
        let hub: [Substring]
        let gguf: [Substring]
        /// Whether the names are of a parameter and not of a module.
        let isParameter: Bool
        /// GGUF's name of a tensor without which this one is another of the Hub's.
        let beside: String?
        /// What the converter makes of the weight, or of the parameter.
        let form: GGUFForm?
        let hubText: String
        let ggufText: String

        init(_ hub: String, _ gguf: String, isParameter: Bool = false, beside: String? = nil, form: GGUFForm? = nil) {
            self.beside = beside
            self.form = form
            hubText = hub
            ggufText = gguf
            self.hub = hub.split(separator: ".")
            self.gguf = gguf.split(separator: ".")
            self.isParameter = isParameter
        }
    }

    /// `general.architecture`.
    public let name: String
    /// The `model_type`s of config.json whose checkpoints become it, the plainest first.
    public let modelTypes: [String]
    /// The order of rows where it is not the Hub's, by the last component of GGUF's name: `attn_q`.
    public let rowOrders: [String: GGUFRowOrder]
    /// The matrices that the Hub has as (in, out) and GGUF as (out, in), by the last component of GGUF's name.
    public let transposed: Set<String>
    /// What norms' weights in a GGUF file have been given on top of the Hub's.
    public let normOffset: Double
    /// The key, after the architecture's name, of a model whose rows have an order that is not known here; nil where none has.
    let reorderedWith: String?
    /// The key, after the architecture's name, of files that these names are for, where models of other names have the same
    /// architecture; nil for those of all other files.
    let markedBy: String?
    /// Arrays in the metadata with a number for each layer that is a tensor of the Hub's: the key, the Hub's name, and the
    /// tensor's shape.
    let numbers: [(key: String, hub: String, shape: [Int])]
    /// Whether the `model_type` tells that memory calls something otherwise than the Hub's file does.
    let tellsModelType: Bool
    /// Where the Hub has the blocks that predict more tokens under `mtp.layers`, and GGUF behind the others: how many those are; nil
    /// where the Hub has them behind the others too, and where there are none.
    var layers: Int?
    /// Whether the Hub has such blocks there.
    let hasPredictors: Bool
    /// The class of transformers whose files have these names, where it has no head; nil for a model that makes text.
    public let bareClass: String?
    let rules: [Rule]

    init(
        _ name: String, _ modelTypes: [String], _ rules: [Rule], rowOrders: [String: GGUFRowOrder] = [:],
        transposed: Set<String> = [], normOffset: Double = 0, reorderedWith: String? = nil, markedBy: String? = nil,
        numbers: [(key: String, hub: String, shape: [Int])] = [], tellsModelType: Bool = false,
        hasPredictors: Bool = false, bareClass: String? = nil
    ) {
        self.bareClass = bareClass
        self.hasPredictors = hasPredictors
        self.markedBy = markedBy
        self.numbers = numbers
        self.tellsModelType = tellsModelType
        self.transposed = transposed
        self.reorderedWith = reorderedWith
        self.name = name
        self.modelTypes = modelTypes
        self.rules = rules
        self.rowOrders = rowOrders
        self.normOffset = normOffset
    }

    /// The architecture of this name; nil where it is not in the table.
    public static func named(_ name: String) -> GGUFArchitecture? { all.first { $0.name == name } }

    /// The architecture of a file, which the keys of its metadata tell from others of the same name.
    static func named(_ name: String, isThere: (String) -> Bool) -> GGUFArchitecture? {
        let candidates = all.filter { $0.name == name }
        return candidates.first { $0.markedBy.map { isThere("\(name).\($0)") } ?? false } ?? candidates.first { $0.markedBy == nil }
    }

    /// The architecture that a checkpoint with this config.json becomes: by its class where that is an encoder's of its own, else by the
    /// language model's `model_type` where there is one of its own.
    public static func of(_ config: JSONObject) -> GGUFArchitecture? {
        // Nomic's model with experts is an architecture of its own.
        if let every = config["moe_every_n_layers"]?.intValue, every > 0 { return nil }
        let classes = config["architectures"]?.arrayValue?.compactMap(\.stringValue) ?? []
        if let own = all.first(where: { $0.bareClass.map(classes.contains) ?? false }) { return own }
        let types = [GGUFHeads.languageModel(of: config)["model_type"], config["model_type"]].compactMap { $0?.stringValue }
        return types.lazy.compactMap { type in all.first { $0.modelTypes.contains(type) } }.first
    }

    /// The `model_type`s of its models, those of a variant among them that a config.json leads to another architecture.
    public var kinds: [String] { modelTypes.isEmpty ? GGUFArchitecture.variants[name].map { [$0] } ?? [] : modelTypes }

    private static let variants = ["nemotron_h_moe": "nemotron_h"]

    /// All names, for messages.
    public static var names: [String] { Set(all.map(\.name)).sorted() }
}

/// A tensor under both its names.
public struct GGUFPlace: Sendable, Hashable {
    /// The Hub's name; of a stack of experts with `{e}` in the place of their number.
    public var hub: String
    /// llama.cpp's name.
    public var gguf: String
    /// The expert that the Hub's name tells; nil for anything else.
    public var expert: Int?
    /// Whether GGUF's tensor is a stack of experts.
    public var isStack: Bool
    /// The order of the rows, where it is not the Hub's.
    public var rowOrder: GGUFRowOrder?
    /// What the converter made of it beside; nil for a tensor that is stored as it is.
    public var form: GGUFForm?

    /// Whether the Hub's matrix is GGUF's, transposed.
    public var isTransposed: Bool { form == .turned }

    /// A tensor under these names.
    public init(
        hub: String, gguf: String, expert: Int? = nil, isStack: Bool = false, rowOrder: GGUFRowOrder? = nil, form: GGUFForm? = nil
    ) {
        self.form = form
        self.hub = hub
        self.gguf = gguf
        self.expert = expert
        self.isStack = isStack
        self.rowOrder = rowOrder
    }

    /// The Hub's name of one expert.
    public func hubName(expert: Int) -> String { hub.split(separator: "{e}").joined(separator: "\(expert)") }
}

extension GGUFArchitecture {
    /// The place of a tensor by GGUF's name (`blk.0.attn_q.weight`); nil where the table has none.
    ///
    /// - Parameter isThere: whether the file has a tensor of this name: what some names stand for depends on it.
    public func place(ofGGUF name: String, isThere: (String) -> Bool = { _ in false }) -> GGUFPlace? {
        places(name, in: \.gguf, isThere).first
    }

    /// All places that a tensor of GGUF's name may have, where others decide which one it is: the gate beside T5's `ffn_up`.
    public func places(ofGGUF name: String) -> [GGUFPlace] { places(name, in: \.gguf) { _ in true } }

    /// The places of all parts of a tensor that the converter cuts, by the Hub's name as it is here; one place for any other. A file has
    /// either of those that stand for the same part.
    public func parts(ofHub name: String) -> [GGUFPlace] { places(name, in: \.hub) { _ in true } }

    /// The place of a tensor by the Hub's name (`model.layers.0.self_attn.q_proj.weight`), which may stand under a
    /// multimodal model's prefix.
    public func place(ofHub name: String) -> GGUFPlace? {
        for (front, plain) in GGUFArchitecture.fronts where name.hasPrefix(front) {
            if let place = parts(ofHub: plain + name.dropFirst(front.count)).first { return place }
        }
        return nil
    }

    /// Prefixes of a language model inside another, or of an encoder under its head, and what its own converter sees. The empty one comes first.
    private static let fronts = [
        ("", ""), ("model.language_model.", "model."), ("language_model.", ""), ("model.text_model.", "model."),
        ("", "model."), ("", "transformer."), ("model.", ""), ("bert.", ""),
    ]

    private func places(_ name: String, in side: KeyPath<Rule, [Substring]>, _ isThere: (String) -> Bool) -> [GGUFPlace] {
        let parts = (side == \Rule.hub ? predictorInside(name) : name).split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count > 1, let suffix = parts.last else { return [] }
        let isPlain = suffix == "weight" || suffix == "bias"
        return rules.compactMap { rule in
            guard rule.isParameter || isPlain,
                let numbers = match(rule.isParameter ? parts[...] : parts.dropLast(), rule[keyPath: side])
            else { return nil }
            if let beside = rule.beside, !isThere(beside.replacing("{n}", numbers.layer)) { return nil }
            let ending = rule.isParameter ? "" : ".\(suffix)"
            // What is there once for all such blocks has no number in the Hub.
            let layer = numbers.layer.isEmpty ? layers.map { "\($0)" } ?? "" : numbers.layer
            var hub = predictorOutside(rule.hubText.replacing("{n}", layer) + ending)
            if let expert = numbers.expert, side == \Rule.hub { hub = hub.replacing("{e}", expert) }
            let leaf = rule.isParameter ? "" : rule.gguf.last.map(String.init) ?? ""
            return GGUFPlace(
                hub: hub, gguf: rule.ggufText.replacing("{n}", layer) + ending,
                expert: numbers.expert.flatMap { Int($0) }, isStack: rule.hubText.contains("{e}"),
                rowOrder: rowOrders[leaf],
                form: rule.isParameter || suffix == "weight" ? rule.form ?? (transposed.contains(leaf) ? .turned : nil) : nil)
        }
    }

    private static let (predictors, blocks) = ("mtp.layers.", "model.layers.")

    /// A name under `mtp.layers` as one behind the other layers.
    private func predictorInside(_ name: String) -> String {
        guard let layers, name.hasPrefix(GGUFArchitecture.predictors) else { return name }
        let parts = name.dropFirst(GGUFArchitecture.predictors.count).split(separator: ".", maxSplits: 1)
        guard parts.count == 2, let number = Int(parts[0]), number >= 0, number < 1 << 20, "\(number)" == parts[0] else { return name }
        return "\(GGUFArchitecture.blocks)\(layers + number).\(parts[1])"
    }

    private func predictorOutside(_ name: String) -> String {
        guard let layers, name.hasPrefix(GGUFArchitecture.blocks) else { return name }
        let parts = name.dropFirst(GGUFArchitecture.blocks.count).split(separator: ".", maxSplits: 1)
        guard parts.count == 2, let number = Int(parts[0]), number >= layers else { return name }
        return "\(GGUFArchitecture.predictors)\(number - layers).\(parts[1])"
    }

    private func match(_ parts: ArraySlice<Substring>, _ pattern: [Substring]) -> (layer: String, expert: String?)? {
        guard parts.count == pattern.count else { return nil }
        var (layer, expert): (String, String?) = ("", nil)
        for (part, wanted) in zip(parts, pattern) {
            if part == wanted { continue }
            // A number without a sign or leading zeros, or the two names would not lead back to each other.
            guard wanted == "{n}" || wanted == "{e}", let number = Int(part), number >= 0, "\(number)" == part else { return nil }
            if wanted == "{n}" { layer = String(part) } else { expert = String(part) }
        }
        return (layer, expert)
    }
}

extension String {
    /// The text with a placeholder filled in.
    fileprivate func replacing(_ placeholder: String, _ text: String) -> String {
        split(separator: ".", omittingEmptySubsequences: false).map { $0 == placeholder ? text : String($0) }
            .joined(separator: ".")
    }
}
