import ByteAccess
import Tensors

/// Whole parameters that PEFT stores beside a method's own tensors: `modules_to_save`, trained biases, embeddings that
/// were resized or targeted, and the rows of `trainable_token_indices`.
///
/// Source: `ModulesToSaveWrapper` and `TrainableTokensWrapper` in peft/utils/other.py, and
/// `get_peft_model_state_dict` in peft/utils/save_and_load.py.
struct SavedParameters {
    private struct Replacement {
        let request: ParameterRequest
        let tensor: ExactString
        let shared: Bool
        let isOptional: Bool
        let name: ExactString
    }
    private struct Rows {
        let request: ParameterRequest
        let values: TensorInfo
        let indices: [Int]
    }

    /// The names of `modules_to_save`.
    private let savedNames: [String]
    private let path: String
    private var replacements: [Replacement] = []
    private var rows: [Rows] = []
    private var originals: [ExactString] = []

    /// Last names of input embeddings and output heads, which `save_embedding_layers` stores whole.
    private static let embeddingNames = TiedWeights.vocabularyNames

    /// - Parameters:
    ///   - tokenIndices: `trainable_token_indices` or `token_indices`: a list, or a map from module to list.
    ///   - hasBiases: whether the config says that biases were trained.
    init(adapter: Adapter, tokenIndices: JSONValue?, hasBiases: Bool) throws {
        let modulesToSave = try adapter.config?.strings("modules_to_save") ?? []
        savedNames = modulesToSave
        path = adapter.config?.path ?? adapter.path
        try SavedParameters.requireRows(for: tokenIndices, in: adapter)
        for key in adapter.keys where !key.isPrompt {
            guard let info = adapter.tensor(key.stored) else { continue }
            if key.component == "trainable_tokens_delta" {
                rows.append(try SavedParameters.rows(key, info, tokenIndices, adapter))
                continue
            }
            if key.component == "trainable_tokens_original" || key.component == "original_module" {
                originals.append(key.stored)
                continue
            }
            guard let kind = SavedParameters.kind(of: key, modulesToSave: modulesToSave, hasBiases: hasBiases) else {
                continue
            }
            if !hasBiases, kind == .baseLayer { try SavedParameters.requireNoBias(key, in: adapter) }
            let isSaved = kind == .module
            replacements.append(
                Replacement(
                    request: ParameterRequest(module: key.module, parameter: .named(key.leaf)), tensor: key.stored,
                    // A module in modules_to_save trains a copy of its own; everything else is the parameter itself.
                    shared: !isSaved, isOptional: isSaved, name: ExactString("\(key.module).\(key.leaf)")))
        }
    }

    /// Why a plain parameter is in an adapter.
    private enum Kind { case module, embedding, bias, baseLayer }

    private static func kind(of key: AdapterKey, modulesToSave: [String], hasBiases: Bool) -> Kind? {
        guard key.component == nil, !key.leaf.isEmpty, !key.module.text.isEmpty else { return nil }
        if modulesToSave.contains(where: { isPart(key.module.text, of: $0) }) { return .module }
        if key.depth > 0 { return .baseLayer }
        if let last = key.module.text.dottedComponents.last, embeddingNames.contains(String(last)) { return .embedding }
        // Older PEFT kept every key with "bias" in it: T5's relative_attention_bias, a router's correction bias.
        return hasBiases && key.stored.text.utf8Contains("bias") ? .bias : nil
    }

    /// Whether a key is one of these parameters, as far as the adapter alone tells.
    static func claims(_ key: AdapterKey, of adapter: Adapter, hasBiases: Bool) -> Bool {
        if let component = key.component {
            return ["trainable_tokens_delta", "trainable_tokens_original", "original_module"].contains(component)
        }
        let modulesToSave = (try? adapter.config?.strings("modules_to_save")) ?? []
        return kind(of: key, modulesToSave: modulesToSave, hasBiases: hasBiases) != nil
    }

    /// Whether a key is a parameter that PEFT saves whether it was trained or not: an embedding, a head, what lies under a LoRA of them.
    static func mayBeCopy(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        let modulesToSave = (try? adapter.config?.strings("modules_to_save")) ?? []
        let kind = kind(of: key, modulesToSave: modulesToSave, hasBiases: false)
        return kind == .baseLayer || kind == .embedding
    }

    /// Whether a key is a parameter itself, or rows of one: one of these, or of a method that trains parameters whole.
    static func standsForParameter(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        switch key.component {
        case nil: claims(key, of: adapter, hasBiases: true)
        case "trainable_tokens_delta"?, "ln_tuning_layers"?, "whole"?: true
        default: false
        }
    }

    /// What a page says of these parameters.
    static func targets(of adapter: Adapter) -> [AdapterTarget] {
        adapter.keys.compactMap { key in
            if key.component == "trainable_tokens_delta" {
                return AdapterTarget(module: key.module, method: "token rows")
            }
            guard key.component == nil, claims(key, of: adapter, hasBiases: true) else { return nil }
            return AdapterTarget(module: key.module, parameter: key.leaf, method: "saved whole")
        }
    }

    /// Whether the config says that biases were trained.
    ///
    /// Source: `BaseTuner._mark_only_adapters_as_trainable` in peft/tuners/tuners_utils.py, which takes no other value.
    static func storesBiases(_ config: AdapterConfig) throws -> Bool {
        guard let value = config["bias"] else { return false }
        guard let text = value.stringValue, text == "none" || text == "all" || text.hasSuffix("_only") else {
            throw config.wrong("bias", "\"none\", \"all\", or a method's own, such as \"lora_only\"")
        }
        return text != "none"
    }

    /// A trained bias of which the config says that there is none: one of the two is of another adapter. A raw dump of the whole
    /// model has the bias that the base has, and the weight beside it.
    private static func requireNoBias(_ key: AdapterKey, in adapter: Adapter) throws {
        guard key.component == nil, key.depth > 0, key.leaf == "bias", !isEmbedding(ExactString("\(key.module).weight")),
            !adapter.keys.contains(where: { $0.module == key.module && $0.component == nil && $0.leaf == "weight" })
        else { return }
        throw PeftfileError(
            .refused, "is a trained bias, and the config does not say that biases were trained", tensor: key.stored,
            rule: "BiasUnexpected",
            help: "set bias to \"all\" in adapter_config.json if they were; otherwise remove the tensor")
    }

    /// Whether a tensor is an input embedding's or an output head's, by its last names.
    static func isEmbedding(_ tensor: ExactString) -> Bool {
        let parts = tensor.text.dottedComponents
        return parts.count > 1 && parts.last == "weight" && embeddingNames.contains(String(parts[parts.count - 2]))
    }

    /// Requests that must find a place.
    var required: [ParameterRequest] { replacements.filter { !$0.isOptional }.map(\.request) + rows.map(\.request) }
    /// Requests for modules that were saved whole and that the base may lack.
    var optional: [ParameterRequest] { replacements.filter(\.isOptional).map(\.request) }

    func appendChanges(
        to result: inout MethodUpdates, places: [ParameterRequest: ParameterPlace], context: BindingContext
    ) throws {
        result.warnings += try savedModulesMissing(places, base: context.base)
        for replacement in replacements {
            if let place = places[replacement.request] {
                result.changes.append(
                    ParameterUpdate(
                        place: place, change: .replace(tensor: replacement.tensor, shared: replacement.shared)))
            } else {
                result.additions.append((replacement.name, replacement.tensor))
                result.warnings.append(
                    "\(replacement.name.text.printable) is new: the base has no such tensor, modules_to_save has")
            }
        }
        for row in rows {
            guard let place = places[row.request] else { continue }
            result.changes.append(
                ParameterUpdate(
                    place: place,
                    change: .replaceRows(
                        indices: row.indices, values: Factor(adapter: context.adapterIndex, info: row.values))))
        }
        result.setAside += originals.map { ($0, "a copy of the base's own parameter") }
        if context.weight != 1, !(replacements.isEmpty && rows.isEmpty) {
            result.warnings.append("parameters that the adapter stores whole are taken whole; the weights of a merge do not scale them")
        }
    }

    /// Every weight and bias of a module that `modules_to_save` names is in the adapter, if the base has it.
    ///
    /// PEFT 0.21 fails with a KeyError where one is not; the base's value would stand in for what was trained. A name that
    /// the base does not have either is passed over: for classification PEFT adds both `classifier` and `score`, of which a
    /// model has one.
    ///
    /// - Returns: a warning where neither the adapter nor the base has any of the names.
    /// - Throws: `.refused` with the first that the base has and the adapter has not.
    private func savedModulesMissing(
        _ places: [ParameterRequest: ParameterPlace], base: BaseDirectory
    ) throws -> [String] {
        guard !savedNames.isEmpty else { return [] }
        let found = Set(replacements.flatMap { places[$0.request]?.pieces.map(\.tensor) ?? [] })
        for tensor in base.names where !found.contains(tensor) {
            let parts = tensor.text.dottedComponents
            guard parts.count > 1, let leaf = parts.last, leaf == "weight" || leaf == "bias" else { continue }
            let module = String(tensor.text.dropLast(leaf.count + 1))
            guard let name = savedNames.first(where: { SavedParameters.isPart(module, of: $0) }) else { continue }
            throw PeftfileError(
                .refused, "modules_to_save names \"\(name.printable)\", the base has \"\(tensor.text.printable)\", and the adapter "
                    + "holds no trained value of it", file: path, tensor: tensor, rule: "SavedModuleMissing",
                help: "save the adapter again; if it was never trained, take \"\(name.printable)\" out of modules_to_save")
        }
        return replacements.contains(where: \.isOptional) ? [] : [
            "modules_to_save names \(savedNames.map(\.printable).joined(separator: ", ")), of which neither the adapter nor the base has a tensor"
        ]
    }

    /// Every module that a map of token indices names has its rows in the file, or shares the indices of one that has:
    /// PEFT stores rows of tied modules once. A list means the input embedding, whose rows any one tensor can be.
    private static func requireRows(for tokenIndices: JSONValue?, in adapter: Adapter) throws {
        let modules = adapter.keys.filter { $0.component == "trainable_tokens_delta" }.map(\.module.text)
        if let list = tokenIndices?.arrayValue, !list.isEmpty, modules.isEmpty {
            throw PeftfileError(
                .refused, "the config names \(list.count) trained token\(list.count == 1 ? "" : "s"), and no tensor holds their rows",
                file: adapter.config?.path, rule: "TokenIndicesMissing", help: "save the adapter again")
        }
        guard let map = tokenIndices?.objectValue else { return }
        let stored = map.members.filter { member in modules.contains { endsWith($0, member.key.text) } }
        for member in map.members where !stored.contains(where: { $0.key == member.key || $0.value == member.value }) {
            throw PeftfileError(
                .refused, "trainable_token_indices names \"\(member.key.text.printable)\", and no tensor holds its rows",
                file: adapter.config?.path, rule: "TokenIndicesMissing", help: "save the adapter again")
        }
    }

    private static func rows(
        _ key: AdapterKey, _ info: TensorInfo, _ tokenIndices: JSONValue?, _ adapter: Adapter
    ) throws -> Rows {
        guard let config = adapter.config, var value = tokenIndices else {
            throw PeftfileError(
                .refused, "holds trained token rows, and the config does not say of which tokens", tensor: info.name,
                rule: "TokenIndicesMissing", help: "restore trainable_token_indices in adapter_config.json")
        }
        if let map = value.objectValue {
            guard let entry = map.members.first(where: { endsWith(key.module.text, $0.key.text) }) else {
                throw PeftfileError(
                    .refused, "holds trained token rows, and trainable_token_indices does not name its module",
                    tensor: info.name, rule: "TokenIndicesMissing")
            }
            value = entry.value
        }
        let indices = try config.indices(value, key: "trainable_token_indices")
        guard info.shape.count == 2, info.shape[0] == indices.count, Set(indices).count == indices.count else {
            throw PeftfileError(
                .refused, "has shape \(info.shape) for \(indices.count) token indices (\(Set(indices).count) different)",
                tensor: info.name, rule: "TokenIndices", help: "correct trainable_token_indices in adapter_config.json")
        }
        guard info.dtype.isMergeable else {
            throw PeftfileError(
                .refused, "has dtype \(info.dtype.rawValue), and token rows must be F64, F32, F16 or BF16",
                tensor: info.name, rule: "SavedDType")
        }
        return Rows(
            request: ParameterRequest(module: key.module, parameter: .named("weight"), isEmbedding: true),
            values: info, indices: indices)
    }

    /// Whether the module is one that `modules_to_save` names, or lies in one. PEFT wraps every module whose path ends in
    /// the name, not only at a dot: `norm` means `input_layernorm` too (`_set_trainable`, `key.endswith(target_key)`).
    static func isPart(_ module: String, of name: String) -> Bool {
        var path = module[...]
        while !path.isEmpty {
            if path.utf8.count >= name.utf8.count, path.utf8.suffix(name.utf8.count).elementsEqual(name.utf8) { return true }
            guard let dot = path.utf8.lastIndex(of: UInt8(ascii: ".")) else { return false }
            path = path[..<dot]
        }
        return false
    }

    private static func endsWith(_ module: String, _ name: String) -> Bool {
        module == name || module.hasSuffix("." + name)
    }
}
