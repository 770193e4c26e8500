public import ByteAccess
import Checkpoints
import Tensors

extension EquivalenceReport {
    /// The report as the document that `verify --json` prints, `peftfile.verify/1`.
    ///
    /// `schema`, `warnings`, `equivalent`, `tensors` (`name`, `elements`, `max_ulp`, `max_abs`, `mismatched`),
    /// `missing` and `unexpected` are fixed; keys may be added. A number that is NaN or infinite is null.
    public var json: JSONValue {
        var document = JSONObject()
        document["schema"] = "peftfile.verify/1"
        document["warnings"] = .array(warnings.map { .string($0) })
        document["equivalent"] = .bool(isEquivalent)
        document["tensors"] = .array(tensors.map(\.json))
        document["missing"] = .array(missing.map { .string($0.text) })
        document["unexpected"] = .array(unexpected.map { .string($0.text) })
        document["dtype_or_shape"] = .array(disagreements.map(\.json))
        document["config"] = .array(config.map { .string($0.key) })
        document["changed_files"] = .array((files?.changed ?? []).map { .string($0) })
        document["added_files"] = .array((files?.added ?? []).map { .string($0) })
        document["hashed_files"] = files.map { .number(JSONNumber($0.matching)) } ?? .null
        return .object(document)
    }
}

extension EquivalenceReport.Tensor {
    fileprivate var json: JSONValue {
        var object = JSONObject()
        object["name"] = .string(name.text)
        object["elements"] = .number(JSONNumber(elements))
        object["max_ulp"] = maxULP.map { .number(JSONNumber($0)) } ?? .null
        object["max_abs"] = .finite(maxAbs)
        object["mismatched"] = .number(JSONNumber(mismatched))
        object["nonfinite"] = .number(JSONNumber(nonfinite))
        object["kind"] = .string(kind.rawValue)
        object["ambiguous"] = .number(JSONNumber(ambiguous))
        object["accepted_by_library_bound"] = .number(JSONNumber(acceptedByLibraryBound))
        object["first_mismatch"] =
            firstMismatch.map { mismatch in
                [
                    "index": .number(JSONNumber(mismatch.index)), "stored": .finite(mismatch.stored),
                    "expected": .finite(mismatch.expected),
                ]
            } ?? .null
        object["probe"] =
            switch probe {
            case nil: .null
            case .compared(let vectors, let failures, let worst):
                [
                    "vectors": .number(JSONNumber(vectors)), "failures": .number(JSONNumber(failures)),
                    "worst": .finite(worst),
                ]
            case .skipped(let reason): ["skipped": .string(reason)]
            }
        return .object(object)
    }
}

extension EquivalenceReport.Disagreement {
    fileprivate var json: JSONValue {
        func shape(_ shape: Shape) -> JSONValue { .array(shape.map { .number(JSONNumber($0)) }) }
        return [
            "name": .string(name.text), "expected_dtype": .string(expectedDType.rawValue),
            "found_dtype": .string(foundDType.rawValue), "expected_shape": shape(expectedShape),
            "found_shape": shape(foundShape),
        ]
    }
}

extension EquivalenceReport.ConfigMismatch {
    /// The path as one word: `text_config.tie_word_embeddings`.
    public var key: String { path.map(\.text).joined(separator: ".") }
}

extension JSONValue {
    /// A number, or null where there is none, and for NaN and the infinities, which JSON cannot write.
    static func finite(_ value: Double?) -> JSONValue {
        value.flatMap { $0.isFinite ? .number(JSONNumber($0)) : nil } ?? .null
    }
}
