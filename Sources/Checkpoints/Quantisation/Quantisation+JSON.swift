public import ByteAccess
import Tensors

extension Quantisation {
    /// The position among a checkpoint's tensors of the weight that these codes are of.
    public func position(ofCodes tensor: StoredTensor, in checkpoint: Checkpoint) -> Int? {
        weights.first { $0.codes.name == tensor.name }.flatMap { checkpoint.position(of: $0.name) }
    }

    /// The scheme and its sizes, as `inspect --json` and the receipt have it.
    public var json: JSONValue {
        .object([
            "scheme": .string(scheme),
            "weights": .number(JSONNumber(weights.count)),
            "stored_bytes": .number(JSONNumber(storedBytes)),
            "dequantised_dtype": .string(dtype.rawValue),
            "dequantised_bytes": .number(JSONNumber(plainBytes)),
            "dropped": .array(dropped.map { .string($0.name.text) }),
            "problem": problem.map { .string($0.description) } ?? .null,
        ])
    }
}
