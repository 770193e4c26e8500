import Adapters
import ByteAccess

/// `adapter_config.json` of a stripped prompt.
enum PEFTPromptConfig {
    /// The config that `PeftModel.from_pretrained` needs: PEFT's own with what stripping changes, or a new one.
    static func object(
        _ module: PromptModule, _ shape: PEFTPromptShape, _ options: StripOptions, saved: [PromptSource.SavedModule],
        warnings: inout [String]
    ) throws -> JSONObject {
        let isOwn = module.isPEFT && module.config != nil
        var config = isOwn ? module.config?.json ?? JSONObject() : fresh(module, options)
        let kind = options.task == nil ? module.kind : .prompt
        config["peft_type"] = .string(kind.peftType)
        config["inference_mode"] = true
        // PEFT's own save leaves this true; then the adapter cannot be trained further and get_prompt depends on the mode.
        if kind == .prefix { config["prefix_projection"] = false }
        if let type = options.taskType { config["task_type"] = .string(type) }
        let submodules = submodules(module, config, shape)
        config["num_virtual_tokens"] = .number(JSONNumber(kind.isKeyValue ? shape.tokens : shape.tokens / submodules))
        if config["num_transformer_submodules"].map(\.isNull) ?? true {
            config["num_transformer_submodules"] = .number(JSONNumber(submodules))
        }
        config["token_dim"] = .number(JSONNumber(shape.tokenWidth))
        if let heads = shape.heads { config["num_attention_heads"] = .number(JSONNumber(heads)) }
        if let layers = shape.layers { config["num_layers"] = .number(JSONNumber(layers)) }
        if options.task != nil {
            for key: ExactString in [
                "num_tasks", "num_ranks", "prompt_tuning_init_state_dict_path", "prompt_tuning_init_task",
            ] { config[key] = nil }
            config["prompt_tuning_init"] = "RANDOM"
        }
        if let name = options.base?.name { config["base_model_name_or_path"] = .string(name) }
        complete(&config, saved, &warnings)
        if config["task_type"].map(\.isNull) ?? true {
            warnings.append("task_type is unknown: PEFT loads the adapter as a plain PeftModel; --task-type CAUSAL_LM gives generation")
        }
        if !isOwn, options.base == nil {
            warnings.append("base_model_name_or_path is unknown; --base names the base")
        }
        if kind == .encoder {
            warnings.append(
                "load it for inference only: with is_trainable=True PEFT puts this output into the input embedding of a "
                    + "new encoder")
        }
        return config
    }

    /// Modules that PEFT saves and loads with the prompt, those that `modules_to_save` names and for a classifier its head.
    ///
    /// `set_peft_model_state_dict` fails where the model has such a module and the file does not.
    private static func complete(_ config: inout JSONObject, _ saved: [PromptSource.SavedModule], _ warnings: inout [String]) {
        let names = config["modules_to_save"]?.arrayValue?.compactMap(\.stringValue) ?? []
        if names.isEmpty, !saved.isEmpty {
            config["modules_to_save"] = .array(Set(saved.map(\.module)).sorted().map { .string($0) })
        }
        guard saved.isEmpty else { return }
        let type = config["task_type"]?.stringValue ?? ""
        if !names.isEmpty || ["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"].contains(type) {
            let what = names.isEmpty ? "the head for \(type)" : names.joined(separator: ", ").printable
            warnings.append(
                "PEFT loads \(what) from the adapter (modules_to_save), and the source has no module that PEFT saved: loading fails "
                    + "where the base has it")
        }
    }

    /// How many parts of the model have the prompt: 2 for the encoder and the decoder of SEQ_2_SEQ_LM, else 1.
    ///
    /// A prefix is then given to both, and an input prompt has the tokens of both, one after the other. PEFT takes 2 where the
    /// config is silent (`add_adapter` in peft/peft_model.py); a prompt from elsewhere has no second half.
    private static func submodules(_ module: PromptModule, _ config: JSONObject, _ shape: PEFTPromptShape) -> Int {
        if let stated = config["num_transformer_submodules"]?.intValue, stated > 0 { return stated }
        let hasDecoder = config["task_type"]?.stringValue == "SEQ_2_SEQ_LM"
        if module.kind.isKeyValue { return hasDecoder ? 2 : 1 }
        if let tokens = config["num_virtual_tokens"]?.intValue, tokens > 0, shape.tokens % tokens == 0 {
            return shape.tokens / tokens
        }
        return module.isPEFT && hasDecoder && shape.tokens % 2 == 0 ? 2 : 1
    }

    /// The keys that PEFT writes for every prompt-learning method, with what is known.
    private static func fresh(_ module: PromptModule, _ options: StripOptions) -> JSONObject {
        var config: JSONObject = [
            "auto_mapping": nil,
            "base_model_name_or_path": nil,
            "inference_mode": true,
            "modules_to_save": nil,
            "num_attention_heads": nil,
            "num_layers": nil,
            "num_transformer_submodules": nil,
            "num_virtual_tokens": nil,
            "peft_type": .string(module.kind.peftType),
            "revision": nil,
            "task_type": nil,
            "token_dim": nil,
        ]
        if let base = options.base?.config, let architecture = base["architectures"]?.arrayValue?.first?.stringValue {
            let hasDecoder = base["is_encoder_decoder"]?.boolValue == true
            config["task_type"] = taskType(architecture, hasDecoder: hasDecoder).map { .string($0) } ?? .null
        }
        return config
    }

    /// PEFT's task type for a model class of transformers.
    ///
    /// ForConditionalGeneration is T5 and its kin, but also a decoder that sees images.
    private static func taskType(_ architecture: String, hasDecoder: Bool) -> String? {
        let types = [
            ("ForCausalLM", "CAUSAL_LM"), ("LMHeadModel", "CAUSAL_LM"),
            ("ForConditionalGeneration", hasDecoder ? "SEQ_2_SEQ_LM" : "CAUSAL_LM"),
            ("ForSequenceClassification", "SEQ_CLS"), ("ForTokenClassification", "TOKEN_CLS"),
            ("ForQuestionAnswering", "QUESTION_ANS"),
        ]
        return types.first { architecture.hasSuffix($0.0) }?.1
    }
}
