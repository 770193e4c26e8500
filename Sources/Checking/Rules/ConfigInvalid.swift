import ByteAccess

/// A config that cannot be read, or holds what cannot be.
struct ConfigInvalid: CheckRule {
    let id = "config-invalid"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "adapter_config.json is no JSON object, or a value in it is of the wrong kind."
    let protectsFrom = "Half-written and hand-edited configs: loaders fail with an exception of their JSON library, or take a default."
    let refusals: Set<String> = [
        "ConfigValue", "DuplicateKey", "ModulePattern", "LayerReplication", "BlockDiagonal", "TokenIndices",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard case .unreadable(let error) = subject.config else { return [] }
        return [
            finding(
                "the config cannot be read: \(error.message)", file: error.file, offset: error.offset,
                help: error.help ?? "copy the config that PEFT wrote")
        ]
    }
}
