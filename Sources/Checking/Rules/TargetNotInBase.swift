import Adapters
import ByteAccess

/// Modules that the base does not have.
struct TargetNotInBase: CheckRule {
    let id = "target-not-in-base"
    let family = RuleFamily.base
    let severity = Severity.error
    let summary = "Tensors belong to modules that the base does not have."
    let protectsFrom = """
        The wrong base, or names of another transformers version: PEFT warns of missing keys and answers with the base model, \
        and mergers write the base out again (vllm-project/vllm issue 48019, huggingface/peft issue 1932).
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let refusals: Set<String> = ["MissingTarget", "AmbiguousTarget", "BaseFamily"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        (subject.binding.placement?.missing ?? []).map { entry in
            finding(
                "is for the module \"\(entry.module.text.printable)\", which the base does not have", file: subject.weights.file,
                tensor: entry.tensor, help: "give the base model that the adapter was trained on")
        }
    }
}
