import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension Verifier {
    /// Holds the result's config.json against the values that must change with the weights, and those that must not.
    ///
    /// A bare file has no config of its own, whatever lies beside it; then the report only says what its config needs.
    func compareConfig(_ report: inout EquivalenceReport) {
        if result.directory != nil, let config = result.config {
            for key in configRemovals {
                for (path, found) in [([key], config[key]), (["text_config", key], config["text_config"]?[key])] {
                    // A loader would look for the codes that are gone.
                    if let found { report.config.append(.init(path: path, expected: .null, found: found)) }
                }
            }
        }
        var changes = configChanges
        if let dtype {
            for key: ExactString in ["dtype", "torch_dtype"] where base.config?[key] != nil {
                changes.append(.init(path: [key], value: .string(dtype.torchName)))
            }
        }
        if base.directory != nil { changes += unchangedKeys(except: Set(changes.map(\.path))) }
        if changes.isEmpty, base.directory != nil, base.config != nil, result.directory != nil, result.config == nil {
            report.warnings.append("the result has no config.json, and the base has one")
        }
        guard !changes.isEmpty else { return }
        guard let config = result.config, result.directory != nil else {
            let needs = changes.map { change in
                "\(change.path.map(\.text).joined(separator: ".")) = \(change.value.serialized(indent: nil))"
            }
            report.warnings.append(
                "the result has no config.json of its own to check; it needs \(needs.joined(separator: ", "))")
            return
        }
        for change in changes {
            var found: JSONValue? = .object(config)
            for key in change.path { found = found?[key] }
            if found != change.value {
                report.config.append(.init(path: change.path, expected: change.value, found: found))
            }
        }
    }

    /// Keys that decide how a loader reads the tensors, with the base's values: what a merge does not change must stay.
    /// A tool may leave out a key that says the default, so only a key that the result has too is held against it.
    private func unchangedKeys(except changed: Set<[ExactString]>) -> [Binding.ConfigChange] {
        let keys: [ExactString] = [
            "model_type", "tie_word_embeddings", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim",
        ]
        var result: [Binding.ConfigChange] = []
        for path in keys.flatMap({ [[$0], ["text_config", $0]] as [[ExactString]] }) where !changed.contains(path) {
            func value(_ config: JSONObject?) -> JSONValue? {
                path.reduce(config.map { JSONValue.object($0) }) { $0?[$1] }
            }
            if let own = value(base.config), value(self.result.config) != nil { result.append(.init(path: path, value: own)) }
        }
        return result
    }
}
