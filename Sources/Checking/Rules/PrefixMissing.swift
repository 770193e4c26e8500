import Adapters
import ByteAccess

/// Names without `base_model.model.`.
struct PrefixMissing: CheckRule {
    let id = "prefix-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The config is PEFT's, and tensor names lack base_model.model."
    let protectsFrom = """
        PEFT adds the prefix to what it looks for and loads none of these tensors; the model answers as the base does \
        (vllm-project/vllm issue 34186, volcengine/verl issue 7285).
        """
    let needs: [RuleNeed] = [.tensors, .config]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil else { return [] }
        let bare = subject.keys.filter { !$0.hadPrefix && !$0.isPrompt && $0.component != nil }
        guard let first = bare.first else { return [] }
        return [
            finding(
                "\(bare.count) of \(subject.keys.count) names do not begin with base_model.model., and PEFT loads none of "
                    + "them", file: subject.weights.file, tensor: first.stored,
                help: "put base_model.model. before every name, or save the adapter with save_pretrained")
        ]
    }
}
