import Adapters
import ByteAccess

/// A config that does not name its method.
struct PeftTypeMissing: CheckRule {
    let id = "peft-type-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The config has no peft_type, and the tensors are named as PEFT names them."
    let protectsFrom = "PEFT raises KeyError: 'peft_type'; other loaders take the adapter for a LoRA."
    let needs: [RuleNeed] = [.config]
    let refusals: Set<String> = ["PeftTypeMissing"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, config.peftType == nil,
            config["peft_type"] != nil || subject.dialect == .peft || hasPromptOfPEFT(subject, config)
        else { return [] }
        let likely = (try? subject.adapter()).flatMap(MethodRegistry.likelyType(of:))
        return [
            finding(
                config["peft_type"] == nil ? "the config has no peft_type" : "the config's peft_type is no text", file: config.path,
                help: "add the method's name to adapter_config.json" + (likely.map { ", by the tensors \"peft_type\": \"\($0)\"" } ?? ""))
        ]
    }

    /// Whether the config counts virtual tokens and the file has a prompt by PEFT's name; other libraries have neither.
    private func hasPromptOfPEFT(_ subject: CheckSubject, _ config: AdapterConfig) -> Bool {
        config["num_virtual_tokens"] != nil && subject.keys.contains { $0.stored.text == "prompt_embeddings" }
    }
}
