import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension Verifier {
    /// Holds the result's config.json against the values that must change with the weights.
    ///
    /// A bare file has no config of its own, whatever lies beside it; then the report only says what its config needs.
    func compareConfig(_ report: inout EquivalenceReport) {
        var changes = configChanges
        if let dtype {
            for key: ExactString in ["dtype", "torch_dtype"] where base.config?[key] != nil {
                changes.append(.init(path: [key], value: .string(Verifier.torchName(dtype))))
            }
        }
        guard !changes.isEmpty else { return }
        guard let config = result.config, result.directory != nil else {
            let needs = changes.map { change in
                "\(change.path.map(\.text).joined(separator: ".")) = \(change.value.serialized(indent: nil))"
            }
            report.warnings.append(
                "the result has no config.json of its own to check; it needs \(needs.joined(separator: ", "))")
            return
        }
        for change in changes {
            var found: JSONValue? = .object(config)
            for key in change.path { found = found?[key] }
            if found != change.value {
                report.config.append(.init(path: change.path, expected: change.value, found: found))
            }
        }
    }

    /// The names that transformers' configs use.
    private static func torchName(_ dtype: DType) -> String {
        switch dtype {
        case .f64: "float64"
        case .f32: "float32"
        case .f16: "float16"
        case .bf16: "bfloat16"
        default: dtype.rawValue
        }
    }
}
