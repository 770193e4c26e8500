package import ByteAccess
import Tensors

extension AdapterConfig {
    /// Keys by which PEFT chooses what of a file it loads, and where to: with the same tensors and another value the model is
    /// another. Source: `inject_adapter` and `_inject_parameters` in peft/tuners/tuners_utils.py, `set_peft_model_state_dict` in
    /// peft/utils/save_and_load.py.
    private static let loading: Set<String> = [
        "modules_to_save", "target_parameters", "bias", "trainable_token_indices", "layer_replication", "alora_invocation_tokens",
        "ensure_weight_tying", "lora_bias",
    ]
    /// Keys of which not the words count but the modules that they leave (``LoadedModules``).
    private static let selecting: Set<String> = ["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"]
    /// Lists in which the order means nothing.
    private static let sets: Set<String> = ["modules_to_save", "target_parameters", "target_modules", "exclude_modules", "layers_to_transform"]

    /// The keys by which two configs may make two models of the same tensors, sorted.
    ///
    /// - Parameter isUpdateKnown: whether the updates were compared as numbers; where they were not, every key counts that a
    ///   method may read from a loaded adapter (``AdapterMethod/hasEffect(_:_:of:)``).
    package static func effectiveDifferences(_ a: Adapter, _ b: Adapter, isUpdateKnown: Bool) -> [String] {
        guard let first = a.config, let second = b.config else {
            return isUpdateKnown || (a.config == nil && b.config == nil) ? [] : ["adapter_config.json"]
        }
        func differing(_ counts: (String) -> Bool) -> Set<String> {
            let keys = Set((first.json.members + second.json.members).map(\.key)).filter { counts($0.text) }
            return Set(keys.filter { !isSame(first[$0], second[$0], key: $0.text) }.map(\.text))
        }
        guard isUpdateKnown else {
            if let one = a.dialect?.settings(of: first), let other = b.dialect?.settings(of: second) {
                return Set((one.members + other.members).map(\.key)).filter { !isSame(one[$0], other[$0], key: $0.text) }.map(\.text).sorted()
            }
            let ignored = keysWithoutEffect.subtracting(loading).subtracting(selecting).union(ConfigKind.training)
            let sides = [(a, first), (b, second)].map { adapter, config in (adapter, config, try? MethodRegistry.method(of: adapter)) }
            // What one of the two stores the other may have to make: only what has no effect on either has none.
            return differing { key in
                let effects = sides.map { adapter, config, method in method?.hasEffect(key, config[ExactString(key)], of: adapter) }
                return effects.contains(true) || !(effects.allSatisfy { $0 == false } || ignored.contains(key))
            }.sorted()
        }
        guard first.peftType != nil, second.peftType != nil, a.dialect == nil, b.dialect == nil else { return [] }
        var result = differing(loading.contains)
        if result.contains("target_parameters"), let one = parametersOfTheirOwn(of: a, beside: b), one == parametersOfTheirOwn(of: b, beside: a) {
            result.remove("target_parameters")
        }
        // Where a config names none, PEFT has a list of its own for the model.
        if (first["target_modules"] == nil) != (second["target_modules"] == nil) { result.insert("target_modules") }
        if let one = try? LoadedModules(of: a), let other = try? LoadedModules(of: b), one.unread == nil, other.unread == nil {
            let (lost, gone) = (Set(one.dropped.map(\.module)), Set(other.dropped.map(\.module)))
            for entry in one.dropped where !gone.contains(entry.module) { result.insert(entry.key.text) }
            for entry in other.dropped where !lost.contains(entry.module) { result.insert(entry.key.text) }
        } else {
            result.formUnion(differing(selecting.contains))
        }
        return result.sorted()
    }

    private static func isSame(_ a: JSONValue?, _ b: JSONValue?, key: String) -> Bool {
        let (a, b) = (meaning(a, key: key), meaning(b, key: key))
        guard let a, let b else { return a == nil && b == nil }
        if sets.contains(key), let one = a.arrayValue, let other = b.arrayValue {
            return Set(one.map { $0.serialized() }) == Set(other.map { $0.serialized() })
        }
        return a.hasMeaning(of: b)
    }

    /// The value; nil where it says that the key is not used.
    private static func meaning(_ value: JSONValue?, key: String) -> JSONValue? {
        switch value {
        case .bool(false)?, .array([])?, nil: nil
        case .object(let object)? where object.members.isEmpty: nil
        case .string("none")? where key == "bias": nil
        default: value
        }
    }

    /// Leaves of modules that `target_modules` does not reach as it does a linear layer: routers, whose weight is a bare parameter in
    /// transformers 5, and Conv1D, whose weight lies the other way round.
    private static let unlikeLinear: Set<String> = ["gate", "router", "c_attn", "c_fc", "c_proj", "q_attn"]

    /// `target_parameters` without the weights of linear layers: with the same factors `target_modules` makes the same update of one,
    /// B·A times the scale. Which modules are loaded at all ``LoadedModules`` tells. Nil where the config cannot be read.
    ///
    /// Source: `ParamWrapper.update_layer` and `get_delta_weight` in peft/tuners/lora/layer.py, for a parameter of two dimensions.
    private static func parametersOfTheirOwn(of adapter: Adapter, beside other: Adapter) -> Set<String>? {
        guard let config = adapter.config, let names = try? config.strings("target_parameters"),
            let settings = try? LoRAConfig(config, options: BindingOptions())
        else { return nil }
        let plain = Set(other.keys.filter { $0.component == "lora_A" }.map(\.module))
        return Set(
            names.filter { name in
                guard name.hasSuffix(".weight"), case let path = String(name.dropLast(".weight".count)),
                    let leaf = path.dottedComponents.last, !unlikeLinear.contains(String(leaf))
                else { return true }
                let keys = adapter.keys.filter { ConfigCoverage.meets($0.module.text, path) }
                // More rows than the rank are those of several experts, and embeddings have factors of another name.
                return keys.isEmpty || !keys.allSatisfy { key in
                    switch key.component {
                    case "lora_A":
                        plain.contains(key.module)
                            && adapter.tensor(key.stored)?.shape.first == settings.rank(for: "\(key.module.text).weight")
                    case "lora_B": true
                    default: false
                    }
                }
            })
    }
}
