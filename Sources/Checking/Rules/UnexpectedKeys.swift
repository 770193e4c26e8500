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
        "TensorNotLoaded", "BiasUnexpected", "TwoForms",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil, subject.foreignDialect == nil, !subject.typeIsContradicted, !subject.holdsNoAdapter, let adapter = try? subject.adapter(),
            let method = try? MethodRegistry.method(of: adapter),
            // What is expected follows from the config.
            !subject.configDefects.contains(where: \.isOfMethod)
        else { return [] }
        if let refusal = try? LoadedModules(of: adapter, modelType: subject.modelType).refusal(of: adapter) {
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
        let left = adapter.keys.filter { !method.claims($0, of: adapter) }
        let plain = left.filter { $0.component == nil }
        let inspect = "what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"
        var result: [Finding] = []
        var single = left
        if plain.count > UnexpectedKeys.limit, let first = plain.first {
            single = left.filter { $0.component != nil }
            result.append(
                finding(
                    "\(plain.count) of \(adapter.keys.count) tensors are parameters of the model itself, the first is this: a whole model was "
                        + "saved with the adapter, and PEFT drops it without a word", file: subject.weights.file, tensor: first.stored,
                    help: "save the adapter alone, with save_pretrained of the PeftModel; \(inspect)"))
        }
        result += single.prefix(UnexpectedKeys.limit).map { key in
            finding(
                "has no part in this method, and PEFT drops it without a word", file: subject.weights.file,
                tensor: key.stored, help: "remove the tensor, or correct peft_type in adapter_config.json; \(inspect)")
        }
        if single.count > UnexpectedKeys.limit {
            result.append(
                finding(
                    "\(single.count - UnexpectedKeys.limit) more tensors have no part in this method", file: subject.weights.file,
                    help: "correct peft_type in adapter_config.json; \(inspect)"))
        }
        return result
    }

    /// How many tensors are named one by one.
    private static let limit = 10

    private func config(_ subject: CheckSubject, lacks flag: ExactString) -> Bool {
        subject.methodReads(flag.text) && subject.config.config?[flag]?.boolValue != true
    }
}
