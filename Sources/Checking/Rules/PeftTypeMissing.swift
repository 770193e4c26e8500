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
        guard let config = subject.config.config, config.peftType == nil, subject.dialect == .peft else { return [] }
        return [
            finding(
                config["peft_type"] == nil ? "the config has no peft_type" : "the config's peft_type is no text", file: config.path,
                help: "add the method's name to adapter_config.json"
                    + (likely(subject).map { ", by the tensors \"peft_type\": \"\($0)\"" } ?? ""))
        ]
    }

    /// The first method that knows every tensor.
    private func likely(_ subject: CheckSubject) -> String? {
        guard let adapter = try? subject.adapter() else { return nil }
        let method = MethodRegistry.methods.first { method in
            adapter.keys.contains { $0.component != nil } && adapter.keys.allSatisfy { method.claims($0, of: adapter) }
        }
        return method?.peftTypes.first
    }
}
