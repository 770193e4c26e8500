import ByteAccess
import Checkpoints

/// The methods that the house knows, one line each.
public enum MethodRegistry {
    /// All methods with a `peft_type`.
    public static let methods: [any AdapterMethod] = [
        LoRA(),
        TrainableTokens(),
        AdaLoRA(),
        LoHa(),
        LoKr(),
        IA3(),
        OFT(),
        BOFT(),
        HRA(),
        LNTuning(),
        MiSS(),
        SHiRA(),
        C3A(),
        HiRA(),
        DeLoRA(),
        GraLoRA(),
        BEFT(),
        Supertuning(),
        VeRA(),
        PVeRA(),
        VBLoRA(),
        RandLoRA(),
        FourierFT(),
        WaveFT(),
        UniLoRA(),
        TinyLoRA(),
        RoAd(),
        GLoRA(),
        OSF(),
        PEANuT(),
        DEFT(),
        FRoD(),
        Poly(),
        AdaMSS(),
        UnmergeableMethod.softPrompts,
        UnmergeableMethod.adaptionPrompt,
        UnmergeableMethod.xLoRA,
        UnmergeableMethod.lily,
        UnmergeableMethod.shadow,
        UnmergeableMethod.psoft,
    ]

    /// The method that a `peft_type` names, or nil.
    public static func method(named peftType: String) -> (any AdapterMethod)? {
        methods.first { $0.peftTypes.contains(peftType) }
    }

    /// The tensors that methods have at their modules, by the names that their keys end in.
    static let components: Set<String> = methods.reduce(into: []) { components, method in
        if let method = method as? any ModuleMethod { components.formUnion(method.components) }
    }

    /// Every `peft_type` that a method has, sorted.
    public static let knownTypes = methods.flatMap(\.peftTypes).sorted()

    /// What is said of a `peft_type` that no method has: a misspelling, or one from the future.
    public static func unknown(_ peftType: String) -> String {
        "peft_type \"\(peftType.printable)\" is not known to this version"
            + (Spelling.nearest(to: peftType, among: knownTypes).map { ", the nearest that is known is \($0)" } ?? "")
            + "; known are " + knownTypes.joined(separator: ", ")
    }

    /// The method of an adapter.
    ///
    /// - Throws: `.refused` where the config names no type or one that does not exist.
    public static func method(of adapter: Adapter) throws -> any AdapterMethod {
        if let method = adapter.method { return method }
        if adapter.config?.peftType == nil, let method = method(byTensorsOf: adapter) { return method }
        guard let config = adapter.config else { return BareFactors() }
        guard let peftType = config.peftType else {
            throw PeftfileError(
                .refused, (config["peft_type"] == nil ? "has no peft_type" : "has a peft_type that is no text") + ", so the method is unknown", file: config.path, rule: "PeftTypeMissing",
                help: "add the method's name, for example \"peft_type\": \"LORA\"")
        }
        guard let method = method(named: peftType) else {
            throw PeftfileError(
                .refused, unknown(peftType), file: config.path, rule: "PeftTypeUnknown",
                help: "correct peft_type in adapter_config.json, or use a newer peftfile")
        }
        return method
    }

    /// The `peft_type` of the first method that has every tensor of the adapter; nil where there is none, as for prompts, whose
    /// methods give their tensors the same names.
    public static func likelyType(of adapter: Adapter) -> String? {
        let found = Set(adapter.keys.compactMap(\.component)).subtracting(["original_module"])
        guard !found.isEmpty else { return nil }
        return methods.first { method in
            let own = components(of: method)
            return !own.isDisjoint(with: found)
                && found.allSatisfy { component in
                    own.contains(component) || component.hasPrefix("trainable_tokens")
                        || adapter.keys.contains { $0.component == component && LoRA.isTrainingState($0) }
                }
        }?.peftTypes.first
    }

    /// The names of a method's own tensors.
    private static func components(of method: any AdapterMethod) -> Set<String> {
        switch method {
        case let method as any ModuleMethod: method.components
        case let method as UnmergeableMethod: Set(method.baseSides.keys)
        case is LoRA: LoRA.components
        case is TrainableTokens: ["trainable_tokens_delta"]
        default: []
        }
    }

    /// A method of another library, whose config names no `peft_type`: told by the tensors.
    private static func method(byTensorsOf adapter: Adapter) -> (any AdapterMethod)? {
        if !Bottleneck.modules(of: adapter).isEmpty { return Bottleneck() }
        let tensors = adapter.checkpoint.tensors.map { PromptTensor($0) }
        // A prompt that cannot be read is one as well.
        let prompts = try? PromptForms.modules(among: tensors, config: adapter.config)
        return prompts?.isEmpty == true ? nil : UnmergeableMethod.softPrompts
    }
}
