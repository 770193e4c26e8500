/// The prompt-learning methods, by what their trained numbers are.
public enum SoftPrompt: String, Sendable, Hashable, CaseIterable {
    /// Keys and values in every layer's attention cache.
    case prefix = "PREFIX_TUNING"
    /// Virtual tokens before the input.
    case prompt = "PROMPT_TUNING"
    /// Virtual tokens that an encoder produces.
    case encoder = "P_TUNING"
    /// Virtual tokens with a factor for each task.
    case tasks = "MULTITASK_PROMPT_TUNING"
    /// Virtual tokens with a learnt change of given context (context-aware prompt tuning).
    case context = "CPT"
    /// Keys and values distilled from a document.
    case cartridge = "CARTRIDGE"

    /// The method that a config's `peft_type` names, spelt as PEFT spells it; nil for any other value.
    public init?(peftType: String) { self.init(rawValue: peftType) }

    /// The value of `peft_type`.
    public var peftType: String { rawValue }

    /// Whether a row holds key and value slots of all layers, and not one input embedding.
    public var isKeyValue: Bool { self == .prefix || self == .cartridge }
}
