import ByteAccess

/// Trainable tokens: single rows of an embedding are trained and stored (`peft_type` TRAINABLE_TOKENS).
///
///     W'[token_indices[i], :] = trainable_tokens_delta[i, :]
///
/// `trainable_tokens_delta` (n, dim) is a misnomer: it holds the new rows. `token_indices` stands only in the config.
/// An output head tied to the embedding sees the same rows. Config: `token_indices`.
/// Source: peft/tuners/trainable_tokens/layer.py
/// (`TrainableTokensLayer.get_merged_weights`, an index_copy).
struct TrainableTokens: AdapterMethod {
    let peftTypes = ["TRAINABLE_TOKENS"]
    let configKeys: Set<String> = ["token_indices", "init_weights", "ensure_weight_tying"]
    /// Without a name it is the input embedding.
    let needsTargetModules = false

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        SavedParameters.targets(of: adapter)
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        SavedParameters.claims(key, of: adapter, hasBiases: false)
    }

    func remarks(on adapter: Adapter) -> [String] { [] }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        try adapter.config?.requireKnownKeys(configKeys)
        try requireConfig(of: adapter)
        let saved = try SavedParameters(
            adapter: adapter, tokenIndices: adapter.config?["token_indices"], hasBiases: false)
        var result = MethodUpdates()
        let places = try context.resolve(saved.required, saved.optional)
        try saved.appendChanges(to: &result, places: places, context: context)
        return result
    }
}
