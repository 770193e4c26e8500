import Adapters
import ByteAccess

/// A method whose tensors are not the ones in the file.
struct PeftTypeMismatch: CheckRule {
    let id = "peft-type-mismatch"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The tensors are of another method than peft_type names."
    let protectsFrom = """
        PEFT builds the modules of the named method, finds none of their tensors, warns of missing keys and answers with the \
        base model.
        """
    let needs: [RuleNeed] = [.tensors, .config]
    let refusals: Set<String> = ["PeftTypeMismatch", "RetiredFormat"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, let name = config.peftType, subject.typeIsContradicted else { return [] }
        let components = Set(subject.keys.compactMap(\.component)).sorted()
        return [
            finding(
                "peft_type is \"\(name.printable)\", and none of its tensors is in the file, which holds "
                    + components.prefix(4).map(\.printable).joined(separator: ", "), file: config.path,
                help: "correct peft_type in adapter_config.json; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        ]
    }
}
