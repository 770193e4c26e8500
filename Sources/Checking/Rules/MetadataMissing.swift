import ByteAccess
import Checkpoints
import Containers

/// Metadata that the policy asks for and a file does not have.
struct MetadataMissing: CheckRule {
    let id = "metadata-missing"
    let family = RuleFamily.policy
    let severity = Severity.error
    let summary = "The file lacks metadata that the policy asks for, or has another value."
    let protectsFrom = """
        Weights whose origin nobody can tell. Readers that go by a key of it: transformers refuses safetensors files whose \
        metadata has no format (load_state_dict in modeling_utils.py).
        """
    let needs: [RuleNeed] = [.policy, .tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let wanted = subject.options.policy?.metadata, let checkpoint = subject.weights.checkpoint else { return [] }
        return checkpoint.shards.flatMap { shard in
            wanted.compactMap { demand in
                let value = shard.file.metadata?.first { $0.key == demand.key }?.value
                let key = demand.key.text.printable
                if let value {
                    guard let pattern = demand.value, !pattern.matches(value) else { return nil }
                    return finding(
                        "the metadata says \(key)=\(value.printable), and the policy asks for \(pattern.text.printable)",
                        file: shard.file.path, help: "save the adapter again with this metadata")
                }
                return finding(
                    "the metadata has no \"\(key)\", which the policy asks for", file: shard.file.path,
                    help: "save the adapter again with metadata={\"\(key)\": …}")
            }
        }
    }
}
