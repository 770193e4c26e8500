import Adapters
import ByteAccess

/// `adapter_config.json` of a stripped prompt.
enum PEFTPromptConfig {
    /// The config that `PeftModel.from_pretrained` needs: PEFT's own with what stripping changes, or a new one.
    static func object(
        _ module: PromptModule, _ shape: PEFTPromptShape, _ options: StripOptions, warnings: inout [String]
    ) throws -> JSONObject {
        let isOwn = module.isPEFT && module.config != nil
        var config = isOwn ? module.config?.json ?? JSONObject() : fresh(module, options)
        let kind = options.task == nil ? module.kind : .prompt
        config["peft_type"] = .string(kind.peftType)
        config["inference_mode"] = true
        // PEFT's own save leaves this true; then the adapter cannot be trained further and get_prompt depends on the mode.
        if kind == .prefix { config["prefix_projection"] = false }
        let submodules = try submodules(module, config, shape)
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
        if let type = options.taskType { config["task_type"] = .string(type) }
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

    /// An encoder-decoder's input prompt has the tokens of both, one after the other.
    private static func submodules(_ module: PromptModule, _ config: JSONObject, _ shape: PEFTPromptShape) throws -> Int {
        if let stated = config["num_transformer_submodules"]?.intValue, stated > 0 { return stated }
        guard let tokens = config["num_virtual_tokens"]?.intValue, tokens > 0, shape.tokens % tokens == 0,
            !module.kind.isKeyValue
        else { return 1 }
        return shape.tokens / tokens
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
        if let architecture = options.base?.config?["architectures"]?.arrayValue?.first?.stringValue {
            config["task_type"] = taskType(architecture).map { .string($0) } ?? .null
        }
        return config
    }

    /// PEFT's task type for a model class of transformers.
    private static func taskType(_ architecture: String) -> String? {
        let types = [
            ("ForCausalLM", "CAUSAL_LM"), ("LMHeadModel", "CAUSAL_LM"), ("ForConditionalGeneration", "SEQ_2_SEQ_LM"),
            ("ForSequenceClassification", "SEQ_CLS"), ("ForTokenClassification", "TOKEN_CLS"),
            ("ForQuestionAnswering", "QUESTION_ANS"),
        ]
        return types.first { architecture.hasSuffix($0.0) }?.1
    }
}
