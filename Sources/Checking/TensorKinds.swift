import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The tensors that training made, by kind: `vera_lambda_b` of all modules, `lora_up.weight` of all layers of one part of a pipeline.
/// Those of one kind are saved in one dtype.
///
/// Pairs of low-rank factors are one kind together. Beside them a method may keep something else in a dtype of its own: a
/// projection, the length of the base's columns, a table of indices.
struct TensorKinds {
    /// A kind's name and its tensors.
    private(set) var kinds: [(name: String, tensors: [TensorInfo])] = []
    /// Integers, and codes without a scale, where numbers are trained.
    private(set) var integers: [TensorInfo] = []

    init(_ subject: CheckSubject) {
        let pairs = subject.factors.pairs.flatMap(\.factors)
        if !pairs.isEmpty { kinds.append(("factors", pairs.filter(\.dtype.isMergeable))) }
        integers = pairs.filter { !$0.dtype.isMergeable }
        let taken = Set(pairs.map(\.name))
        guard let checkpoint = subject.weights.checkpoint, let adapter = try? subject.adapter() else { return }
        let method = try? MethodRegistry.method(of: adapter)
        var tensors: [String: [TensorInfo]] = [:]
        for (tensor, key) in zip(checkpoint.tensors, subject.keys) where !taken.contains(tensor.name) {
            guard let kind = adapter.dialectName == nil ? TensorKinds.kind(of: key) : TensorKinds.kind(ofForeign: tensor.name.text) else { continue }
            if tensor.dtype.isMergeable {
                tensors[kind, default: []].append(tensor.info)
            } else if let component = key.component, method?.baseSides[component] != nil {
                // Where there is a formula, it refuses them.
                integers.append(tensor.info)
            }
        }
        kinds += tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// The component with what stands behind it, without places in lists; the tensors of a prompt, and the model's biases; nil for what
    /// else was saved whole.
    private static func kind(of key: AdapterKey) -> String? {
        if key.isPrompt { return "prompt" }
        if key.component == nil, key.leaf == "bias" { return "bias" }
        guard let component = key.component, component != "original_module", component != "trainable_tokens_original" else { return nil }
        return ([component] + key.leaf.split(separator: ".").map(String.init).filter { Int($0) == nil }).filter { !$0.isEmpty }
            .joined(separator: ".")
    }

    /// What stands behind a module of another trainer, and the part of a pipeline that stands before it: each is saved by itself.
    private static func kind(ofForeign name: String) -> String {
        let parts = name.split(separator: ".").map(String.init)
        let isNamed = parts.count > 2 && (parts.last == "weight" || parts.last == "bias")
        let end = parts.suffix(isNamed ? 2 : 1).joined(separator: ".")
        // `lora_unet_…` and `text_encoder`; `lycoris_…` is one part.
        let front = parts.first.map { $0.hasPrefix("lycoris_") ? "lycoris" : $0.split(separator: "_").prefix(2).joined(separator: "_") } ?? ""
        return "\(front) \(end)"
    }
}
