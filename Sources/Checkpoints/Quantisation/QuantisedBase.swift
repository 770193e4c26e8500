public import ByteAccess
public import Tensors

/// A stored checkpoint while a scheme reads it: tensors by name, the config's settings, and what has been claimed.
public struct QuantisedBase {
    /// The checkpoint as it is stored.
    let checkpoint: Checkpoint
    /// `quantization_config`, or what stands in its place; empty where there is none.
    public let settings: JSONObject
    /// `quant_method` in lower case, or what the settings amount to.
    public let method: String?
    /// What errors and pages call the scheme; a scheme sets it when it knows more.
    public var title: String
    /// The weights that are stored as codes.
    public private(set) var weights: [any QuantisedWeight] = []
    /// Tensors without a place in a plain checkpoint, as scales of activations.
    public private(set) var dropped: [StoredTensor] = []
    /// What a reader should know, in words.
    public var warnings: [String] = []
    private var claimed: Set<ExactString> = []

    init(_ checkpoint: Checkpoint, settings: JSONObject, method: String?, title: String) {
        self.checkpoint = checkpoint
        self.settings = settings
        self.method = method
        self.title = title
    }

    /// config.json.
    var config: JSONObject? { checkpoint.config }
    var tensors: StoredTensors { checkpoint.tensors }

    /// The stored tensor of this name.
    func tensor(_ name: String) -> StoredTensor? { checkpoint[ExactString(name)] }

    /// A component that must be there.
    func component(_ name: String, of weight: ExactString) throws(PeftfileError) -> StoredTensor {
        guard let found = tensor(name) else {
            throw QuantisationRule.missingComponent.broken(
                title, "\(name) is missing, without which the codes are no numbers", tensor: weight,
                help: "fetch the checkpoint again; a part of it was not saved")
        }
        return found
    }

    /// Every tensor whose name ends in `suffix`, with the name before it.
    func stems(_ suffix: String) -> [(stem: String, tensor: StoredTensor)] {
        tensors.compactMap { tensor in
            tensor.name.text.hasSuffix(suffix) ? (String(tensor.name.text.dropLast(suffix.count)), tensor) : nil
        }
    }

    /// Claims a weight and all its components; no two weights share one or have one name.
    mutating func add(_ weight: any QuantisedWeight) throws(PeftfileError) {
        for component in weight.components where !claimed.insert(component.name).inserted {
            throw QuantisationRule.componentShape.broken(title, "two weights claim it", tensor: component.name)
        }
        if let other = checkpoint[weight.name], !claimed.contains(other.name) || weights.contains(where: { $0.name == weight.name }) {
            throw QuantisationRule.componentShape.broken(title, "is stored as codes and as numbers too", tensor: weight.name)
        }
        weights.append(weight)
    }

    /// Leaves a tensor out of the plain checkpoint: it speaks of activations.
    mutating func drop(_ tensor: StoredTensor) {
        if claimed.insert(tensor.name).inserted { dropped.append(tensor) }
    }

    /// Drops every tensor whose name ends in one of these.
    mutating func drop(endingIn suffixes: [String]) {
        for tensor in tensors where suffixes.contains(where: tensor.name.text.hasSuffix) { drop(tensor) }
    }

    func isClaimed(_ tensor: StoredTensor) -> Bool { claimed.contains(tensor.name) }

    /// The shape and dtype that a component must have.
    func require(
        _ tensor: StoredTensor, _ dtypes: [DType], _ shape: Shape, for weight: ExactString
    ) throws(PeftfileError) {
        guard dtypes.contains(tensor.dtype) else {
            throw QuantisationRule.componentShape.broken(
                title, "has dtype \(tensor.dtype.rawValue), and \(weight) needs "
                    + dtypes.map(\.rawValue).joined(separator: " or "), tensor: tensor.name)
        }
        guard tensor.shape == shape else {
            throw QuantisationRule.componentShape.broken(
                title, "has shape \(tensor.shape), and \(weight) needs \(shape)", tensor: tensor.name)
        }
    }

    /// A setting that is a string where it is there; anything else in its place would pass for absent.
    func text(_ key: ExactString, in object: JSONObject? = nil) throws(PeftfileError) -> String? {
        guard let value = (object ?? settings)[key], !value.isNull else { return nil }
        guard let text = value.stringValue else {
            throw QuantisationRule.settings.broken(title, "the config's \(key) is \(value.serialized()), and no string")
        }
        return text
    }

    /// What an error about the config names: the first tensor whose dtype no plain weight has, else the first of all.
    var firstCodes: ExactString? { (tensors.first { !$0.dtype.isMergeable && $0.shape.count >= 2 } ?? tensors.first)?.name }

    /// A setting that must be an integer.
    func integer(_ key: ExactString, in object: JSONObject? = nil) throws(PeftfileError) -> Int {
        guard let value = (object ?? settings)[key]?.intValue else {
            if let other = (object ?? settings)[key], !other.isNull {
                throw QuantisationRule.settings.broken(title, "the config's \(key) is \(other.serialized()), and no integer")
            }
            throw QuantisationRule.settings.broken(
                title, "the config does not say \(key)", help: "put the base's config.json beside its weights")
        }
        return value
    }

    /// GPT-2 and its kin keep (in, out) matrices, which quantisers turn; which way they turned them no file says.
    func refuseTransposedModels() throws(PeftfileError) {
        let model = config?["model_type"]?.stringValue ?? ""
        guard !["gpt2", "openai-gpt", "imagegpt", "ctrl"].contains(model) || weights.isEmpty else {
            throw QuantisationRule.unsupportedPacking.broken(
                title, "the weights of \(model) are held transposed, and whether the codes are is not told by the file",
                tensor: weights.first?.name, help: "dequantise it with the library that wrote it, then merge")
        }
    }
}
