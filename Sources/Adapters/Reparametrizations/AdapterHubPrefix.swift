import ByteAccess

/// Prefix-Tuning of AdapterHub's adapters library: `wte` and `control_trans` for each location, the function between
/// the layers from the config.
///
///     P = f(E W0ᵀ + b0) W2ᵀ + b2        f is config.non_linearity, tanh by default
///
/// | key below `…prefix_tunings.<name>.<location>` | shape |
/// |---|---|
/// | `wte.weight` | (prefix_length, hidden_size) |
/// | `control_trans.0.weight`, `.bias` | (bottleneck_size, hidden_size), (bottleneck_size) |
/// | `control_trans.2.weight`, `.bias` | (layers·2·heads·head_dim, bottleneck_size), (layers·2·heads·head_dim) |
/// | ejected (`flat: true`): `control_trans` | (prefix_length·layers·2·heads·head_dim) |
///
/// Locations are `self_prefix`, `encoder_prefix` and `cross_prefix`. The pool of prefixes is one module that every layer
/// refers to, so a state dict holds it several times under different paths; each copy is stripped. Source:
/// `PrefixTuning.eject` in adapters/methods/prefix_tuning.py.
struct AdapterHubPrefix: PromptForm {
    let name = "AdapterHub prefix tuning"
    let dialect = "adapterhub"

    func place(_ parts: [String]) -> PromptPlace? {
        guard let start = parts.lastIndex(of: "prefix_tunings"), start + 3 < parts.count else { return nil }
        return PromptPlace(parts, after: start + 3)
    }

    func recognises(_ group: PromptGroup) -> Bool { true }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let section = try AdapterHubConfig.section(config)
        let stated = section?["non_linearity"].flatMap { $0.isNull ? nil : $0 }
        let written = stated.map { $0.stringValue ?? $0.serialized() } ?? "tanh"
        guard let activation = PromptActivation(name: written) else {
            throw PeftfileError(
                .unsupported, "non_linearity \"\(written.printable)\" is not computed here", file: config?.path,
                rule: "ActivationUnknown",
                help: "known are \(PromptActivation.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        // eject_prefix_tuning leaves flat = false in the config of what it flattened, so only the other way is wrong.
        if try section?.flag("flat") == true, group.tensors["control_trans"] == nil {
            _ = try group.required("control_trans")
        }
        var module = try ControlTransform.module(
            of: group, form: name, activation: activation, tokensKey: "prefix_length", middleKey: "bottleneck_size",
            config: section)
        if let embedding = group.tensors["wte.weight"] { try embedding.requireClaim("hidden_size", of: config, axis: 1) }
        module.config = config
        module.hiddenIsEmbedding = true
        if try section?.flag("use_gating") == true {
            module.noPEFTLayout = "its attention over the prefix is gated (use_gating), which PEFT does not have"
        }
        return module
    }
}

/// `adapter_config.json` of the adapters library: same file name as PEFT's, other content.
enum AdapterHubConfig {
    /// The nested `config`, which describes the method; nil where the file is not of that library.
    static func section(_ config: AdapterConfig?) throws -> AdapterConfig? {
        guard let config, config.peftType == nil, let nested = config["config"]?.objectValue else { return nil }
        return try AdapterConfig(json: nested, path: config.path)
    }
}
