import ByteAccess

/// OpenDelta's reparametrized prefix: one `reparams` module in the first attention module that was changed.
///
///     P = tanh(E W0ᵀ + b0) W2ᵀ + b2        (prefix_token_num, modules·2·hidden)
///
/// | key below `<first attention>.reparams` | shape |
/// |---|---|
/// | `wte.weight` | (prefix_token_num, embed_dim) |
/// | `control_trans.0.weight`, `.bias` | (mid_dim, embed_dim), (mid_dim) |
/// | `control_trans.2.weight`, `.bias` | (modules·2·hidden, mid_dim), (modules·2·hidden) |
/// | `input_tokens` | (prefix_token_num): 0, 1, 2 …, which falls away |
///
/// Module m's keys are at 2m, its values at 2m + 1. Without the reparametrization OpenDelta has `past_key` and
/// `past_value` in each attention module, under names that this file does not hold. Source: `ReparameterizeFunction` in
/// opendelta/delta_models/prefix.py.
struct OpenDeltaPrefix: PromptForm {
    let name = "OpenDelta prefix"
    let dialect = "opendelta"

    func place(_ parts: [String]) -> PromptPlace? {
        guard let start = parts.lastIndex(of: "reparams"), start + 1 < parts.count else { return nil }
        return PromptPlace(parts, after: start + 1)
    }

    func recognises(_ group: PromptGroup) -> Bool { group.has("control_trans") || group.has("wte") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        var own = PromptGroup(root: group.root, variant: group.variant)
        for leaf in group.leaves where leaf != "input_tokens" {
            if let tensor = group.tensors[leaf] { try own.add(tensor, as: leaf) }
        }
        _ = try own.required("wte.weight")
        var module = try ControlTransform.module(
            of: own, form: name, activation: .tanh, tokensKey: "prefix_token_num", middleKey: "mid_dim", config: config)
        if let tokens = group.tensors["input_tokens"] { module.tensors.append(tokens.stored) }
        module.noSourceLayout = "OpenDelta keeps it as past_key and past_value of each attention module, whose names the file does not hold"
        return module
    }
}
