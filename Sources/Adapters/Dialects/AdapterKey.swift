public import ByteAccess

/// A tensor name of an adapter file, taken apart: the module it belongs to and what it is of that module.
///
/// PEFT writes `base_model.model.<module>.<component>[.<leaf>]`, for example
/// `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. Raw state dicts of trainers add wrappers
/// (`module.`, `_orig_mod.`, `_fsdp_wrapped_module.`) and the adapter's name (`lora_A.default.weight`); both are
/// undone here. Source: `_remove_adapter_name_from_state_dict_key` in peft/tuners/tuners_utils.py, and
/// `Formats/peft-adapter.md`.
public struct AdapterKey: Sendable, Hashable {
    /// The name in the file.
    public let stored: ExactString
    /// The in-memory path of the module, without prefix, wrappers and trailing `.base_layer`s.
    public private(set) var module: ExactString
    /// How many `.base_layer` infixes stood between the module and the component.
    public let depth: Int
    /// `lora_A`, `lora_embedding_B`, `lora_magnitude_vector`, `trainable_tokens_delta`...; nil for a plain parameter.
    public let component: String?
    /// What is left after the component: `weight`, `bias`, a sampler's own name; for a plain parameter its name.
    public let leaf: String
    /// The adapter's name in memory, where the key still has it: `default`.
    public let adapterName: String?
    /// Whether the name began with `base_model.`.
    public let hadPrefix: Bool
    /// Whether the tensor belongs to the model as a whole and not to a module (`prompt_embeddings`).
    public let isPrompt: Bool

    /// A spelling that is equal for two names that mean the same tensor.
    public var canonical: ExactString {
        let infix = String(repeating: ".base_layer", count: depth)
        return ExactString("\(module)\(infix).\(component ?? "").\(leaf)")
    }

    /// Components that PEFT registers on a module, by the prefix of their name; beside them stand those that a method of the
    /// registry names one by one.
    private static let componentPrefixes = TextMarks([
        "lora_", "trainable_tokens_", "ia3_", "hada_", "lokr_", "oft_", "boft_", "vera_", "pvera_", "randlora_",
        "vblora_", "unilora_", "tinylora_", "gralora_", "hira_", "delora_", "psoft_", "poly_", "lily_", "peanut_",
        "deft_", "glora_", "adamss_", "frod_", "osf_", "ln_tuning_", "beft_", "hra_", "miss_", "bone_", "road_",
        "shira_", "supertuning_", "c3a_", "fourierft_", "waveft_", "adaption_", "internal_xlora_",
        "shadow_down", "shadow_up", "shadow_backbone",
    ])

    /// Whether a part of a name is a component.
    private static func isComponent(_ part: String) -> Bool {
        componentPrefixes.begin(part) || MethodRegistry.components.contains(part)
    }

    /// A key that a dialect took apart.
    init(stored: ExactString, module: ExactString, component: String?, leaf: String) {
        self.stored = stored
        self.module = module
        self.component = component
        self.leaf = leaf
        depth = 0
        hadPrefix = false
        adapterName = nil
        isPrompt = false
    }

    /// The same with the other's module, if that is equal: the keys of one module then share its text.
    func sharing(_ other: AdapterKey?) -> AdapterKey {
        guard let other, other.module == module else { return self }
        var copy = self
        copy.module = other.module
        return copy
    }

    static let wrappers: Set<String> = ["module", "_orig_mod", "_fsdp_wrapped_module"]

    /// Takes a name apart as PEFT's files and raw state dicts spell it. A name without a component of a known method is that of a plain
    /// parameter, its last part the leaf.
    public init(_ name: ExactString) { self.init(name, stored: name) }

    /// A name that stands for another in the file.
    init(_ name: ExactString, stored: ExactString) {
        self.stored = stored
        var parts = name.text.dottedComponents.map(String.init)
        while parts.count > 1, parts[0] == "module" || parts[0] == "_orig_mod" || parts[0] == "_fsdp_wrapped_module" {
            parts.removeFirst()
        }
        parts.removeAll { $0 == "_orig_mod" || $0 == "_fsdp_wrapped_module" }
        isPrompt = parts == ["prompt_embeddings"] || parts.first == "prompt_encoder" || parts.first == "word_embeddings"
            || parts.first?.hasPrefix("prefix_task_") == true
        hadPrefix = parts.first == "base_model"
        if parts.starts(with: ["base_model", "model"]), parts.count > 2 {
            parts.removeFirst(2)
        } else if parts.first == "base_model", parts.count > 1 {
            parts.removeFirst()
        }

        var adapterName: String?
        let found = parts.lastIndex(where: AdapterKey.isComponent)
        if let original = parts.firstIndex(of: "original_module") {
            // A raw dump's copy of the parameter that modules_to_save stands in for.
            component = "original_module"
            leaf = parts[(original + 1)...].joined(separator: ".")
            parts.removeSubrange(original...)
        } else if let found {
            component = parts[found]
            var rest = Array(parts[(found + 1)...])
            // A state that was taken for an adapter's own and given the adapter's name once more.
            while rest.count > 1, rest[0] == rest[1], !AdapterKey.isList(parts[found]), !rest[0].isDecimal { rest.removeFirst() }
            // `lora_A.<adapter>.weight` of a module, `lora_embedding_A.<adapter>` of a parameter.
            if let last = rest.last, last == "weight" || last == "bias" {
                if rest.count == 2, !AdapterKey.isList(parts[found]) { (adapterName, rest) = (rest[0], [last]) }
            } else if rest.count == 1, rest[0] == "default" && !AdapterKey.isList(parts[found]) || AdapterKey.isParameter(parts[found]) {
                (adapterName, rest) = (rest.first, [])
            }
            leaf = rest.joined(separator: ".")
            parts.removeSubrange(found...)
            if parts.last == "token_adapter" { parts.removeLast() }
        } else {
            component = nil
            // Older files and raw dumps: `<module>.modules_to_save.<adapter>.weight`.
            // With the adapter's name taken out already, `<module>.modules_to_save.weight`.
            if let saved = parts.lastIndex(of: "modules_to_save"), saved + 1 < parts.count {
                if saved + 2 < parts.count { adapterName = parts[saved + 1] }
                parts.removeSubrange(saved..<(saved + (saved + 2 < parts.count ? 2 : 1)))
            }
            parts.removeAll { $0 == "token_adapter" }
            leaf = parts.count > 1 ? parts.removeLast() : ""
        }
        var depth = 0
        while parts.last == "base_layer" {
            parts.removeLast()
            depth += 1
        }
        self.depth = depth
        self.adapterName = adapterName
        // An nn.MultiheadAttention is wrapped as a whole: its out_proj is `X.base_layer.out_proj`.
        parts.removeAll { $0 == "base_layer" }
        module = ExactString(parts.joined(separator: "."))
    }

    /// Components that are lists of modules: what stands after them is a place in the list and no adapter's name.
    private static func isList(_ component: String) -> Bool {
        component == "peanut_encoders" || component == "peanut_decoders"
    }

    /// Components that are parameters themselves and so end a stripped key.
    private static func isParameter(_ component: String) -> Bool {
        switch component {
        case "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_diag", "lora_velora_embed",
            "trainable_tokens_delta":
            true
        default: false
        }
    }
}
