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
/// Module m's keys are at 2m, its values at 2m + 1. Without the reparametrization they are the tensors of ``OpenDeltaSlots``,
/// one pair in each attention module; ``PromptSlots`` tells their names. Source: `ReparameterizeFunction` in
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
        let embedding = try own.required("wte.weight")
        try embedding.requireNumbers(rank: 2)
        try embedding.requireClaim("embed_dim", of: config, axis: 1)
        var module = try ControlTransform.module(
            of: own, form: name, activation: .tanh, tokensKey: "prefix_token_num", middleKey: "mid_dim", config: config)
        if let tokens = group.tensors["input_tokens"] { module.tensors.append(tokens.stored) }
        module.slots = PromptSlots(
            first: group.root.dottedComponents.dropLast().map { String($0) }, modified: try config?.strings("modified_modules") ?? [])
        return module
    }
}

/// OpenDelta's prefix without a reparametrization: a pair of tensors in each attention module.
///
/// | key | shape |
/// |---|---|
/// | `<attention>.prefix.past_key`, `.past_value` | (prefix_token_num, hidden) |
///
/// Modules come in the order of the numbers in their paths. Source: `PrefixLayerBert` and its kin in
/// opendelta/delta_models/prefix.py, where `instantiate` makes the two and `update_module` names the module.
struct OpenDeltaSlots: PromptForm {
    let name = "OpenDelta prefix"
    let dialect = "opendelta"

    func place(_ parts: [String]) -> PromptPlace? {
        guard parts.count > 2, parts[parts.count - 2] == "prefix", ["past_key", "past_value"].contains(parts[parts.count - 1])
        else { return nil }
        return PromptPlace(parts, after: 0)
    }

    func recognises(_ group: PromptGroup) -> Bool { true }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        var paths: [[String]] = []
        for leaf in group.leaves {
            let path = leaf.dottedComponents.dropLast().map { String($0) }
            if !paths.contains(path) { paths.append(path) }
        }
        paths.sort(by: OpenDeltaSlots.precedes)
        var slots: [PromptTensor] = []
        for path in paths {
            for name in ["past_key", "past_value"] { slots.append(try group.required((path + [name]).joined(separator: "."))) }
        }
        let first = slots[0]
        for slot in slots {
            try slot.requireNumbers(rank: 2)
            try slot.requireShape(first.shape, dueTo: first)
            try slot.requireClaim("prefix_token_num", of: config, axis: 0)
        }
        let (tokens, width) = (first.shape[0], first.shape[1])
        let (whole, overflow) = width.multipliedReportingOverflow(by: slots.count)
        var module = PromptModule(
            form: name, kind: .prefix, isPEFT: false, group: group,
            formula: .slots(slots.map(\.stored), tokens: tokens, width: width), embedding: first, tokens: tokens,
            elements: try PromptModule.elements(tokens, overflow ? .max : whole, first), sourceName: first.clean.text,
            config: config)
        module.slots = PromptSlots(names: slots.map { $0.clean }, width: width)
        if Set(paths.map { $0.filter { Int($0) == nil } }).count > 1 {
            module.noPEFTLayout = "it has keys and values for several kinds of attention, which PEFT does not tell apart"
        }
        return module
    }

    /// By the numbers where two paths differ in one, else by the text.
    private static func precedes(_ left: [String], _ right: [String]) -> Bool {
        for (a, b) in zip(left, right) where a != b {
            if let a = Int(a), let b = Int(b) { return a < b }
            return a < b
        }
        return left.count < right.count
    }
}
