import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Tensors without elements.
struct EmptyTensor: CheckRule {
    let id = "empty-tensor"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A trained tensor has no elements."
    let protectsFrom = """
        Checkpoints of DeepSpeed ZeRO-3 that were saved without gathering: every parameter is a placeholder of size 0 \
        (huggingface/peft issues 2892, 2450).
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let adapter = try? subject.adapter()
        let method = adapter.flatMap { try? MethodRegistry.method(of: $0) }
        func isMeant(_ tensor: StoredTensor) -> Bool {
            guard let adapter, let key = adapter.keys.first(where: { $0.stored == tensor.name }) else { return false }
            return method?.isEmptyByDesign(key, of: adapter) == true
        }
        return (subject.weights.checkpoint?.tensors ?? []).filter {
            $0.info.elementCount == 0 && !isMeant($0)
        }.map { tensor in
            finding(
                "has shape \(tensor.shape.unsignedDimensions), no elements", file: subject.weights.file, tensor: tensor.name,
                help: "gather the shards before saving (ZeRO-3, FSDP)")
        }
    }
}
