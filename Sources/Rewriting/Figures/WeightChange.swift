public import ByteAccess
public import Tensors

/// How much of one tensor of the base a merge changes: the update against the weight, and what rounding leaves of it.
public struct WeightChange: Sendable {
    /// The output tensor's name.
    public var name: ExactString
    /// The dtype that the result is rounded to.
    public var dtype: DType
    /// How many elements it has.
    public var elements: Int
    /// ‖W‖_F of the base's tensor.
    public var baseNorm: Double
    /// The update's norm, and what rounding leaves of it.
    public var statistics: UpdateStatistics

    /// ‖ΔW‖_F / ‖W‖_F; nil where W is zero.
    public var relative: Double? { baseNorm > 0 ? statistics.norm / baseNorm : nil }

    /// The share of the elements with an update that are stored with another value than the base's; nil without an update.
    public var survivingShare: Double? {
        statistics.updated > 0 ? 1 - Double(statistics.unchanged) / Double(statistics.updated) : nil
    }

    /// The module whose tensor it is: the name without `.weight`.
    public var module: String {
        name.text.hasSuffix(".weight") ? String(name.text.dropLast(".weight".count)) : name.text
    }

    /// An element of `changes` of `inspect --json`.
    public var json: JSONValue {
        .object([
            "tensor": .string(name.text),
            "dtype": .string(dtype.rawValue),
            "elements": .number(JSONNumber(elements)),
            "base_norm": Receipt.figure(baseNorm),
            "update_norm": Receipt.figure(statistics.norm),
            "relative_update": relative.map { Receipt.figure($0) } ?? .null,
            "updated": .number(JSONNumber(statistics.updated)),
            "unchanged": .number(JSONNumber(statistics.unchanged)),
            "surviving_share": survivingShare.map { Receipt.figure($0) } ?? .null,
            "update_survival": statistics.survival.map { Receipt.figure($0) } ?? .null,
            "nonfinite": .number(JSONNumber(statistics.nonfinite)),
        ])
    }
}
