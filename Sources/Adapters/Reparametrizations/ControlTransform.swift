import ByteAccess

/// The code that came with the Prefix-Tuning paper: `wte` through `control_trans`, with copies for an encoder
/// (`wte_enc`, `control_trans_enc`) and for cross attention (`wte2`, `control_trans2`).
///
///     P = tanh(E W0ᵀ + b0) W2ᵀ + b2        deep variant: a third layer, control_trans.4, after another tanh
///
/// | key | shape |
/// |---|---|
/// | `wte.weight` | (preseqlen, n_embd) |
/// | `control_trans.0.weight`, `.bias` | (mid_dim, n_embd), (mid_dim) |
/// | deep: `control_trans.2.weight`, `.bias` | (mid_dim, mid_dim), (mid_dim) |
/// | last: `control_trans.2` or `.4`, `.weight`, `.bias` | (layers·2·n_embd, mid_dim), (layers·2·n_embd) |
/// | stripped: `control_trans` | (preseqlen·layers·2·n_embd), tokens outermost |
///
/// Slots lie as in ``PrefixMLP``. Source: XiangLi1999/PrefixTuning gpt2/train_control.py and seq2seq/prefixTuning.py
/// (`get_prompt_p5`, `get_prompt_p2`).
struct ControlTransform: PromptForm {
    let name = "PrefixTuning control_trans"
    let dialect = "prefixtuning"

    func place(_ parts: [String]) -> PromptPlace? {
        guard !parts.contains("prefix_tunings"), !parts.contains("reparams") else { return nil }
        for variant in ["", "_enc", "2"] {
            if let place = ControlTransform.place(parts, variant: variant) { return place }
        }
        return nil
    }

    func recognises(_ group: PromptGroup) -> Bool { group.has("control_trans") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        try ControlTransform.module(
            of: group, form: name + group.variant, activation: .tanh, tokensKey: "preseqlen", middleKey: "mid_dim", config: config)
    }

    /// Marks prefixes with a second embedding beside them, `wte2` without a network: the model itself makes keys and values from
    /// the text and these tokens, and adds them to the prefix (`get_prompt_p5_infix`).
    static func markingInfixes(_ modules: [PromptModule], among others: Set<ExactString>) -> [PromptModule] {
        modules.map { module in
            let name = module.root.isEmpty ? "wte2.weight" : "\(module.root).wte2.weight"
            guard module.dialect == "prefixtuning", module.variant.isEmpty, others.contains(ExactString(name)) else { return module }
            var module = module
            module.noPEFTLayout = "the prefix is one half of an infix, \(name.printable) the other: keys and values that depend on "
                + "the text are added, which PEFT does not do"
            return module
        }
    }

    /// `wte<variant>.weight` or `control_trans<variant>[.…]` as the end of a name, the variant taken out of it.
    static func place(_ parts: [String], variant: String) -> PromptPlace? {
        let (embedding, transform) = ("wte\(variant)", "control_trans\(variant)")
        guard let start = parts.lastIndex(where: { $0 == embedding || $0 == transform }) else { return nil }
        var plain = parts
        plain[start] = parts[start] == embedding ? "wte" : "control_trans"
        return PromptPlace(plain, after: start, variant: variant)
    }

    /// The prompt of `wte` and `control_trans`, or of the flat `control_trans` that is left when it is stripped.
    static func module(
        of group: PromptGroup, form: String, activation: PromptActivation, tokensKey: ExactString, middleKey: ExactString,
        config: AdapterConfig?
    ) throws -> PromptModule {
        let stripped = "control_trans\(group.variant)"
        if let flat = group.tensors["control_trans"] {
            try flat.requireNumbers(rank: 1)
            try group.requireOnly(["control_trans"])
            let tokens = try config?.count(tokensKey)
            if let tokens, flat.shape[0] % tokens != 0 {
                throw PeftfileError(
                    .refused, "has shape \(flat.shape), and \(tokensKey) = \(tokens) in the config does not divide it",
                    file: config?.path, tensor: flat.stored, rule: "ConfigContradiction",
                    help: "the config belongs to another adapter; correct it")
            }
            return PromptModule(
                form: form, kind: .prefix, isPEFT: false, group: group, formula: .stored(flat.stored), embedding: flat,
                tokens: tokens, elements: try PromptModule.elements(1, flat.shape[0], flat), sourceName: stripped,
                flat: true, config: config)
        }
        let steps = group.has("control_trans.4.") ? [0, 2, 4] : [0, 2]
        let embedding = try group.required("wte.weight")
        try embedding.requireNumbers(rank: 2)
        let layers = try PromptLayer.sequence(
            of: group, under: "control_trans", steps: steps, from: embedding, width: embedding.shape[1])
        try group.requireOnly(Set(PromptLayer.leaves(under: "control_trans", steps: steps) + ["wte.weight"]))
        try embedding.requireClaim(tokensKey, of: config, axis: 0)
        let first = try group.required("control_trans.0.weight")
        let last = try group.required("control_trans.\(steps[steps.count - 1]).weight")
        try first.requireClaim(middleKey, of: config, axis: 0)
        let (tokens, width) = (embedding.shape[0], last.shape[0])
        try last.requireSlots("n_embd", of: config, layers: "match_n_layer", axis: 0)
        return PromptModule(
            form: form, kind: .prefix, isPEFT: false, group: group,
            formula: .perceptron(
                PromptPerceptron(embedding: embedding.stored, tokens: tokens, layers: layers, activation: activation)),
            embedding: embedding, tokens: tokens, elements: try PromptModule.elements(tokens, width, last),
            sourceName: stripped, flat: true, config: config)
    }
}
