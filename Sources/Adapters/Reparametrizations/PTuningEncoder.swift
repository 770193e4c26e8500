import ByteAccess

/// P-tuning's first code: an embedding through a two-layer bidirectional LSTM and an MLP, or through the MLP alone.
///
///     P = W2 relu(W0 LSTM(E) + b0) + b2        (spell_length, hidden); the LSTM as ``PromptRecurrence`` defines it
///
/// | key, alone or below `prompt_encoder` | shape |
/// |---|---|
/// | `embedding.weight`, or `prompt_embeddings.weight` | (spell_length, hidden) |
/// | `lstm_head.*` | as in ``PromptLSTM``, h = hidden / 2, or hidden |
/// | `mlp_head.0.weight`, `.bias` | (hidden, 2h), (hidden) |
/// | `mlp_head.2.weight`, `.bias` | (hidden, hidden), (hidden) |
/// | without LSTM: `mlp.0`, `mlp.2`, `.weight`, `.bias` | (hidden, hidden), (hidden) |
///
/// Source: THUDM/P-tuning LAMA/p_tuning/prompt_encoder.py and PT-Fewshot/pet/wrapper.py; X. Liu et al.,
/// arXiv:2103.10385.
struct PTuningEncoder: PromptForm {
    let name = "P-tuning v1 encoder"
    let dialect = "p-tuning"
    private static let parts: Set<String> = ["embedding", "prompt_embeddings", "lstm_head", "mlp_head", "mlp"]

    func place(_ parts: [String]) -> PromptPlace? {
        guard PEFTPromptNames.place(parts) == nil else { return nil }
        let start = parts.firstIndex(of: "prompt_encoder").map { $0 + 1 } ?? 0
        guard start + 1 < parts.count, PTuningEncoder.parts.contains(parts[start]) else { return nil }
        var plain = parts
        if plain[start] == "prompt_embeddings" { plain[start] = "embedding" }
        return PromptPlace(plain, after: start)
    }

    func recognises(_ group: PromptGroup) -> Bool {
        // Without an encoder's module around them only an embedding and a head together are no coincidence.
        group.has("embedding.weight") && (group.has("lstm_head.") || group.has("mlp."))
            || group.root.hasSuffix("prompt_encoder")
    }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let embedding = try group.required("embedding.weight")
        try embedding.requireNumbers(rank: 2)
        let name = embedding.parts.suffix(2).joined(separator: ".")
        let formula: PromptFormula
        var elements = try PromptModule.elements(embedding.shape[0], embedding.shape[1], embedding)
        if group.has("lstm_head.") {
            let recurrence = try PromptRecurrence(group, embedding: embedding)
            elements = try PromptModule.elements(embedding.shape[0], recurrence.head[1].outputs, embedding)
            formula = .recurrent(recurrence)
        } else if group.has("mlp.") || group.has("mlp_head.") {
            let (prefix, steps) = (group.has("mlp.") ? "mlp" : "mlp_head", [0, 2])
            let layers = try PromptLayer.sequence(
                of: group, under: prefix, steps: steps, from: embedding, width: embedding.shape[1])
            try group.requireOnly(Set(PromptLayer.leaves(under: prefix, steps: steps) + ["embedding.weight"]))
            elements = try PromptModule.elements(embedding.shape[0], layers[1].outputs, embedding)
            formula = .perceptron(
                PromptPerceptron(
                    embedding: embedding.stored, tokens: embedding.shape[0], layers: layers, activation: .relu))
        } else {
            try group.requireOnly(["embedding.weight"])
            formula = .stored(embedding.stored)
        }
        return PromptModule(
            form: self.name, kind: .encoder, isPEFT: false, group: group, formula: formula, embedding: embedding,
            tokens: embedding.shape[0], elements: elements, sourceName: name, config: config)
    }
}
