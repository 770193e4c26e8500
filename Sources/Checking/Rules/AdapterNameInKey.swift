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

    /// Components that are one Linear: a name stands before `.weight`.
    private static let layers: Set<String> = ["lora_A", "lora_B"]
    /// Components that are one tensor: whatever stands behind them is a name, before `.weight` where it is DoRA's layer.
    private static let parameters: Set<String> = ["lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_diag"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var named = plainNames(in: subject)
        let names = Set(named.map(\.name)).union(["default"])
        let seen = Set(named.map(\.key.stored))
        for key in subject.keys where !seen.contains(key.stored) {
            if let name = AdapterNameInKey.name(in: key, among: names) { named.append((key, name)) }
        }
        guard let first = named.first else { return [] }
        return [
            finding(
                "\(named.count) of \(subject.keys.count) names hold the adapter's name in memory, \"\(first.name.printable)\"",
                file: subject.weights.file, tensor: first.key.stored,
                help: "write it with PEFT's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft")
        ]
    }

    /// The adapter's name behind any component, `modules_to_save` or a prompt's encoder: PEFT's `default`, or one that stands in
    /// the factors. Others could be a submodule's. ShadowPEFT's own files keep it.
    private static func name(in key: AdapterKey, among names: Set<String>) -> String? {
        let parts = key.stored.text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        for (part, next) in zip(parts, parts.dropFirst()) where names.contains(next) {
            guard !part.hasPrefix("shadow_") else { return nil }
            if part == key.component || part == "modules_to_save" || part == "prompt_encoder" { return next }
        }
        return nil
    }

    private func plainNames(in subject: CheckSubject) -> [(key: AdapterKey, name: String)] {
        var named: [(key: AdapterKey, name: String)] = []
        for key in subject.keys {
            guard let component = key.component else { continue }
            let isLayer = AdapterNameInKey.layers.contains(component)
            guard isLayer || AdapterNameInKey.parameters.contains(component) else { continue }
            let parts = key.stored.text.split(separator: ".", omittingEmptySubsequences: false)
            guard let position = parts.lastIndex(where: { $0 == component }) else { continue }
            let rest = parts[(position + 1)...]
            guard let name = rest.first, name != "weight", name != "bias" else { continue }
            if rest.count == 1 ? !isLayer : rest.count == 2 && (rest.last == "weight" || rest.last == "bias") { named.append((key, String(name))) }
        }
        return named
    }
}
