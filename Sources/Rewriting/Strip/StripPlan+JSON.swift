import Adapters
public import ByteAccess
import Checkpoints
import Tensors

extension StripPlan {
    /// The plan as `strip --dry-run --json` prints it.
    ///
    /// - Parameters:
    ///   - freeBytes: what is free where the output would go; nil where that cannot be told.
    ///   - hashing: whether the receipt is to name the SHA-256 of every file.
    public func json(jobs: Int, freeBytes: UInt64? = nil, hashing: Bool = true) -> JSONValue {
        let receipt = receiptBytes(hashing: hashing)
        return .object([
            "schema": "peftfile.strip/1",
            "warnings": .array(warnings.map { .string($0) }),
            "dry_run": true,
            "plan": .string(id),
            "operation": "strip",
            "options": .object(options),
            "prompts": .array(source.modules.map(\.json)),
            "left_out": .array(leftOut.map { .string($0.text) }),
            "files_left_out": .array(filesLeftOut.map { .string($0) }),
            "bytes_read": .number(JSONNumber(bytesRead)),
            "bytes_written": .number(JSONNumber(bytesWritten + receipt)),
            "receipt_bytes": .number(JSONNumber(receipt)),
            "peak_memory": .number(JSONNumber(peakMemory(jobs: jobs))),
            "free_bytes": freeBytes.map { .number(JSONNumber($0)) } ?? .null,
            "files": .array(files.map { file in
                .object([
                    "name": .string(file.name),
                    "bytes": .number(JSONNumber(file.byteCount)),
                    "tensors": .array(file.tensors.map(StripPlan.json)),
                ])
            }),
        ])
    }

    private static func json(_ tensor: Tensor) -> JSONValue {
        .object([
            "name": .string(tensor.info.name.text),
            "dtype": .string(tensor.info.dtype.rawValue),
            "shape": .array(tensor.info.shape.map { .number(JSONNumber($0)) }),
            "begin": .number(JSONNumber(tensor.info.begin)),
            "end": .number(JSONNumber(tensor.info.end)),
            "computed": .bool({ if case .computed = tensor.content { true } else { false } }()),
        ])
    }
}
