import ByteAccess

/// Prefix-Tuning in a PeftModel's training state: a small embedding through Linear, tanh, Linear.
///
///     P = tanh(E W0ᵀ + b0) W2ᵀ + b2        (tokens, layers·2·token_dim)
///
/// | key below `prompt_encoder.<adapter>` | shape |
/// |---|---|
/// | `embedding.weight` | (tokens, token_dim) |
/// | `transform.0.weight`, `.bias` | (encoder_hidden_size, token_dim), (encoder_hidden_size) |
/// | `transform.2.weight`, `.bias` | (layers·2·token_dim, encoder_hidden_size), (layers·2·token_dim) |
///
/// Row t of P, read as (layers·2, heads, head_dim), holds the key of layer l at 2l and its value at 2l + 1.
/// Source: `PrefixEncoder` in peft/tuners/prefix_tuning/model.py, `get_prompt` in peft/peft_model.py; X. Li and P. Liang,
/// arXiv:2101.00190.
struct PrefixMLP: PromptForm {
    let name = "PEFT prefix MLP"

    func place(_ parts: [String]) -> PromptPlace? { PEFTPromptNames.place(parts) }
    func recognises(_ group: PromptGroup) -> Bool { group.has("transform.") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let steps = [0, 2]
        let embedding = try group.required("embedding.weight")
        try embedding.requireNumbers(rank: 2)
        let layers = try PromptLayer.sequence(
            of: group, under: "transform", steps: steps, from: embedding, width: embedding.shape[1])
        try group.requireOnly(Set(PromptLayer.leaves(under: "transform", steps: steps) + ["embedding.weight"]))
        let section = PEFTPromptNames.section(config)
        try PEFTPromptNames.require(.prefix, of: section, embedding)
        if let section, section["prefix_projection"] != nil, try section.flag("prefix_projection") == false {
            throw PeftfileError(
                .refused, "of shape \(embedding.shape) goes through transform, and the config says prefix_projection = false",
                file: section.path, tensor: embedding.stored, rule: "ConfigContradiction",
                help: "the config belongs to another adapter; correct it")
        }
        let projection = try group.required("transform.2.weight")
        try embedding.requireClaim("num_virtual_tokens", of: section, axis: 0)
        try embedding.requireClaim("token_dim", of: section, axis: 1)
        try projection.requireClaim("encoder_hidden_size", of: section, axis: 1)
        try projection.requireSlots("token_dim", of: section, layers: "num_layers", axis: 0)
        let (tokens, width) = (embedding.shape[0], projection.shape[0])
        return PromptModule(
            form: name, kind: .prefix, isPEFT: true, group: group,
            formula: .perceptron(
                PromptPerceptron(embedding: embedding.stored, tokens: tokens, layers: layers, activation: .tanh)),
            embedding: embedding, tokens: tokens, elements: try PromptModule.elements(tokens, width, projection),
            sourceName: "embedding.weight", config: section)
    }
}

/// What PEFT's prompt encoders have in common: `prompt_encoder.<adapter>.…` in a PeftModel's state dict.
enum PEFTPromptNames {
    /// Names of the encoders' own parts; P-tuning v1 has them without an adapter's name before them.
    static let parts: Set<String> = [
        "embedding", "transform", "lstm_head", "mlp_head", "prefix_task_cols", "prefix_task_rows",
    ]

    static func place(_ names: [String]) -> PromptPlace? {
        guard let start = names.firstIndex(of: "prompt_encoder"), start + 2 < names.count,
            !parts.contains(names[start + 1])
        else { return nil }
        return PromptPlace(names, after: start + 2)
    }

    /// The config, where it is PEFT's.
    static func section(_ config: AdapterConfig?) -> AdapterConfig? { config?.peftType == nil ? nil : config }

    /// Refuses a config of another method than the tensors are of.
    static func require(_ kind: SoftPrompt, of config: AdapterConfig?, _ tensor: PromptTensor) throws {
        guard let config, let type = config.peftType, SoftPrompt(peftType: type) != kind else { return }
        throw PeftfileError(
            .refused, "of shape \(tensor.shape) belongs to \(kind.peftType), and the config says \(type.printable)",
            file: config.path, tensor: tensor.stored, rule: "ConfigContradiction",
            help: "the config belongs to another adapter; correct it")
    }

    /// Rows of an input prompt are num_virtual_tokens · num_transformer_submodules (2 for an encoder and a decoder).
    static func requireInputTokens(_ tensor: PromptTensor, _ config: AdapterConfig?) throws {
        guard let config, let tokens = try config.count("num_virtual_tokens") else { return }
        let submodules = try config.count("num_transformer_submodules")
        let isWhole = tensor.shape[0] % tokens == 0
        guard let submodules else {
            if isWhole { return }
            return try tensor.requireClaim("num_virtual_tokens", of: config, axis: 0)
        }
        try tensor.requireClaim("num_virtual_tokens", of: config, axis: 0, factor: submodules)
    }
}
