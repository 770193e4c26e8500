import ByteAccess

/// P-Tuning with an MLP encoder in a PeftModel's training state: three linear layers with ReLU between them.
///
///     P = W4 relu(W2 relu(W0 e + b0) + b2) + b4        (tokens, token_dim)
///
/// | key below `prompt_encoder.<adapter>` | shape |
/// |---|---|
/// | `embedding.weight` | (tokens, token_dim) |
/// | `mlp_head.0.weight`, `.bias` | (encoder_hidden_size, token_dim), (encoder_hidden_size) |
/// | `mlp_head.2.weight`, `.bias` | (encoder_hidden_size, encoder_hidden_size), (encoder_hidden_size) |
/// | `mlp_head.4.weight`, `.bias` | (token_dim, encoder_hidden_size), (token_dim) |
///
/// tokens is num_virtual_tokens · num_transformer_submodules. Source: `PromptEncoder` in peft/tuners/p_tuning/model.py;
/// X. Liu et al., arXiv:2103.10385.
struct PromptMLP: PromptForm {
    let name = "PEFT P-Tuning MLP"
    private let steps = [0, 2, 4]

    func place(_ parts: [String]) -> PromptPlace? { PEFTPromptNames.place(parts) }
    func recognises(_ group: PromptGroup) -> Bool { group.has("mlp_head.") && !group.has("lstm_head.") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let embedding = try group.required("embedding.weight")
        try embedding.requireNumbers(rank: 2)
        let section = PEFTPromptNames.section(config)
        try PEFTPromptNames.require(.encoder, of: section, embedding)
        if section?["encoder_reparameterization_type"]?.stringValue == "LSTM" {
            // The head alone is what is left of an encoder whose LSTM was not saved.
            _ = try group.required("lstm_head.weight_ih_l0")
        }
        let layers = try PromptLayer.sequence(
            of: group, under: "mlp_head", steps: steps, from: embedding, width: embedding.shape[1])
        try group.requireOnly(Set(PromptLayer.leaves(under: "mlp_head", steps: steps) + ["embedding.weight"]))
        let last = try group.required("mlp_head.4.weight")
        try last.requireShape([embedding.shape[1], last.shape[1]], dueTo: embedding)
        try PEFTPromptNames.requireInputTokens(embedding, section)
        try embedding.requireClaim("token_dim", of: section, axis: 1)
        try last.requireClaim("encoder_hidden_size", of: section, axis: 1)
        return PromptModule(
            form: name, kind: .encoder, isPEFT: true, group: group,
            formula: .perceptron(
                PromptPerceptron(
                    embedding: embedding.stored, tokens: embedding.shape[0], layers: layers, activation: .relu)),
            embedding: embedding, tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], last.shape[0], last),
            sourceName: "embedding.weight", config: section)
    }
}
