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

    private var replacements: [Replacement] = []
    private var rows: [Rows] = []
    private var originals: [ExactString] = []

    /// PEFT's names of embeddings that `save_embedding_layers` stores (EMBEDDING_LAYER_NAMES in peft/utils/constants.py).
    private static let embeddingNames = ["embed_tokens", "lm_head"]

    /// - Parameters:
    ///   - tokenIndices: `trainable_token_indices` or `token_indices`: a list, or a map from module to list.
    ///   - hasBiases: whether the config says that biases were trained.
    init(adapter: Adapter, tokenIndices: JSONValue?, hasBiases: Bool) throws {
        let modulesToSave = try adapter.config?.strings("modules_to_save") ?? []
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
            let isSaved = kind == .module
            guard info.dtype.isMergeable else {
                throw PeftfileError(
                    .refused, "has dtype \(info.dtype.rawValue), and a saved parameter must be F64, F32, F16 or BF16",
                    tensor: info.name, rule: "SavedDType")
            }
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
        if embeddingNames.contains(where: { endsWith(key.module.text, $0) }) { return .embedding }
        return hasBiases && key.leaf == "bias" ? .bias : nil
    }

    /// Whether a key is one of these parameters, as far as the adapter alone tells.
    static func claims(_ key: AdapterKey, of adapter: Adapter, hasBiases: Bool) -> Bool {
        if let component = key.component {
            return ["trainable_tokens_delta", "trainable_tokens_original", "original_module"].contains(component)
        }
        let modulesToSave = (try? adapter.config?.strings("modules_to_save")) ?? []
        return kind(of: key, modulesToSave: modulesToSave, hasBiases: hasBiases) != nil
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

    /// Requests that must find a place.
    var required: [ParameterRequest] { replacements.filter { !$0.isOptional }.map(\.request) + rows.map(\.request) }
    /// Requests for modules that were saved whole and that the base may lack.
    var optional: [ParameterRequest] { replacements.filter(\.isOptional).map(\.request) }

    func appendChanges(
        to result: inout MethodUpdates, places: [ParameterRequest: ParameterPlace], context: BindingContext
    ) throws {
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
            result.warnings.append("parameters that the adapter stores whole are taken whole; --weights does not scale them")
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

    /// PEFT: `re.match(rf"(^|.*\.){name}($|\..*)", module)`, for a name without signs of its own.
    private static func isPart(_ module: String, of name: String) -> Bool {
        ("." + module + ".").utf8Contains("." + name + ".")
    }

    private static func endsWith(_ module: String, _ name: String) -> Bool {
        module == name || module.hasSuffix("." + name)
    }
}

extension String {
    /// Whether the bytes of `part` occur in this text.
    func utf8Contains(_ part: String) -> Bool {
        let text = Array(utf8)
        let part = Array(part.utf8)
        guard part.count <= text.count else { return false }
        return (0...(text.count - part.count)).contains { text[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
