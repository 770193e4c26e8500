import Checkpoints

/// An adapter in several files.
struct ShardedAdapter: CheckRule {
    let id = "sharded-adapter"
    let family = RuleFamily.container
    let severity = Severity.warning
    let summary = "The adapter is split into shards, which PEFT's own loader does not read."
    let protectsFrom = """
        transformers' save_pretrained may shard an adapter; load_peft_weights in peft/utils/save_and_load.py looks for one \
        adapter_model.safetensors or adapter_model.bin and for nothing else.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let checkpoint = subject.weights.checkpoint, checkpoint.index != nil else { return [] }
        return [
            finding(
                "the adapter is split into \(checkpoint.shards.count) files, and PEFT reads one", file: subject.weights.file,
                help: "save it again with a larger max_shard_size")
        ]
    }
}
