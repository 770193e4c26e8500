import Adapters
import ByteAccess

/// Adapters that no merge can hold.
struct NoMergedForm: CheckRule {
    let id = "no-merged-form"
    let family = RuleFamily.base
    let severity = Severity.note
    let summary = "The adapter has no merged form, so what a merge would do to it is not judged."
    let protectsFrom = """
        Pipelines that merge before they serve: routers, prompts and gates depend on the input, and no weight of the base stands \
        for them (merge_and_unload of PEFT raises, or leaves them out). Names and shapes are held against the base all the same.
        """
    let needs: [RuleNeed] = [.tensors, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard case .unmergeable(let refusal, _) = subject.binding else { return [] }
        return [finding(refusal.message, file: refusal.file, tensor: refusal.tensor, help: refusal.help)]
    }
}
