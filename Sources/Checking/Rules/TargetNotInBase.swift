import Adapters
import ByteAccess

/// Modules that the base does not have.
struct TargetNotInBase: CheckRule {
    let id = "target-not-in-base"
    let family = RuleFamily.base
    let severity = Severity.error
    let summary = "Tensors belong to modules that the base does not have, or are frozen weights and not the base's."
    let protectsFrom = """
        The wrong base, or names of another transformers version: PEFT warns of missing keys and answers with the base model, \
        and mergers write the base out again (vllm-project/vllm issue 48019, huggingface/peft issue 1932). A training state that holds the whole model shows by its frozen weights which base \
        it was, and whether they were trained too.
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let refusals: Set<String> = ["MissingTarget", "AmbiguousTarget", "BaseFamily", "FrozenWeight", "ModelMismatch"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        // Whatever else is wrong with a training state, its names among it, this is another matter.
        if case .refused(let error) = subject.binding, error.rule == "FrozenWeight" {
            return [finding(error.message, file: subject.weights.file, tensor: error.tensor, help: error.help)]
        }
        return (subject.binding.placement?.missing ?? []).map { entry in
            finding(
                "is for the module \"\(entry.module.text.printable)\", which the base does not have", file: subject.weights.file,
                tensor: entry.tensor, help: "give the base model that the adapter was trained on")
        }
    }
}
