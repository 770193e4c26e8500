import Adapters
import ByteAccess

/// `base_model.model.base_model.model.`.
struct PrefixDoubled: CheckRule {
    let id = "prefix-doubled"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "Tensor names begin with base_model.model. twice."
    let protectsFrom = """
        A PeftModel that was wrapped or saved twice: PEFT loads none of these tensors, says so only in a warning, and answers \
        with the base model.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let doubled = subject.keys.filter { $0.hadPrefix && $0.module.text.hasPrefix("base_model.model.") }
        guard let first = doubled.first else { return [] }
        return [
            finding(
                "\(doubled.count) of \(subject.keys.count) names begin with base_model.model. twice, and PEFT loads none of "
                    + "them", file: subject.weights.file, tensor: first.stored,
                help: "write it with PEFT's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft")
        ]
    }
}
