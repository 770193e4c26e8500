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
    let refusals: Set<String> = ["UnclaimedTensor", "MagnitudeUnexpected", "DiagonalUnexpected", "AmbiguousKey"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil, !subject.typeIsContradicted, let adapter = try? subject.adapter(),
            let method = try? MethodRegistry.method(of: adapter),
            // A method that is only known by its name cannot say which tensors it has.
            !method.configKeys.isEmpty
        else { return [] }
        return adapter.keys.filter { !method.claims($0, of: adapter) }.map { key in
            finding(
                "has no part in this method, and PEFT drops it without a word", file: subject.weights.file,
                tensor: key.stored, help: "remove the tensor, or correct peft_type in adapter_config.json")
        }
    }
}
