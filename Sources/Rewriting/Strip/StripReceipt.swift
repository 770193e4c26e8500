import Adapters
public import ByteAccess
import Checkpoints
import Containers
import Tensors

/// What a strip leaves behind as proof of what it did: an in-toto Statement v1, as ``Receipt`` is for a merge.
public struct StripReceipt: Sendable {
    private let plan: StripPlan
    private let digests: InputDigests?
    private var subjects: [JSONValue] = []
    private var tensors: [JSONValue] = []
    /// Warnings of the plan and of what the numbers showed.
    public private(set) var warnings: [String]

    /// - Parameter digests: of the source; nil where no hashes are taken.
    init(plan: StripPlan, digests: InputDigests?) {
        self.plan = plan
        self.digests = digests
        warnings = plan.warnings
    }

    mutating func add(subject name: String, digest: String?) {
        subjects.append(
            .object(["name": .string(name), "digest": digest.map { .object(["sha256": .string($0)]) } ?? .object([:])]))
    }

    /// Records a computed tensor, with its exact values before rounding.
    mutating func add(tensor: TensorInfo, values: [Double]) {
        let nonfinite = values.count { !$0.isFinite }
        tensors.append(
            .object([
                "name": .string(tensor.name.text),
                "dtype": .string(tensor.dtype.rawValue),
                "elements": .number(JSONNumber(tensor.elementCount)),
                "nonfinite": .number(JSONNumber(nonfinite)),
            ]))
        if nonfinite > 0 { warnings.append("\(tensor.name.text.printable): \(nonfinite) results are NaN or infinite") }
    }

    /// The document, `peftfile.strip/1`.
    public var document: JSONValue {
        func size(_ size: (parameters: UInt64, bytes: UInt64)) -> JSONValue {
            .object(["parameters": .number(JSONNumber(size.parameters)), "bytes": .number(JSONNumber(size.bytes))])
        }
        var source = Receipt.input(plan.source.checkpoint)
        if case .object(var object) = source {
            object["path"] = .string(plan.source.path)
            source = .object(object)
        }
        let predicate: JSONObject = [
            "tool": .object(["name": "peftfile", "version": .string(Receipt.toolVersion)]),
            "operation": "strip",
            "plan": .string(plan.id),
            "source": digests?.added(to: source) ?? source,
            "options": .object(plan.options),
            "prompts": .array(plan.source.modules.map(\.json)),
            "left_out": .array(plan.leftOut.map { .string($0.text) }),
            "files_left_out": .array(plan.filesLeftOut.map { .string($0) }),
            "tensors": .array(tensors),
            "before": size(plan.before),
            "after": size(plan.after),
        ]
        return .object([
            "_type": "https://in-toto.io/Statement/v1",
            "schema": "peftfile.strip/1",
            "warnings": .array(warnings.map { .string($0) }),
            "subject": .array(subjects),
            "predicateType": .string(Receipt.predicateType),
            "predicate": .object(predicate),
        ])
    }
}
