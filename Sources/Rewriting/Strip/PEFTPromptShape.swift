import Adapters
import ByteAccess

/// The numbers that PEFT's config needs of a prompt: tokens, width, and for a prefix layers, slot width and heads.
///
/// A number comes from the options, else from the base's config, else from the source's; layers and slot width also
/// follow from each other, since a prefix is layers·2·width wide.
struct PEFTPromptShape {
    let tokens: Int
    /// Width of a row of the tensor.
    let width: Int
    /// Nil for prompts that are input embeddings where nothing tells.
    let layers: Int?
    /// PEFT's `token_dim`.
    let tokenWidth: Int
    /// PEFT's `num_attention_heads`; for a prefix those of keys and values.
    let heads: Int?
    /// What nothing tells for certain and was taken to be so.
    private(set) var assumption: String?

    init(_ module: PromptModule, _ options: StripOptions) throws {
        guard let tokens = module.tokens ?? options.tokens else {
            throw PeftfileError(
                .refused, "is flat, and nothing tells how many virtual tokens its \(module.elements) numbers are",
                tensor: module.sourceName, rule: "OptionMissing", help: "give --num-virtual-tokens")
        }
        guard module.elements % tokens == 0, module.tokens == nil || options.tokens == nil || options.tokens == tokens else {
            throw PeftfileError(
                .refused, "has \(module.elements) numbers\(module.tokens.map { " in \($0) rows" } ?? ""), and "
                    + "--num-virtual-tokens says \(options.tokens ?? tokens)", tensor: module.sourceName, rule: "PrefixWidth",
                help: "leave --num-virtual-tokens out")
        }
        self.tokens = tokens
        width = module.elements / tokens
        let base = try PromptFacts(of: options.base?.config)
        let own = try PromptFacts(of: module.config)
        let stated = options.stated
        guard module.kind.isKeyValue else {
            // The tensor itself tells; only what else is said of it is compared.
            if let wanted = stated.tokenWidth ?? base?.hidden, wanted != width {
                throw PEFTPromptShape.misfit(module, tokens, width, wanted, base?.hidden == nil ? "--token-dim" : "the base")
            }
            tokenWidth = width
            layers = stated.layers ?? base?.layers ?? own?.layers
            heads = stated.heads ?? base?.heads ?? own?.heads
            return
        }
        let knownLayers = stated.layers ?? base?.layers ?? own?.layers
        // AdapterHub's config has the embedding's width, from which that of T5's keys may differ: other numbers come first.
        let isGuess = module.hiddenIsEmbedding && stated.tokenWidth == nil && base?.tokenWidth == nil
        let ownWidth = isGuess && knownLayers != nil ? nil : own?.tokenWidth
        let knownWidth = stated.tokenWidth ?? base?.tokenWidth ?? ownWidth ?? module.slots?.width
        let slots = width / 2
        guard knownLayers != nil || knownWidth != nil else {
            throw PEFTPromptShape.missing("--num-layers", "how many layers the prefix of \(width) numbers a token is for", module)
        }
        let layers = knownLayers ?? slots / (knownWidth ?? 1)
        let tokenWidth = knownWidth ?? slots / layers
        let (product, overflow) = layers.multipliedReportingOverflow(by: tokenWidth)
        guard !overflow, width % 2 == 0, product == slots else {
            let who = base != nil && stated.layers == nil && stated.tokenWidth == nil ? "the base" : "the options and the config"
            throw PEFTPromptShape.misfit(
                module, tokens, width, overflow ? .max : product &* 2, who,
                detail: "\(layers) layers with keys and values of width \(tokenWidth)"
                    + (base?.heads.map { " (\($0) key/value heads of \(tokenWidth / $0))" } ?? ""))
        }
        if isGuess, knownLayers == nil {
            assumption = "num_layers is \(layers) if keys and values are as wide as the hidden size, \(tokenWidth); --num-layers or "
                + "--base makes it certain"
        }
        try PEFTPromptShape.requireSameHeads(module, own: own, base: base, stated: stated)
        guard let heads = stated.heads ?? base?.heads ?? own?.heads else {
            throw PEFTPromptShape.missing("--num-heads", "how many key/value heads share the width \(tokenWidth)", module)
        }
        guard tokenWidth % heads == 0 else {
            throw PeftfileError(
                .refused, "keys and values are \(tokenWidth) wide, which \(heads) heads do not divide",
                tensor: module.sourceName, rule: "PrefixWidth", help: "give the number of key/value heads with --num-heads")
        }
        self.layers = layers
        self.tokenWidth = tokenWidth
        self.heads = heads
    }

    /// PEFT's config has the key/value heads that the prefix was trained for; a base with others is another one.
    private static func requireSameHeads(
        _ module: PromptModule, own: PromptFacts?, base: PromptFacts?, stated: PromptFacts
    ) throws {
        guard module.isPEFT, stated.heads == nil, let trained = own?.heads, let heads = base?.heads, heads != trained else { return }
        throw PeftfileError(
            .refused, "was trained for \(trained) key/value heads (num_attention_heads), and the base has \(heads)",
            tensor: module.sourceName, rule: "PrefixWidth",
            help: "give the base that it was trained for, or the right number with --num-heads")
    }

    private static func missing(_ option: String, _ what: String, _ module: PromptModule) -> PeftfileError {
        PeftfileError(
            .refused, "does not tell \(what)", tensor: module.sourceName, rule: "OptionMissing",
            help: "give \(option), or the base model's directory with --base; --layout source needs neither")
    }

    private static func misfit(
        _ module: PromptModule, _ tokens: Int, _ width: Int, _ wanted: Int, _ who: String, detail: String? = nil
    ) -> PeftfileError {
        PeftfileError(
            .refused, "makes a prompt of shape \([tokens, width]), and by \(who) it is \([tokens, wanted])"
                + (detail.map { ": \($0)" } ?? ""),
            tensor: module.sourceName, rule: "PrefixWidth",
            help: who == "the base" ? "it was trained for another base; give that one" : "correct the option")
    }
}
