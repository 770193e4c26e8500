import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// What the conversion of an adapter leaves behind as proof of what it did: an in-toto Statement v1, as ``Receipt`` is for
/// a merge. `Formats/receipt.md` describes every key.
struct ConversionReceipt {
    private let conversion: AdapterConversion
    private var subjects: [JSONValue] = []

    init(_ conversion: AdapterConversion) { self.conversion = conversion }

    /// - Parameter digest: the SHA-256 in hex; nil where none was taken.
    mutating func add(subject name: String, digest: String?) {
        subjects.append(
            .object(["name": .string(name), "digest": digest.map { .object(["sha256": .string($0)]) } ?? .object([:])]))
    }

    /// The document, `peftfile.convert/1`.
    ///
    /// - Throws: what reading the adapter for its SHA-256 throws.
    func document() throws -> JSONValue {
        let predicate: JSONObject = [
            "tool": .object(["name": "peftfile", "version": .string(Receipt.toolVersion)]),
            "operation": "convert",
            "bases": .array(conversion.options.bases.map(ConversionReceipt.base)),
            "adapters": .array([try InputDigests(of: conversion.adapter).added(to: Receipt.adapter(conversion.adapter))]),
            "options": .object(options),
            "tensors": .sequence { [outputs = conversion.outputs] add in
                for output in outputs {
                    add([
                        "name": .string(output.name.text), "dtype": .string(output.dtype.rawValue),
                        "elements": .number(JSONNumber(output.shape.elementCount ?? 0)),
                    ])
                }
            },
            "set_aside": .array(
                conversion.setAside.map { ["tensor": .string($0.tensor.text), "reason": .string($0.reason)] }),
            "left_out": .array(
                conversion.leftOut.map { ["tensor": .string($0.tensor.text), "component": .string($0.component)] }),
            "notes": .array(conversion.notes.map { .string($0) }),
        ]
        return [
            "_type": "https://in-toto.io/Statement/v1",
            "schema": "peftfile.convert/1",
            "warnings": .array(conversion.warnings.map { .string($0) }),
            "subject": .array(subjects),
            "predicateType": .string(Receipt.predicateType),
            "predicate": .object(predicate),
        ]
    }

    private var options: JSONObject {
        let (options, binding) = (conversion.options, conversion.options.binding)
        var object: JSONObject = [
            "to": .string(conversion.target.rawValue), "as": options.componentName.map { .string($0) } ?? .null,
            "component": binding.component.map { .string($0) } ?? .null,
            "scale": binding.scale.map { .number(JSONNumber($0)) } ?? .null,
            "orientation": .string(binding.orientation.rawValue),
            "enable_lora": .array(binding.enableLoRA.map { .bool($0) }),
            "expert_order": binding.expertOrder.map { .string($0.rawValue) } ?? .null,
            "square_orientation": binding.squareOrientation.map { .string($0.rawValue) } ?? .null,
        ]
        object["architecture"] = options.gguf?.facts.architecture.map { .string($0.name) } ?? .null
        object["heads"] =
            options.gguf?.facts.heads.map { .array([.number(JSONNumber($0.query)), .number(JSONNumber($0.key))]) } ?? .null
        object["round_scale"] = .bool(options.gguf?.roundsScale ?? false)
        object["for"] = options.loader.map { .string($0.rawValue) } ?? .null
        return object
    }

    private static func base(_ base: PipelineBase) -> JSONValue {
        guard case .object(var object) = Receipt.input(base.checkpoint) else { return .null }
        object["component"] = base.component.map { .string($0) } ?? .null
        return .object(object)
    }
}
