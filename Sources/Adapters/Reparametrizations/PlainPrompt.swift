import ByteAccess

/// A PeftModel's training state without a reparametrization: `prompt_encoder.<adapter>.embedding.weight` is the prompt,
/// and only its name differs from what PEFT saves.
///
/// That is Prefix-Tuning with `prefix_projection: false`, (tokens, layers·2·token_dim), and Prompt-Tuning, (tokens,
/// token_dim). Source: `PrefixEncoder` and `PromptEmbedding` in peft/tuners.
struct PlainPrompt: PromptForm {
    let name = "PEFT training state"

    func place(_ parts: [String]) -> PromptPlace? { PEFTPromptNames.place(parts) }

    func recognises(_ group: PromptGroup) -> Bool {
        !["transform.", "mlp_head.", "lstm_head.", "prefix_task_"].contains(where: group.has)
    }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let embedding = try group.required("embedding.weight")
        try embedding.requireNumbers(rank: 2)
        try group.requireOnly(["embedding.weight"])
        let section = PEFTPromptNames.section(config)
        guard let section, let kind = section.peftType.flatMap(SoftPrompt.init(peftType:)) else {
            throw PeftfileError(
                .refused, "of shape \(embedding.shape) is a prefix or a prompt; without a config that names the method the two look alike",
                tensor: embedding.stored, rule: "PromptTypeMissing", help: "put PEFT's adapter_config.json beside the file")
        }
        try SavedPrompt.check(embedding, kind, section)
        // In inference mode PEFT keeps the encoder's output here; in training mode the encoder belongs to it.
        let isInference = try section.flag("inference_mode")
        if kind == .encoder, !isInference {
            let type = section["encoder_reparameterization_type"]?.stringValue
            _ = try group.required(type == "LSTM" ? "lstm_head.weight_ih_l0" : "mlp_head.0.weight")
        }
        if kind == .tasks { _ = try group.required("prefix_task_cols") }
        // With num_layers and token_dim the width has told that this is the whole prefix, and no network's input.
        if kind == .prefix, !isInference, section["prefix_projection"] != nil, try section.flag("prefix_projection"),
            try section.count("num_layers") == nil || section.count("token_dim") == nil
        {
            _ = try group.required("transform.0.weight")
        }
        return PromptModule(
            form: name, kind: kind, isPEFT: true, group: group, formula: .stored(embedding.stored), embedding: embedding,
            tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], embedding.shape[1], embedding),
            sourceName: "embedding.weight", config: section)
    }
}

/// The prompt as PEFT saves it: `prompt_embeddings`, for every method; multitask prompt tuning adds its factors.
///
/// Source: `get_peft_model_state_dict` in peft/utils/save_and_load.py.
struct SavedPrompt: PromptForm {
    let name = "PEFT prompt"

    func place(_ parts: [String]) -> PromptPlace? {
        guard parts.count == 1, ["prompt_embeddings", "prefix_task_cols", "prefix_task_rows"].contains(parts[0]) else {
            return nil
        }
        return PromptPlace(parts, after: 0)
    }

    func recognises(_ group: PromptGroup) -> Bool { group.has("prompt_embeddings") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        if group.has("prefix_task_") {
            return try MultitaskPrompt.module(of: group, embedding: "prompt_embeddings", form: name, config: config)
        }
        let embedding = try group.required("prompt_embeddings")
        try embedding.requireNumbers(rank: 2)
        let section = PEFTPromptNames.section(config)
        let kind = section?.peftType.flatMap(SoftPrompt.init(peftType:))
        if let section, let type = section.peftType {
            guard let kind else {
                throw PeftfileError(
                    .refused, "of shape \(embedding.shape) belongs to a prompt-learning method, and the config says "
                        + "\(type.printable)", file: section.path, tensor: embedding.stored, rule: "ConfigContradiction",
                    help: "the config belongs to another adapter; correct it")
            }
            try SavedPrompt.check(embedding, kind, section)
        }
        return PromptModule(
            form: name, kind: kind ?? .prompt, isPEFT: true, group: group, formula: .stored(embedding.stored),
            embedding: embedding, tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], embedding.shape[1], embedding),
            sourceName: "prompt_embeddings", config: section)
    }

    /// Holds a plain prompt against what the config says of its shape.
    static func check(_ embedding: PromptTensor, _ kind: SoftPrompt, _ config: AdapterConfig) throws {
        guard kind.isKeyValue else {
            try PEFTPromptNames.requireInputTokens(embedding, config)
            try embedding.requireClaim("token_dim", of: config, axis: 1)
            return
        }
        try embedding.requireClaim("num_virtual_tokens", of: config, axis: 0)
        try embedding.requireSlots("token_dim", of: config, layers: "num_layers", axis: 1)
    }
}
