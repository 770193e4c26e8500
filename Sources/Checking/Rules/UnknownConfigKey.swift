import Adapters
import ByteAccess

/// A config key that nobody knows.
struct UnknownConfigKey: CheckRule {
    let id = "unknown-config-key"
    let family = RuleFamily.config
    let severity = Severity.warning
    let summary = "The config has a key with a value that the method does not know."
    let protectsFrom = """
        A misspelt key, or one of a newer PEFT: older versions drop it with a warning ("Unexpected keyword arguments", \
        PeftConfigMixin.from_peft_type in peft/config.py) and compute something else.
        """
    let needs: [RuleNeed] = [.config]
    let refusals: Set<String> = ["UnknownConfigKey"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, let name = config.peftType,
            let method = MethodRegistry.method(named: name), !method.configKeys.isEmpty,
            !subject.typeIsContradicted
        else { return [] }
        return config.unknownKeys(beside: method.configKeys).map { key in
            finding(
                "the config key \"\(key.text.printable)\" is unknown for this method", file: config.path,
                help: "correct or remove the key, or use a newer peftfile")
        }
    }
}
