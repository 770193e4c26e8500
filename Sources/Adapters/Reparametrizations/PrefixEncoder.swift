import ByteAccess

/// P-tuning v2 and ChatGLM: `prefix_encoder`, alone or inside a whole model, with or without the projection.
///
///     P = tanh(E W0ᵀ + b0) W2ᵀ + b2        (pre_seq_len, layers·2·hidden); without `trans` P is the embedding itself
///
/// | key below `[transformer.]prefix_encoder` | shape |
/// |---|---|
/// | `embedding.weight` | (pre_seq_len, hidden); ChatGLM2: (pre_seq_len, out) |
/// | `trans.0.weight`, `.bias` | (mid, in), (mid): mid is prefix_hidden_size, for ChatGLM the hidden size |
/// | `trans.2.weight`, `.bias` | (out, mid), (out) |
/// | `weight` alone: Prompt-Tuning | (pre_seq_len, hidden), in front of the input |
///
/// out is layers·2·hidden, with ChatGLM2's grouped heads layers·2·kv_channels·multi_query_group_num. Slots lie as in
/// ``PrefixMLP``. Source: THUDM/P-tuning-v2 model/prefix_encoder.py; `PrefixEncoder` in ChatGLM's modeling_chatglm.py;
/// X. Liu et al., arXiv:2110.07602.
struct PrefixEncoder: PromptForm {
    let name = "P-tuning v2 prefix encoder"
    let dialect = "p-tuning-v2"

    func place(_ parts: [String]) -> PromptPlace? {
        guard let start = parts.lastIndex(of: "prefix_encoder"), start + 1 < parts.count else { return nil }
        return PromptPlace(parts, after: start + 1)
    }

    func recognises(_ group: PromptGroup) -> Bool { true }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        if group.leaves == ["weight"] { return try inputPrompt(group, config) }
        let embedding = try group.required("embedding.weight")
        try embedding.requireNumbers(rank: 2)
        try embedding.requireClaim("pre_seq_len", of: config, axis: 0)
        let steps = [0, 2]
        let isProjected = group.has("trans.")
        try group.requireOnly(
            Set((isProjected ? PromptLayer.leaves(under: "trans", steps: steps) : []) + ["embedding.weight"]))
        let layers = isProjected
            ? try PromptLayer.sequence(of: group, under: "trans", steps: steps, from: embedding, width: embedding.shape[1])
            : []
        if let config, config["prefix_projection"] != nil, try config.flag("prefix_projection") != isProjected {
            if !isProjected { _ = try group.required("trans.0.weight") }
            throw PeftfileError(
                .refused, "of shape \(embedding.shape) goes through trans, and the config says prefix_projection = false",
                file: config.path, tensor: embedding.stored, rule: "ConfigContradiction",
                help: "the config belongs to another adapter; correct it")
        }
        let last = isProjected ? try group.required("trans.2.weight") : embedding
        if isProjected {
            try group.required("trans.0.weight").requireClaim("prefix_hidden_size", of: config, axis: 0)
        }
        try requireWidth(last, axis: isProjected ? 0 : 1, config)
        let (tokens, width) = (embedding.shape[0], last.shape[isProjected ? 0 : 1])
        return PromptModule(
            form: name, kind: .prefix, isPEFT: false, group: group,
            formula: isProjected
                ? .perceptron(
                    PromptPerceptron(embedding: embedding.stored, tokens: tokens, layers: layers, activation: .tanh))
                : .stored(embedding.stored),
            embedding: embedding, tokens: tokens, elements: try PromptModule.elements(tokens, width, last),
            sourceName: "embedding.weight", config: config)
    }

    /// P-tuning v2's own Prompt-Tuning: `prefix_encoder` is the embedding itself, in front of the input.
    private func inputPrompt(_ group: PromptGroup, _ config: AdapterConfig?) throws -> PromptModule {
        let embedding = try group.required("weight")
        try embedding.requireNumbers(rank: 2)
        try embedding.requireClaim("pre_seq_len", of: config, axis: 0)
        try embedding.requireClaim("hidden_size", of: config, axis: 1)
        return PromptModule(
            form: "P-tuning v2 prompt", kind: .prompt, isPEFT: false, group: group, formula: .stored(embedding.stored),
            embedding: embedding, tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], embedding.shape[1], embedding), sourceName: "weight",
            config: config)
    }

    /// The width must be layers·2·(width of one slot), where the config gives both.
    private func requireWidth(_ last: PromptTensor, axis: Int, _ config: AdapterConfig?) throws {
        guard let facts = try PromptFacts(of: config), let layers = facts.layers, let width = facts.tokenWidth else { return }
        let slots = layers.multipliedReportingOverflow(by: 2)
        let wanted = slots.partialValue.multipliedReportingOverflow(by: width)
        guard slots.overflow || wanted.overflow || last.shape[axis] != wanted.partialValue else { return }
        var claimed = last.shape
        claimed[axis] = slots.overflow || wanted.overflow ? .max : wanted.partialValue
        throw PeftfileError(
            .refused, "has shape \(last.shape), and \(layers) layers of width \(width) in the config ask for \(claimed)",
            file: config?.path, tensor: last.stored, rule: "ConfigContradiction",
            help: "the config belongs to another adapter; correct it")
    }
}
