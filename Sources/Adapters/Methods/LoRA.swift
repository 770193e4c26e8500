import ByteAccess
import Tensors

/// LoRA, low-rank adaptation (arXiv:2106.09685), with every variant that PEFT saves under `peft_type` LORA.
///
///     W' = W + s·B·A                          s = lora_alpha / r, or lora_alpha / √r with use_rslora
///
/// | module | keys (shape) | update of the stored parameter |
/// |---|---|---|
/// | Linear | `lora_A.weight` (r, in), `lora_B.weight` (out, r) | W (out, in) += s·B·A; a Conv1D layer's W (in, out) its transpose |
/// | Embedding | `lora_embedding_A` (r, vocab), `lora_embedding_B` (dim, r) | W (vocab, dim) += s·(B·A)ᵀ |
/// | Conv1d, 2d, 3d | `lora_A.weight` (r, in, k…), `lora_B.weight` (out, r, 1…) | W (out, in·k…) += s·B·A |
/// | stacked experts | `lora_A.weight` (E·r, in), `lora_B.weight` (out, r·E) | W[e] += s·B[:, k·E+e]·A[e·r+k, :] |
/// | `lora_bias` | `lora_B.bias` (out) | bias += s·lora_B.bias |
///
/// Order of evaluation: k = 0…r−1 by fused multiply-add from +0, then the scale, then the sum of all terms of the
/// element, then W, then one rounding.
///
/// Variants: DoRA (`lora_magnitude_vector`, W' = m·V/‖V‖ with V = W + s·B·A), QALoRA (A sees the means of input
/// groups), BD-LoRA (block-diagonal A or B), KaSA (s·B·diag(d)·A on a base without its smallest components), PiSSA and
/// OLoRA (factors relative to a base that lost its largest components), MonteCLoRA and VeLoRA (extra training state
/// without effect on the merge). Activated LoRA and Arrow have no merged form and are refused.
///
/// Config: `r`, `lora_alpha`, `rank_pattern`, `alpha_pattern`, `use_rslora` and those of the variants; `Formats/lora.md` has each
/// with its effect.
/// Source: peft/tuners/lora/layer.py (`get_delta_weight` of Linear, Embedding, _ConvNd, ParamWrapper), variants.py.
struct LoRA: AdapterMethod {
    let peftTypes = ["LORA"]
    /// Of what has no merged form: biases without a place, and grouped convolutions, whose B has a part of the rank.
    let baseSides: [String: BaseSide] = ["lora_A": .inputColumns, "lora_B": .outputRows]

    let configKeys: Set<String> = [
        "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out", "bias",
        "lora_bias", "init_lora_weights", "target_parameters", "layer_replication", "trainable_token_indices",
        "use_qalora", "qalora_group_size", "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config",
        "ensure_weight_tying",
        // Training-time settings: dropout, data-driven initialisations (what they did to the base is told by
        // init_lora_weights), samplers, memory savers, and the parallel layers that Megatron trains in.
        "lora_dropout", "monteclora_config", "velora_config", "loftq_config", "eva_config", "corda_config",
        "lora_ga_config", "megatron_config", "megatron_core", "ephemeral_gpu_offload",
        // Whether PEFT 0.1 merged in memory for evaluation: a state of its layers and none of the file.
        "merge_weights",
    ]

    /// Initialisations that leave the base as it is, and the settings of EVA's, which `initialize_lora_eva_weights` alone reads.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        switch key {
        case "init_lora_weights": value?.stringValue.map { !LoRAConfig.harmlessInitialisations.contains($0.lowercased()) } ?? false
        case "eva_config": false
        default: nil
        }
    }

    static let components: Set<String> = [
        "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_diag",
    ]

    /// Training state that PEFT stores beside the factors and ignores when it merges.
    private static let trainingState: [(prefix: String, reason: String)] = [
        ("lora_monteclora_sampler", "MonteCLoRA's sampler acts in training only"),
        ("lora_velora_embed", "VeLoRA's projection saves memory in training only"),
    ]

    /// Whether the tensor acts in training only.
    static func isTrainingState(_ key: AdapterKey) -> Bool { trainingState.contains { $0.prefix == key.component } }

    /// The shapes that PEFT gives a module's training state: it raises "size mismatch" at others, although nothing is computed of it.
    ///
    /// Source: `MontecloraSampler.__init__` in peft/tuners/lora/monteclora.py, `VeloraLinearVariant` in variants.py.
    static func requireStateForms(of modules: [LoRAModule], in adapter: Adapter) throws {
        let samples = adapter.config?["monteclora_config"]?["num_samples"]?.intValue
        let groups = adapter.config?["velora_config"]?["num_groups"]?.intValue
        let sizes = Dictionary(modules.map { ($0.path, (rank: $0.storedRank, width: $0.a.columnCount)) }) { first, _ in first }
        for key in adapter.keys where isTrainingState(key) {
            guard let (rank, width) = sizes[key.module], let info = adapter.tensor(key.stored) else { continue }
            let wanted: [Int?]
            switch key.leaf.dottedComponents.last.map({ String($0) }) {
            case "expert_weights", "expert_weights_prior": wanted = [samples]
            case "gaussian_var_prior": wanted = [rank, rank]
            case "std_prior": wanted = [rank]
            case _ where key.component == "lora_velora_embed": 
                wanted = [groups.flatMap { $0 > 0 && width.isMultiple(of: $0) ? width / $0 : nil }]
            default: continue
            }
            guard info.shape.count == wanted.count, zip(info.shape, wanted).allSatisfy({ $1 == nil || $0 == $1 }) else {
                throw PeftfileError(
                    .refused, "has shape \(info.shape), and PEFT makes it with [" + wanted.map { $0.map(String.init) ?? "any" }.joined(separator: ", ") + "]",
                    tensor: info.name, rule: "ShapeMismatch", help: "save the adapter again, or correct r or monteclora_config")
            }
        }
    }

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        let config = try adapter.config.map { try LoRAConfig($0, options: BindingOptions(baseRole: .residual)) }
        let modules = try LoRAModule.collect(from: adapter)
        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        let factors = modules.map { module in
            guard let config else {
                return AdapterTarget(module: module.path, method: "LoRA", rank: module.storedRank)
            }
            let parameter = module.wrappedParameter(config.targetParameters, levels: levels[module.path] ?? 1)
            let key = parameter.map { "\(module.path).\($0)" } ?? module.path.text
            return AdapterTarget(
                module: module.path, parameter: parameter ?? "weight", method: config.name, rank: module.rank(config.rank(for: key), in: config),
                alpha: config.alpha(for: key), scale: config.scale(for: key))
        }
        return factors + SavedParameters.targets(of: adapter)
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        if let component = key.component {
            if LoRA.trainingState.contains(where: { $0.prefix == component }) { return true }
            if LoRA.components.contains(component) { return true }
        }
        return SavedParameters.claims(key, of: adapter, hasBiases: (try? adapter.config.map(SavedParameters.storesBiases)) ?? false)
    }

    func remarks(on adapter: Adapter) -> [String] {
        guard let file = adapter.config else { return [] }
        var remarks: [String] = []
        do {
            try file.requireKnownKeys(configKeys)
            try requireConfig(of: adapter)
            let config = try LoRAConfig(file, options: BindingOptions())
            let modules = try LoRAModule.collect(from: adapter)
            let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
            for module in modules where levels[module.path] == 1 && !module.isTargetParameter(config.targetParameters) {
                let rank = module.rank(config.rank(for: module.path.text), in: config)
                do { try module.checkRank(rank, experts: 1, hasConfiguredRank: file["r"] != nil) }
                catch { remarks.append("\(adapter.path): \(error)") }
            }
            remarks += config.unusedEntries(modules: modules)
        } catch {
            remarks.append("\(adapter.path): \(error)")
        }
        let limit = 5
        return remarks.count <= limit ? remarks : remarks.prefix(limit) + ["and \(remarks.count - limit) more of this kind"]
    }

    /// With `lora_bias` every lora_B has a bias, without none: PEFT drops one that the config does not announce, and takes one
    /// that is lost for zero. An embedding has none (`Embedding.update_layer` refuses `lora_bias`).
    private static func requireBiases(of modules: [LoRAModule], asIn config: AdapterConfig) throws {
        let isTrained = try config.flag("lora_bias")
        for module in modules where (module.bias != nil) != (isTrained && !module.isEmbedding) {
            if let bias = module.bias {
                throw PeftfileError(
                    .refused, "is a trained bias, and the config does not say lora_bias", tensor: bias.name,
                    rule: "LoRABiasUnexpected", help: "set lora_bias in adapter_config.json if it was trained with it")
            }
            throw PeftfileError(
                .refused, "module \"\(module.path)\" has no lora_B.bias, and the config says lora_bias", tensor: module.b.name,
                rule: "LoRABiasMissing", help: "save the adapter again")
        }
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        guard let file = adapter.config else {
            throw PeftfileError(
                .refused, "has no adapter_config.json, so the scale of the update is unknown", file: adapter.path,
                rule: "ConfigMissing", help: "give the whole factor with --scale")
        }
        try file.requireKnownKeys(configKeys)
        try requireConfig(of: adapter)
        let config = try LoRAConfig(file, options: context.options)
        let modules = try LoRAModule.collect(from: adapter)
        if adapter.dialect == nil { try LoRA.requireBiases(of: modules, asIn: file) }
        let saved = try SavedParameters(
            adapter: adapter, tokenIndices: file["trainable_token_indices"], hasBiases: try SavedParameters.storesBiases(file))
        var result = MethodUpdates()
        result.warnings = config.unusedPatterns(modules: modules)
        for key in adapter.keys {
            guard let component = key.component else { continue }
            if let state = LoRA.trainingState.first(where: { component == $0.prefix }) {
                result.setAside.append((key.stored, state.reason))
            }
        }

        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        // Those of the modules, one each, and then the saved parameters'.
        var required = try modules.map { module in
            let levels = levels[module.path] ?? 1
            let isWrapped = levels > 1 || module.depth > 0 || module.isTargetParameter(config.targetParameters)
            return ParameterRequest(
                module: module.path, parameter: isWrapped ? .wrapped(level: module.depth, levels: levels) : .weight,
                update: try module.updateShape(config), isEmbedding: module.isEmbedding)
        }
        required += saved.required
        let biases = modules.compactMap { $0.bias == nil ? nil : ParameterRequest(module: $0.path, parameter: .bias) }
        let places = try context.resolve(required, biases + saved.optional)

        result.changes.reserveCapacity(modules.count)
        for (module, weight) in zip(modules, required) {
            guard let place = places[weight] else {
                throw PeftfileError(
                    .refused, "module \"\(module.path)\" has no place in the base", file: adapter.path,
                    rule: "MissingTarget", help: "merge onto the base that the adapter was trained on")
            }
            let biasPlace = places[ParameterRequest(module: module.path, parameter: .bias)]
            if let bias = module.bias, biasPlace == nil {
                throw PeftfileError(
                    .refused, "module \"\(module.path)\" has a trained lora_B.bias, and the base layer has no bias to add it to",
                    file: adapter.path, tensor: bias.name, rule: "BiasMissing", help: "serve it unmerged; PEFT cannot merge it either")
            }
            result.changes += try module.changes(at: place, biasAt: biasPlace, config: config, context: context)
        }
        try saved.appendChanges(to: &result, places: places, context: context)
        return result
    }
}
