import Adapters
import ByteAccess

/// A base that the policy does not list.
struct BaseNotAllowed: CheckRule {
    let id = "base-not-allowed"
    let family = RuleFamily.policy
    let severity = Severity.error
    let summary = "The config names another base model than the policy's bases, or none."
    let protectsFrom = """
        An adapter for a model that is not served, or whose licence does not allow it: it loads on every base of the same \
        shapes and answers with nonsense.
        """
    let needs: [RuleNeed] = [.policy]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let bases = subject.options.policy?.bases else { return [] }
        let list = bases.map(\.text.printable).joined(separator: ", ")
        let file = subject.config.config == nil ? nil : subject.configPath
        guard let base = subject.config.config?.baseModel else {
            return [finding("no base model is named, and the policy allows \(list)", file: file, help: "set base_model_name_or_path")]
        }
        guard !bases.contains(where: { $0.matches(base) }) else { return [] }
        return [
            finding(
                "the base is \"\(base.printable)\", and the policy allows \(list)", file: file,
                help: "correct base_model_name_or_path, or add the base to the policy")
        ]
    }
}
