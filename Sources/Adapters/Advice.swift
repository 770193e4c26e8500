import ByteAccess

/// What to do about a refusal whose place in the code knows no more than its rule.
enum Advice {
    /// The error, with the advice of its rule where it has none of its own.
    static func completed(_ error: PeftfileError) -> PeftfileError {
        guard error.help == nil, let rule = error.rule, let help = byRule[rule] else { return error }
        var copy = error
        copy.help = help
        return copy
    }

    private static let byRule: [String: String] = {
        let groups: [(rules: [String], help: String)] = [
            (["MissingTensor", "MissingPair", "FactorDType", "FactorShape", "SavedDType", "ScalarShape", "ScalarValue", "ScalarNotFinite"], "save the adapter again"),
            (["ShapeMismatch", "MissingTarget", "ProjectionSize", "LayerReplication"], "merge onto the base that the adapter was trained on"),
            (
                ["ModuleKind", "VariantLayout", "FusedParameter", "MethodUnsupported"],
                "merge it with the library that trained it, or serve it unmerged"
            ),
            (["RankMismatch", "BlockDiagonal", "AlphaMissing"], "correct the config: it and the tensors are of two adapters"),
            (["TokenIndicesMissing"], "restore trainable_token_indices in adapter_config.json"),
            (["ConfigMissing"], "put the adapter_config.json of the training beside the weights"),
            (["ConfigObject", "ConfigSize"], "restore the config as the training wrote it"),
            (["UnclaimedTensor", "AmbiguousKey"], "remove the tensor, or save the adapter again"),
            (["GGUFName", "GGUFArchitecture"], "convert the adapter again with llama.cpp's convert_lora_to_gguf.py"),
        ]
        return Dictionary(groups.flatMap { group in group.rules.map { ($0, group.help) } }, uniquingKeysWith: { first, _ in first })
    }()
}
