import ByteAccess

/// Weights without their config.
struct ConfigMissing: CheckRule {
    let id = "config-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "There is no adapter_config.json beside tensors that are named as PEFT names them."
    let protectsFrom = """
        Rank, alpha and the method stand only in the config: PEFT raises "Can't find 'adapter_config.json'", and tools that \
        go on without it have to guess the scale.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard case .missing = subject.config, subject.lacksConfig else { return [] }
        return [
            finding(
                "there is no adapter_config.json", file: subject.directory,
                help: "copy the config that PEFT wrote beside the weights")
        ]
    }
}
