import ByteAccess

/// Methods whose effect no weight of the base can hold, each with the mathematical reason: they are recognised and
/// refused by name.
///
/// Sources: the classes of these names in peft/tuners and peft/utils/peft_types.py.
struct UnmergeableMethod: AdapterMethod {
    let peftTypes: [String]
    /// Completes "… cannot be merged: ".
    let reason: String
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] { [] }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        key.isPrompt || key.component != nil || SavedParameters.claims(key, of: adapter, hasBiases: false)
    }

    func remarks(on adapter: Adapter) -> [String] { ["\(adapter.path): \(sentence(adapter))"] }

    private func sentence(_ adapter: Adapter) -> String {
        "\(adapter.config?.peftType ?? "a prefix or prompt") cannot be merged: \(reason)"
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        throw PeftfileError(
            .refused, sentence(adapter), file: adapter.path,
            rule: "NotMergeable", help: "serve it unmerged")
    }

    /// Trained vectors that are put before the input or into the attention cache.
    static let softPrompts = UnmergeableMethod(
        peftTypes: SoftPrompt.allCases.map(\.peftType),
        reason: "it adds virtual tokens to the input or the attention cache, and no weight of the base changes")

    /// LLaMA-Adapter (arXiv:2303.16199).
    static let adaptionPrompt = UnmergeableMethod(
        peftTypes: ["ADAPTION_PROMPT"],
        reason: "it adds gated attention over trained prompt tokens, which depends on each query")

    /// Polytropon (arXiv:2202.13914).
    static let poly = UnmergeableMethod(
        peftTypes: ["POLY"], reason: "a router mixes its skills for each task, so there is one weight for every task")

    /// X-LoRA (arXiv:2402.07148).
    static let xLoRA = UnmergeableMethod(
        peftTypes: ["XLORA"], reason: "a gate mixes LoRA experts for each token, so no single weight stands for it")

    /// Lily (arXiv:2407.09946).
    static let lily = UnmergeableMethod(
        peftTypes: ["LILY"], reason: "a router mixes its shared factors by the input, so no single weight stands for it")

    /// ShadowPEFT: a small model runs beside the base and corrects each layer's input.
    static let shadow = UnmergeableMethod(
        peftTypes: ["SHADOW"],
        reason: "a second model runs beside the base, and what it adds to a layer's input depends on that input")
}

/// Methods that have a merged form and whose arithmetic this version does not have: refused by name.
struct UnbuiltMethod: AdapterMethod {
    let peftTypes: [String]
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] { [] }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        key.component != nil || SavedParameters.claims(key, of: adapter, hasBiases: true)
    }

    func remarks(on adapter: Adapter) -> [String] { ["\(adapter.path): \(sentence(adapter))"] }

    private func sentence(_ adapter: Adapter) -> String {
        "\(adapter.config?.peftType ?? "this method") is not merged by this version of peftfile"
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        throw PeftfileError(
            .unsupported, sentence(adapter),
            file: adapter.path, rule: "MethodUnsupported", help: "merge it with PEFT's merge_and_unload")
    }
}
