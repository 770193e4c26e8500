import Adapters
import ByteAccess

/// `lora_A.default.weight`.
struct AdapterNameInKey: CheckRule {
    let id = "adapter-name-in-key"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The adapter's name in memory stands in the tensor names."
    let protectsFrom = """
        State dicts that were saved raw instead of by save_pretrained: current PEFT strips the name where it knows it, vLLM \
        (parse_fine_tuned_lora_name in vllm/lora/utils.py) and llama.cpp's converter do not and fail.
        """
    let needs: [RuleNeed] = [.tensors]

    /// Components that are one tensor or one Linear: whatever stands behind them is a name.
    private static let plain: Set<String> = [
        "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_diag",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var named: [(key: AdapterKey, name: String)] = []
        for key in subject.keys {
            guard let component = key.component, AdapterNameInKey.plain.contains(component) else { continue }
            let parts = key.stored.text.split(separator: ".", omittingEmptySubsequences: false)
            guard let position = parts.lastIndex(where: { $0 == component }) else { continue }
            let rest = parts[(position + 1)...]
            if let name = rest.first, name != "weight", name != "bias" { named.append((key, String(name))) }
        }
        guard let first = named.first else { return [] }
        return [
            finding(
                "\(named.count) of \(subject.keys.count) names hold the adapter's name in memory, \"\(first.name.printable)\"",
                file: subject.weights.file, tensor: first.key.stored,
                help: "write it with PEFT's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft")
        ]
    }
}
