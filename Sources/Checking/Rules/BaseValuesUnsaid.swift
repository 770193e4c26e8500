import Adapters
import ByteAccess
import Checkpoints

/// An adapter of a base in 4 bits, on a base that is not stored so.
struct BaseValuesUnsaid: CheckRule {
    let id = "base-values-unsaid"
    let family = RuleFamily.base
    let severity = Severity.note
    let summary = "The adapter was trained in 4 bits, and the base is not stored so: a merge asks which values are meant."
    let protectsFrom = """
        A QLoRA adapter merged into the 16-bit base, which is not the model that was trained (huggingface/peft issue 2321). Both are \
        legitimate, no file says which is meant, and a merge stops until --base-as does.
        """
    let needs: [RuleNeed] = [.tensors, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let base = subject.options.base, base.quantisation?.problem == nil, let adapter = try? subject.adapter() else { return [] }
        do {
            _ = try BaseValues.unspecified.applied(to: base, adapters: [adapter])
            return []
        } catch let error as PeftfileError where error.rule == BaseValues.rule {
            return [finding(error.message, file: error.file, help: error.help)]
        }
    }
}
