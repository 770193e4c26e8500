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
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil, !subject.typeIsContradicted, !subject.holdsNoAdapter, let adapter = try? subject.adapter(),
            let method = try? MethodRegistry.method(of: adapter),
            // A method that is only known by its name cannot say which tensors it has.
            !method.configKeys.isEmpty
        else { return [] }
        let unnamed = ConfigCoverage(of: adapter)?.unnamedModules ?? []
        if let first = unnamed.first, let key = adapter.keys.first(where: { $0.module == first && $0.component != nil }) {
            return [
                finding(
                    "\(unnamed.count) modules with tensors are not named by target_modules, and PEFT drops them without a word; "
                        + "this is of the first", file: subject.weights.file, tensor: key.stored,
                    help: "correct target_modules; the modules: peftfile inspect \(subject.path.shellQuoted)")
            ]
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
