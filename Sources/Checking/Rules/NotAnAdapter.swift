import Adapters
import ByteAccess

/// Whole models and other files in an adapter's place.
struct NotAnAdapter: CheckRule {
    let id = "not-an-adapter"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "No tensor of the file is one of an adapter."
    let protectsFrom = """
        A whole model saved in the adapter's place, or a file without tensors: PEFT finds none of its keys, warns of missing ones \
        and answers with the base model (DeepSpeed and FSDP checkpoints that were gathered without the adapter's names).
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.holdsNoAdapter else { return [] }
        let count = subject.keys.count
        return [
            finding(
                count == 0 ? "the file holds no tensors" : "none of the \(count) tensors is one of an adapter",
                file: subject.weights.file,
                help: "give the adapter that was trained; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        ]
    }
}
