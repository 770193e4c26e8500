package import ByteAccess

/// The modules for which PEFT makes room in the model by the config: what a file holds for any other is dropped when the adapter is
/// loaded, so a merge of it would not be the model that was trained or served.
///
/// `inject_adapter` walks the modules of the model and wraps those that `check_target_module_exists` accepts: `exclude_modules` and
/// `modules_to_save` take out, `target_modules` names, and of what it does not name in full `layers_to_transform` and
/// `layers_pattern` leave single layers. "all-linear" means every `nn.Linear` and `Conv1D` but the output head
/// (`_maybe_include_all_linear_layers`). `_inject_parameters` wraps each module that owns a parameter which ends in a name of
/// `target_parameters`. Then `set_peft_model_state_dict` loads with `strict=False`, and keys without a module fall away. All in
/// peft/tuners/tuners_utils.py and peft/utils/save_and_load.py.
package struct LoadedModules: Sendable {
    /// Modules with tensors that PEFT would drop, each with the key of the config that says so; in file order.
    package let dropped: [(module: ExactString, tensor: ExactString, key: ExactString)]
    /// Why the modules could not be told, where a pattern is more than is known here.
    package let unread: PeftfileError?
    /// The type of the model whose list of PEFT's stands for `target_modules`; nil where the config has its own.
    private let listedType: String?

    /// - Parameter modelType: `model_type` of the base, where there is one.
    /// - Throws: `.malformed` where the config's own lists and expressions cannot be read: PEFT could not load it either.
    package init(of adapter: Adapter, modelType: String? = nil) throws {
        guard adapter.dialect == nil, adapter.method == nil, var config = adapter.config, config.peftType != nil,
            // LLaMA-Adapter, ShadowPEFT and X-LoRA find their modules in other ways.
            let method = try? MethodRegistry.method(of: adapter), method.needsTargetModules || !(method is UnmergeableMethod)
        else {
            (dropped, unread, listedType) = ([], nil, nil)
            return
        }
        if config["target_modules"] == nil, method.needsTargetModules, let modelType,
            let targets = method.defaultTargets.targets(of: modelType)
        {
            var document = config.json
            document["target_modules"] = targets
            config = try AdapterConfig(json: document, path: config.path)
            listedType = modelType
        } else {
            listedType = nil
        }
        let isShorthand = config["target_modules"]?.stringValue?.lowercased() == "all-linear"
        let named: TargetModules
        do {
            // Where the config names none, and the type of the model is not known, PEFT's list is not either.
            named = try config["target_modules"] == nil || isShorthand ? TargetModules(anyOf: config) : TargetModules(config)
        } catch let error as PeftfileError where error.rule == "PatternUnsupported" {
            (dropped, unread) = ([], error)
            return
        }
        if isShorthand, config["layers_to_transform"] != nil {
            throw config.wrong("layers_to_transform", "absent beside a target_modules that is a string")
        }
        let parameters = try config.strings("target_parameters")
        let tiesEmbeddings = try config.flag("ensure_weight_tying")
        // Rows of a LoRA's embedding have a key of their own, which names their module.
        let ownTokens = config["trainable_token_indices"] == nil
        var result: [(module: ExactString, tensor: ExactString, key: ExactString)] = []
        var seen: Set<ExactString> = []
        var hasTokens = false
        for key in adapter.keys where !key.isPrompt && !key.module.text.isEmpty {
            guard let component = key.component, component != "original_module",
                ownTokens || !component.hasPrefix("trainable_tokens"), seen.insert(key.module).inserted
            else { continue }
            let module = key.module.text
            // A bare `weight` is a parameter of every layer.
            if LoadedModules.holdsParameter(module, parameters) || parameters.contains("weight") { continue }
            if tiesEmbeddings, SavedParameters.isEmbedding(ExactString("\(module).weight")) { continue }
            guard let reason = named.exclusion(of: module) ?? (isShorthand && LoadedModules.isNoLinear(key) ? "target_modules" : nil),
                // An nn.MultiheadAttention is wrapped whole, and its out_proj with it.
                !module.hasSuffix(".out_proj") || named.exclusion(of: String(module.dropLast(".out_proj".count))) != nil
            else {
                hasTokens = hasTokens || component.hasPrefix("trainable_tokens")
                continue
            }
            result.append((key.module, key.stored, reason))
        }
        // Rows of an embedding stand at the head that is tied to it as well (`TrainableTokensModel.inject_adapter`).
        if hasTokens { result.removeAll { SavedParameters.isEmbedding(ExactString("\($0.module).weight")) } }
        (dropped, unread) = (result, nil)
    }

    /// Refuses an adapter of which PEFT would drop tensors, or that it would not load for want of `target_modules`.
    ///
    /// - Parameter modelType: `model_type` of the base; nil where there is no base or its config does not say.
    /// - Returns: what a reader should know where it could not be told.
    static func require(_ adapter: Adapter, modelType: String?) throws -> [String] {
        if let unnamed = (try? MethodRegistry.method(of: adapter))?.unnamedModules(of: adapter, modelType: modelType) { throw unnamed }
        let modules = try LoadedModules(of: adapter, modelType: modelType)
        if let refusal = modules.refusal(of: adapter) { throw refusal }
        let listed = modules.listedType.map { type in
            ["adapter_config.json has no target_modules; the modules of the file are in PEFT 0.21's own list for model_type \"\(type.printable)\""]
        }
        return (listed ?? []) + (modules.unread.map { ["\($0.message), so it is not told whether PEFT would load every tensor"] } ?? [])
    }

    /// The refusal of the first tensor that PEFT would drop.
    package func refusal(of adapter: Adapter) -> PeftfileError? {
        guard let first = dropped.first else { return nil }
        let module = "module \"\(first.module)\""
        // Experts have parameters and no modules of their own in version 5.
        let isParameter = adapter.config?["target_parameters"]?.arrayValue?.isEmpty == false || first.module.text.hasSuffix(".experts")
        let key = first.key == "target_modules" && isParameter ? "target_modules or target_parameters" : first.key.text
        let reason =
            switch first.key {
            case "exclude_modules": "exclude_modules takes \(module) out"
            case "modules_to_save": "modules_to_save has \(module), which then has no update"
            case "layers_to_transform": "layers_to_transform leaves the layer of \(module) out"
            case "layers_pattern": "layers_pattern finds no layer in the name of \(module)"
            case "target_modules" where listedType != nil:
                "target_modules is null, and PEFT's own list for model_type \"\(listedType?.printable ?? "")\" does not have \(module)"
            default: isParameter ? "neither target_modules nor target_parameters has \(module)" : "target_modules does not have \(module)"
            }
        let others = dropped.count == 1 ? "" : ", and those of \(dropped.count - 1) more module\(dropped.count == 2 ? "" : "s")"
        return PeftfileError(
            .refused, "\(reason): PEFT would drop its tensors\(others)", tensor: first.tensor, rule: "TensorNotLoaded",
            help: "correct \(key) in adapter_config.json, or remove the tensors that were not meant")
    }

    /// Whether the module may own a parameter that `target_parameters` names: `experts.gate_up_proj` names one of every module
    /// whose path ends in `experts`, and a bare `gate_up_proj` one of any module, which in practice are the `experts` too.
    static func holdsParameter(_ module: String, _ names: [String]) -> Bool {
        names.contains { name in
            guard let dot = name.lastIndex(of: ".") else { return module.hasSuffix(".experts") }
            return ConfigCoverage.meets(module, String(name[..<dot]))
        }
    }

    /// What "all-linear" does not mean: embeddings, and the output head of a model that makes text.
    private static func isNoLinear(_ key: AdapterKey) -> Bool {
        key.component?.utf8Contains("embedding") == true || ["lm_head", "embed_out"].contains(key.module.text.dottedComponents.last)
    }
}
