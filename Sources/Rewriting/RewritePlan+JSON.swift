public import Adapters
public import ByteAccess
import Containers
import Tensors

extension RewritePlan {
    /// The plan as `merge --dry-run --json` prints it.
    ///
    /// - Parameters:
    ///   - freeBytes: what is free where the output would go; nil where that cannot be told.
    ///   - hashing: whether the receipt is to name the SHA-256 of every file.
    public func json(jobs: Int, freeBytes: UInt64? = nil, hashing: Bool = true) -> JSONValue {
        let receipt = receiptBytes(hashing: hashing)
        return .object([
            "schema": .string("peftfile.\(operation)/1"),
            "warnings": .array(warnings.map { .string($0) }),
            "dry_run": true,
            "plan": .string(id),
            "bytes_read": .number(JSONNumber(bytesRead)),
            "bytes_written": .number(JSONNumber(bytesWritten + receipt)),
            "receipt_bytes": .number(JSONNumber(receipt)),
            "peak_memory": .number(JSONNumber(peakMemory(jobs: jobs))),
            "free_bytes": freeBytes.map { .number(JSONNumber($0)) } ?? .null,
            "options": .object(options),
            "files": .array(
                files.map { file in
                    .object([
                        "name": .string(file.name),
                        "bytes": .number(JSONNumber(file.byteCount)),
                        "tensors": .array(file.tensors.map(RewritePlan.json)),
                    ])
                }),
            "sidecars": .array(
                sidecars.map {
                    .object([
                        "name": .string($0.name), "from": .string($0.origin), "bytes": .number(JSONNumber($0.byteCount)),
                    ])
                }),
        ])
    }

    private static func json(_ tensor: Tensor) -> JSONValue {
        .object([
            "name": .string(tensor.info.name.text),
            "dtype": .string(tensor.typeName),
            "shape": .array(tensor.info.shape.unsignedDimensions.map { .number(JSONNumber(UInt64($0))) }),
            "begin": .number(JSONNumber(tensor.info.begin)),
            "end": .number(JSONNumber(tensor.info.end)),
            "what": .string(tensor.summary),
        ])
    }
}

extension RewritePlan.Tensor {
    /// What happens to the tensor, in a few words.
    public var summary: String {
        guard let encoding else { return recipe.summary }
        return recipe.changesValues ? recipe.summary.replacing("dequantised to F64", with: "written as \(encoding.type.name)")
            : "written as \(encoding.type.name)"
    }
}

extension TensorRecipe {
    /// What happens to the tensor, in a few words.
    public var summary: String {
        var parts: [String] = []
        switch source {
        case .base(let stored): if stored != name { parts.append("copy of \(stored)") }
        case .adapter: parts.append("replaced by the adapter's")
        }
        if !rowReplacements.isEmpty { parts.append("\(rowReplacements.reduce(0) { $0 + $1.rows.count }) rows replaced") }
        if !transforms.isEmpty { parts.append("transformed") }
        var lowRank = 0
        for placed in updates {
            switch placed.update {
            case .lowRank: lowRank += 1
            case .dense: parts.append("vector added")
            case .computed: if !parts.contains("computed update") { parts.append("computed update") }
            case .decomposed(let decomposition, _, _): parts.append(decomposition.name)
            case .composed: parts.append("bottleneck folded in")
            }
        }
        if lowRank > 0 { parts.append("low-rank update" + (lowRank > 1 ? " ×\(lowRank)" : "")) }
        if !magnitudes.isEmpty { parts.append("magnitude") }
        if isDequantised {
            parts.append("dequantised to \(dtype.rawValue)")
        } else if sourceDType != dtype {
            parts.append("\(sourceDType.rawValue) to \(dtype.rawValue)")
        }
        return parts.isEmpty ? "copy" : parts.joined(separator: ", ")
    }
}
