import ByteAccess
import Checkpoints
import Containers

/// Weights that are larger than the policy allows.
struct SizeOverLimit: CheckRule {
    let id = "size-over-limit"
    let family = RuleFamily.policy
    let severity = Severity.error
    let summary = "The files with the weights are larger than the policy's max-size."
    let protectsFrom = """
        A whole model published as an adapter, embeddings saved along by accident, and servers that load adapters on request \
        and run out of memory.
        """
    let needs: [RuleNeed] = [.policy, .tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let limit = subject.options.policy?.maximumSize, let checkpoint = subject.weights.checkpoint else { return [] }
        var size: UInt64 = 0
        for shard in checkpoint.shards { size = size.addingReportingOverflow(shard.file.reader.size).partialValue }
        guard size > limit else { return [] }
        let largest = checkpoint.tensors.max { $0.byteCount < $1.byteCount }
        let name = largest.map { ", of which \($0.byteCount) are \"\($0.name.text.printable)\"" } ?? ""
        return [
            finding(
                "the weights have \(size) bytes\(name), and the policy allows \(limit)", file: subject.weights.file,
                help: "leave out what was not trained, or raise max-size in the policy")
        ]
    }
}
