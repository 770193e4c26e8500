import Adapters
import ByteAccess

/// Tensors that the method does not have.
struct UnexpectedKeys: CheckRule {
    let id = "unexpected-keys"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The file holds tensors that no adapter of this method has."
    let protectsFrom = """
        PEFT drops unexpected keys in silence (set_peft_model_state_dict loads with strict=False), so what was meant by them \
        is lost; vLLM raises "is unsupported LoRA weight".
        """
    let needs: [RuleNeed] = [.tensors, .config]
    let refusals: Set<String> = [
        "UnclaimedTensor", "MagnitudeUnexpected", "LoRABiasUnexpected", "DiagonalUnexpected", "AmbiguousKey", "ProjectionMismatch", "TensorUnexpected",
        "TensorNotLoaded", "BiasUnexpected",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil, !subject.typeIsContradicted, !subject.holdsNoAdapter, let adapter = try? subject.adapter(),
            let method = try? MethodRegistry.method(of: adapter),
            // A method that is only known by its name cannot say which tensors it has.
            !method.configKeys.isEmpty
        else { return [] }
        if let refusal = try? LoadedModules(of: adapter).refusal(of: adapter) {
            return [finding(refusal.message, file: subject.weights.file, tensor: refusal.tensor, help: refusal.help ?? "correct the config")]
        }
        let magnitudes = config(subject, lacks: "use_dora") ? adapter.keys.filter { $0.component == "lora_magnitude_vector" } : []
        if let first = magnitudes.first {
            return [
                finding(
                    "\(magnitudes.count) tensors are DoRA's magnitudes, and the config does not say use_dora; this is the first",
                    file: subject.weights.file, tensor: first.stored,
                    help: "set use_dora to true in adapter_config.json; what is there: peftfile inspect \(subject.path.shellQuoted)")
            ]
        }
        return adapter.keys.filter { !method.claims($0, of: adapter) }.map { key in
            finding(
                "has no part in this method, and PEFT drops it without a word", file: subject.weights.file,
                tensor: key.stored, help: "remove the tensor, or correct peft_type in adapter_config.json; what is there: "
                    + "peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
    }

    private func config(_ subject: CheckSubject, lacks flag: ExactString) -> Bool {
        subject.methodReads(flag.text) && subject.config.config?[flag]?.boolValue != true
    }
}
