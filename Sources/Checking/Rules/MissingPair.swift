import Adapters
import ByteAccess
import Tensors

/// Half of a pair.
struct MissingPair: CheckRule {
    let id = "missing-pair"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A module has one factor and lacks the other, or lacks another tensor of its method."
    let protectsFrom = """
        PEFT warns of "missing adapter keys" and goes on with the factor as it was initialised: without lora_B the module does \
        nothing, without lora_A it does something random.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = [
        "MissingPair", "MagnitudeMissing", "LoRABiasMissing", "DiagonalMissing", "TokenIndicesMissing", "MissingTensor", "TensorMissing", "PromptTensorMissing", "BottleneckIncomplete", "IncompleteExpert", "WrappedParameters",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let pairs = subject.factors.pairs.compactMap { pair -> Finding? in
            guard case .alone(let missing, let present) = pair.defect else { return nil }
            return finding(
                "is missing, and its partner \(present.name.text) is there", file: subject.weights.file, tensor: missing,
                help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
        guard pairs.isEmpty else { return pairs }
        return companions(of: subject, "lora_magnitude_vector", by: "use_dora") { $0.component == "lora_magnitude_vector" }
            + companions(of: subject, "lora_B.bias", by: "lora_bias") { $0.component == "lora_B" && $0.leaf == "bias" }
            + forms(of: subject)
    }

    /// Tensors that every module of the method has.
    private func forms(of subject: CheckSubject) -> [Finding] {
        guard !subject.typeIsContradicted, let defects = (try? subject.adapter())?.formDefects else { return [] }
        let inspect = "what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"
        var result = defects.missing.map { entry in
            finding(
                "is missing, and \(entry.beside.text) of the same module is there", file: subject.weights.file, tensor: entry.tensor,
                help: "save the adapter again; \(inspect)")
        }
        if let modules = defects.modules {
            result.append(
                finding(
                    "the file has \(modules.found) module\(modules.found == 1 ? "" : "s"), and the config says \(modules.wanted)",
                    file: subject.weights.file, help: "save the adapter again; \(inspect)"))
        }
        return result
    }

    /// A tensor that the flag `key` of the config gives to every pair: DoRA's magnitude, the bias of lora_B. An embedding has none.
    private func companions(
        of subject: CheckSubject, _ tensor: String, by key: ExactString, _ isCompanion: (AdapterKey) -> Bool
    ) -> [Finding] {
        guard subject.methodReads(key.text), subject.config.config?[key]?.boolValue == true else { return [] }
        let known = Set(subject.keys.filter(isCompanion).map(\.module))
        let alone = subject.factors.pairs.filter { $0.stem == "lora" && !known.contains($0.module) }
        guard let first = alone.first else { return [] }
        return [
            finding(
                "is missing, in \(alone.count) of \(subject.factors.pairs.count) modules, and the config says \(key); this is the first",
                file: subject.weights.file, tensor: ExactString("base_model.model.\(first.module).\(tensor)"),
                help: "save the adapter again, or correct \(key); what is there: peftfile inspect --tensors " + subject.path.shellQuoted)
        ]
    }
}
