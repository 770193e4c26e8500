import ByteAccess

/// Values of config keys at which PEFT raises when it loads the adapter, or loads it for nothing, although they are of the kind that
/// the key has: what it makes of them was seen with `PeftModel.from_pretrained` of PEFT 0.21.2. A merge depends on none of them.
///
/// null is a value here: where PEFT's config class has a default of its own, it compares null with a number or asks it for its keys.
struct LoadingValues {
    let method: any AdapterMethod
    let config: AdapterConfig

    /// What is wrong with the value of a key; nil where PEFT takes it.
    func defect(of key: String, _ value: JSONValue) -> String? {
        if let wanted = wanted(key, value) { return "\"\(key.printable)\" must be \(wanted)" }
        switch key {
        case "init_lora_weights":
            guard method is LoRA, let name = value.stringValue, !LoadingValues.isInitialisation(name), !isNewer else { return nil }
            return "init_lora_weights is \"\(name.printable)\", for which PEFT raises \"Unknown initialization\""
        case "layers_pattern":
            let names = (try? config.strings("layers_pattern")) ?? []
            guard LayersPattern.needsLayers.contains(config.peftType ?? ""), config["layers_to_transform"] == nil,
                names.contains(where: { !$0.isEmpty })
            else { return nil }
            return "layers_pattern needs layers_to_transform, and PEFT raises without it"
        default: return nil
        }
    }

    /// What a prompt's config lacks: without a task PEFT makes a plain `PeftModel`, which loads the prompt and does not use it.
    ///
    /// Source: `PeftModel.from_pretrained` in peft/peft_model.py, `CPTConfig.__post_init__` in peft/tuners/cpt/config.py.
    var promptDefects: [(key: ExactString, reason: String)] {
        guard let prompt = config.peftType.flatMap(SoftPrompt.init(peftType:)) else { return [] }
        var result: [(key: ExactString, reason: String)] = []
        if prompt == .context, config["task_type"]?.stringValue != "CAUSAL_LM" {
            result.append(("task_type", "task_type is not CAUSAL_LM, the only one for which PEFT makes this prompt"))
        } else if config["task_type"] == nil {
            result.append(("task_type", "has no task_type: PEFT loads the prompt and answers with the base model"))
        }
        guard prompt == .context else { return result }
        // A list that is not there is made as long as the first, which begins with one token.
        let keys: [ExactString] = ["cpt_token_ids", "cpt_mask", "cpt_tokens_type_mask"]
        for key in keys where config[key].map({ $0.arrayValue == nil }) == true { result.append((key, "\"\(key)\" must be a list")) }
        guard result.allSatisfy({ $0.key == "task_type" }) else { return result }
        let count = config["cpt_token_ids"]?.arrayValue?.count ?? 1
        for key in keys.dropFirst() {
            if let own = config[key]?.arrayValue?.count, own != count {
                result.append((key, "\"\(key)\" has \(own) entries and cpt_token_ids \(count): PEFT raises where they differ"))
            }
        }
        if let tokens = config["num_virtual_tokens"]?.intValue, tokens > 0, tokens != count {
            result.append(("cpt_token_ids", "\"cpt_token_ids\" has \(count) tokens and num_virtual_tokens is \(tokens): PEFT takes the former"))
        }
        return result
    }

    /// What the value must be; nil where it is that.
    private func wanted(_ key: String, _ value: JSONValue) -> String? {
        let isEmptyList = value.arrayValue?.isEmpty == true, isEmptyMap = value.objectValue?.members.isEmpty == true
        let isOff = value.boolValue == false || isEmptyList
        switch key {
        case _ where key.hasSuffix("_dropout") && method.configKeys.contains(key):
            // LoHa and LoKr look at theirs in training alone, and two others take more than 1 for 1.
            guard !method.configKeys.contains("rank_dropout"), value.boolValue == nil else { return nil }
            guard let share = value.doubleValue else { return "a number from 0 to 1" }
            return share > 1 && key != "boft_dropout" && !(method is OFT) ? "a number from 0 to 1" : nil
        case "rank_pattern", "alpha_pattern":
            // AdaLoRA and OSF have null by default.
            let asksForKeys = method is LoRA || method is HiRA || method is LoHa || method is LoKr || method is DeLoRA
            return asksForKeys && method.configKeys.contains(key) && (value.isNull || isOff) ? "a map" : nil
        case "bias": return method.configKeys.contains(key) && value.isNull ? "\"none\", \"all\", or a method's own, such as \"lora_only\"" : nil
        case "corda_config", "eva_config", "lora_ga_config", "velora_config", "arrow_config", "kasa_config":
            return method is LoRA && isOff ? "a map, or null" : nil
        case "use_bdlora": return method is LoRA && (isOff || isEmptyMap) ? "a map that names modules, or null" : nil
        case "trainable_token_indices": return method.configKeys.contains(key) && isOff ? "a list or map of tokens, or null" : nil
        case "target_parameters": return method.configKeys.contains(key) && value.stringValue != nil ? "a list of texts" : nil
        case "layer_replication":
            guard method.configKeys.contains(key), let ranges = value.arrayValue else { return nil }
            return ranges.allSatisfy { $0.arrayValue?.count == 2 && $0.arrayValue?.allSatisfy { $0.intValue != nil } == true }
                ? nil : "a list of [start, end]"
        case "layers_to_transform":
            if let list = value.arrayValue { return list.allSatisfy { $0.intValue != nil } ? nil : "a whole number or a list of such" }
            return value.objectValue != nil || value.doubleValue != nil && value.intValue == nil ? "a whole number or a list of such" : nil
        case "target_modules", "modules_to_save":
            if let list = value.arrayValue { return list.allSatisfy { $0.stringValue != nil } ? nil : "a list of texts" }
            return key == "target_modules" && isEmptyMap ? "a list of texts, or a text" : nil
        default: return nil
        }
    }

    /// Whether a later PEFT wrote the config than the one that is known here.
    private var isNewer: Bool {
        let parts = (config.peftVersion ?? "").split(separator: ".").prefix(2).map { Int($0) ?? 0 }
        return parts.count == 2 && (parts[0] > 0 || parts[1] > 21)
    }

    /// The names that `LoraLayer.update_layer` and `reset_lora_parameters` in peft/tuners/lora/layer.py know.
    private static func isInitialisation(_ name: String) -> Bool {
        ["eva", "pissa", "loftq", "orthogonal", "lora_ga"].contains(name) || name.hasPrefix("corda")
            || ["gaussian", "olora", "mica"].contains(name.lowercased())
            || name.hasPrefix("pissa_niter_") && Int(name.dropFirst("pissa_niter_".count)) != nil
    }
}
