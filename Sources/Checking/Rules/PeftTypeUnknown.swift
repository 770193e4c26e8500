import Adapters
import ByteAccess

/// A method that does not exist.
struct PeftTypeUnknown: CheckRule {
    let id = "peft-type-unknown"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "peft_type names no method that PEFT has."
    let protectsFrom = "PEFT raises KeyError for the name. A method that is newer than this tool is reported as well."
    let needs: [RuleNeed] = [.config]
    let refusals: Set<String> = ["PeftTypeUnknown"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, let name = config.peftType, MethodRegistry.method(named: name) == nil
        else { return [] }
        return [
            finding(
                MethodRegistry.unknown(name), file: config.path,
                help: "correct peft_type in adapter_config.json, or use a newer peftfile")
        ]
    }
}
