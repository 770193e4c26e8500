public import ByteAccess
import Checkpoints
import Tensors

/// A prompt in the terms of those who trained it: virtual tokens, layers, heads, and what stripping saves.
public struct PromptSummary: Sendable {
    /// The prompt.
    public let module: PromptModule
    /// Layers that a prefix is for; nil for input embeddings, and where nothing tells.
    public let layers: Int?
    /// Key/value heads, and the width of each.
    public let heads: Int?
    /// The width of one attention head of a key or value; nil where it is not known.
    public let headWidth: Int?
    /// Elements and bytes of the stored tensors.
    public let before: (parameters: UInt64, bytes: UInt64)
    /// The same of the prompt alone.
    public let after: (parameters: UInt64, bytes: UInt64)

    init(_ module: PromptModule, in checkpoint: Checkpoint) {
        self.module = module
        let facts = try? PromptFacts(of: module.config)
        if module.kind.isKeyValue, let width = module.width, width % 2 == 0 {
            let fromWidth = (module.slots?.width ?? facts?.tokenWidth).flatMap { width / 2 % $0 == 0 ? width / 2 / $0 : nil }
            layers = (facts?.layers).flatMap { width / 2 % $0 == 0 ? $0 : nil } ?? fromWidth
            let slot = layers.map { width / 2 / $0 }
            heads = (facts?.heads).flatMap { heads in slot.flatMap { $0 % heads == 0 ? heads : nil } }
            headWidth = heads.flatMap { heads in slot.map { $0 / heads } }
        } else {
            (layers, heads, headWidth) = (nil, nil, nil)
        }
        let stored = module.tensors.compactMap { checkpoint[$0] }
        before = stored.reduce((0, 0)) { ($0.0 + UInt64($1.info.elementCount), $0.1 + $1.byteCount) }
        var result = (UInt64(module.elements), UInt64(module.elements) * UInt64(module.dtype.bits / 8))
        for name in [module.factors?.columns, module.factors?.rows].compactMap({ $0 }) {
            guard let tensor = checkpoint[name] else { continue }
            result = (result.0 + UInt64(tensor.info.elementCount), result.1 + tensor.byteCount)
        }
        after = result
    }

    /// Bytes that stripping saves.
    public var savedBytes: UInt64 { before.bytes > after.bytes ? before.bytes - after.bytes : 0 }

    /// What goes wrong with adapters of this kind after they were saved.
    public var warnings: [String] {
        guard module.isPEFT, module.kind == .encoder, !module.isReparametrized, let config = module.config else { return [] }
        var result: [String] = []
        let isInference = (try? config.flag("inference_mode")) ?? false
        result.append(
            isInference
                ? "this is the encoder's output: loaded with is_trainable=True, PEFT puts it into the input embedding of a "
                    + "new encoder, so training does not resume from it"
                : "inference_mode is not true: PEFT puts this output of the encoder into the input embedding of a new, "
                    + "untrained encoder; set inference_mode to true")
        let dropout = (try? config.number("encoder_dropout")) ?? 0
        if config["encoder_reparameterization_type"]?.stringValue == "LSTM", dropout > 0 {
            result.append(
                "encoder_dropout is \(config["encoder_dropout"]?.serialized() ?? ""): saved while the model was in training "
                    + "mode, the LSTM's dropout is baked into the prompt; the training state has it without")
        }
        return result
    }

    /// The same as JSON, for `inspect --json`.
    public var json: JSONValue {
        guard case .object(var object) = module.json else { return .null }
        func number(_ value: Int?) -> JSONValue { value.map { .number(JSONNumber($0)) } ?? .null }
        func size(_ size: (parameters: UInt64, bytes: UInt64)) -> JSONValue {
            .object(["parameters": .number(JSONNumber(size.parameters)), "bytes": .number(JSONNumber(size.bytes))])
        }
        object["layers"] = number(layers)
        object["heads"] = number(heads)
        object["head_dim"] = number(headWidth)
        object["before"] = size(before)
        object["after"] = size(after)
        object["saved_bytes"] = .number(JSONNumber(savedBytes))
        return .object(object)
    }
}

extension PromptModule {
    /// What receipts say of a prompt.
    public var json: JSONValue {
        .object([
            "form": .string(form),
            "kind": .string(kind.isKeyValue ? "prefix" : "prompt"),
            "root": .string(root),
            "reparametrized": .bool(isReparametrized),
            "formula": .string(formula.text),
            "virtual_tokens": tokens.map { .number(JSONNumber($0)) } ?? .null,
            "width": width.map { .number(JSONNumber($0)) } ?? .null,
            "tasks": factors.map { .number(JSONNumber($0.tasks)) } ?? .null,
            "tensors": .array(tensors.map { .string($0.text) }),
        ])
    }
}
