import ByteAccess

/// P-Tuning with an LSTM encoder in a PeftModel's training state: a bidirectional LSTM, then Linear, ReLU, Linear.
///
///     P = W2 relu(W0 LSTM(E) + b0) + b2        (tokens, token_dim); the LSTM as ``PromptRecurrence`` defines it
///
/// | key below `prompt_encoder.<adapter>`, h = encoder_hidden_size | shape |
/// |---|---|
/// | `embedding.weight` | (tokens, token_dim) |
/// | `lstm_head.weight_ih_l{k}`, `…_reverse` | (4h, token_dim) for k = 0, else (4h, 2h) |
/// | `lstm_head.weight_hh_l{k}`, `…_reverse` | (4h, h) |
/// | `lstm_head.bias_ih_l{k}`, `bias_hh_l{k}`, `…_reverse` | (4h) |
/// | `mlp_head.0.weight`, `.bias` | (2h, 2h), (2h) |
/// | `mlp_head.2.weight`, `.bias` | (token_dim, 2h), (token_dim) |
///
/// k runs from 0 to encoder_num_layers − 1, 2 layers by default. Source: `PromptEncoder` in peft/tuners/p_tuning/model.py.
struct PromptLSTM: PromptForm {
    let name = "PEFT P-Tuning LSTM"

    func place(_ parts: [String]) -> PromptPlace? { PEFTPromptNames.place(parts) }
    func recognises(_ group: PromptGroup) -> Bool { group.has("lstm_head.") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        let embedding = try group.required("embedding.weight")
        let section = PEFTPromptNames.section(config)
        try PEFTPromptNames.require(.encoder, of: section, embedding)
        let recurrence = try PromptRecurrence(group, embedding: embedding)
        let last = try group.required("mlp_head.2.weight")
        try last.requireShape([embedding.shape[1], last.shape[1]], dueTo: embedding)
        try PEFTPromptNames.requireInputTokens(embedding, section)
        try embedding.requireClaim("token_dim", of: section, axis: 1)
        let hidden = try group.required("lstm_head.weight_hh_l0")
        try hidden.requireClaim("encoder_hidden_size", of: section, axis: 1)
        if let section {
            if section["encoder_reparameterization_type"]?.stringValue == "MLP" {
                throw PeftfileError(
                    .refused, "of shape \(hidden.shape) is an LSTM's, and the config says encoder_reparameterization_type = MLP",
                    file: section.path, tensor: hidden.stored, rule: "ConfigContradiction",
                    help: "the config belongs to another adapter; correct it")
            }
            if let count = try section.count("encoder_num_layers"), count != recurrence.layers.count {
                throw PeftfileError(
                    .refused, "the LSTM has \(recurrence.layers.count) layers, and the config says encoder_num_layers = \(count)",
                    file: section.path, tensor: hidden.stored, rule: "ConfigContradiction",
                    help: "the config belongs to another adapter; correct it")
            }
        }
        return PromptModule(
            form: name, kind: .encoder, isPEFT: true, group: group, formula: .recurrent(recurrence),
            embedding: embedding, tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], last.shape[0], last),
            sourceName: "embedding.weight", config: section)
    }
}

extension PromptRecurrence {
    /// Reads `lstm_head.*` and `mlp_head.0`, `mlp_head.2` of a group.
    ///
    /// - Throws: `.refused` for a missing direction or bias, gates that are not four, projections, and widths that do
    ///   not meet.
    init(_ group: PromptGroup, embedding: PromptTensor) throws {
        try embedding.requireNumbers(rank: 2)
        let first = try group.required("lstm_head.weight_hh_l0")
        try first.requireNumbers(rank: 2)
        let h = first.shape[1]
        let gates = h.multipliedReportingOverflow(by: 4)
        guard !gates.overflow, first.shape[0] == gates.partialValue else {
            throw PeftfileError(
                .refused, "has shape \(first.shape), and the four gates i, f, g, o of width \(h) make it "
                    + "\([gates.overflow ? .max : gates.partialValue, h])", tensor: first.stored, rule: "GateLayout",
                help: "only torch.nn.LSTM is known here; a GRU has three gates")
        }
        var known: Set<String> = ["embedding.weight"]
        var layers: [Layer] = []
        var (before, inputs) = (embedding, embedding.shape[1])
        repeat {
            func direction(_ suffix: String) throws -> Direction {
                let leaves = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
                    .map { "lstm_head.\($0)_l\(layers.count)\(suffix)" }
                known.formUnion(leaves)
                let tensors = try leaves.map { try group.required($0) }
                for tensor in tensors[..<2] { try tensor.requireNumbers(rank: 2) }
                for tensor in tensors[2...] { try tensor.requireNumbers(rank: 1) }
                try tensors[0].requireShape([4 * h, inputs], dueTo: before)
                try tensors[1].requireShape([4 * h, h], dueTo: first)
                try tensors[2].requireShape([4 * h], dueTo: first)
                try tensors[3].requireShape([4 * h], dueTo: first)
                return Direction(
                    inputWeight: tensors[0].stored, hiddenWeight: tensors[1].stored, inputBias: tensors[2].stored,
                    hiddenBias: tensors[3].stored)
            }
            layers.append(Layer(inputs: inputs, forward: try direction(""), reverse: try direction("_reverse")))
            (before, inputs) = (first, 2 * h)
        } while group.has("lstm_head.weight_ih_l\(layers.count)") || group.has("lstm_head.weight_hh_l\(layers.count)")
        let steps = [0, 2]
        head = try PromptLayer.sequence(of: group, under: "mlp_head", steps: steps, from: first, width: 2 * h)
        known.formUnion(PromptLayer.leaves(under: "mlp_head", steps: steps))
        try group.requireOnly(known)
        self.embedding = embedding.stored
        tokens = embedding.shape[0]
        hidden = h
        self.layers = layers
    }
}
