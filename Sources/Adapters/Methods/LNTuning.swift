import ByteAccess

/// LN tuning: normalisation layers trained whole (arXiv:2312.11420).
///
///     W' = ln_tuning_layers.weight,   bias' = ln_tuning_layers.bias
///
/// `<module>.ln_tuning_layers.weight` and `.bias` have the parameter's own shape. Any layer may be trained so; its
/// parameters are taken whole. Config: none.
/// Source: `LNTuningLayer.merge` in peft/tuners/ln_tuning/layer.py, which exchanges the two layers.
struct LNTuning: AdapterMethod {
    let peftTypes = ["LN_TUNING"]
    let defaultTargets = DefaultTargets.lnTuning
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        trained(adapter).map { AdapterTarget(module: $0.module, parameter: $0.leaf, method: "LN tuning") }
            + SavedParameters.targets(of: adapter)
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        key.component == "ln_tuning_layers" || SavedParameters.claims(key, of: adapter, hasBiases: false)
    }

    func remarks(on adapter: Adapter) -> [String] { [] }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        try adapter.config?.requireKnownKeys(configKeys)
        try requireConfig(of: adapter)
        let saved = try SavedParameters(adapter: adapter, tokenIndices: nil, hasBiases: false)
        let layers = trained(adapter)
        let requests = layers.map { ParameterRequest(module: $0.module, parameter: .named($0.leaf)) }
        let places = try context.resolve(requests + saved.required, saved.optional)
        var result = MethodUpdates()
        for (layer, request) in zip(layers, requests) {
            guard let place = places[request] else { continue }
            result.changes.append(
                ParameterUpdate(
                    place: place, change: .replace(tensor: layer.stored, shared: true),
                    target: AdapterTarget(module: layer.module, parameter: layer.leaf, method: "LN tuning")))
        }
        try saved.appendChanges(to: &result, places: places, context: context)
        if context.weight != 1 {
            result.warnings.append("LN tuning stores parameters whole; the weights of a merge do not scale them")
        }
        return result
    }

    private func trained(_ adapter: Adapter) -> [AdapterKey] {
        adapter.keys.filter { $0.component == "ln_tuning_layers" && !$0.leaf.isEmpty }
    }
}
