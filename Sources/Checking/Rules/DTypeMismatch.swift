import ByteAccess
import Tensors

/// Factors of different or of unusable dtypes.
struct DTypeMismatch: CheckRule {
    let id = "dtype-mismatch"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A tensor is stored in a dtype that holds no trained weights (error), or in another than its like in other modules (warning)."
    let protectsFrom = """
        Integer factors without a scale load as their raw codes. One tensor in half precision among single ones of its kind is a sign of \
        a file put together from two runs.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = [
        "FactorDType", "SavedDType", "PromptDType", "ScalarValue",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let tensors = TensorKinds(subject)
        let integers = tensors.integers.map { info in
            finding(
                "has dtype \(info.dtype.rawValue), and a factor must be F64, F32, F16 or BF16", file: subject.weights.file, tensor: info.name,
                help: "save the adapter in BF16, F16 or F32")
        }
        return integers + tensors.kinds.flatMap { mixed($0.tensors, called: $0.name == "factors" ? "factors" : "tensors of its kind", subject) }
    }

    /// Those of one kind that are of another dtype than most.
    private func mixed(_ tensors: [TensorInfo], called name: String, _ subject: CheckSubject) -> [Finding] {
        let counts = Dictionary(grouping: tensors, by: \.dtype).sorted { ($0.value.count, $0.key.rawValue) > ($1.value.count, $1.key.rawValue) }
        guard let most = counts.first else { return [] }
        return counts.dropFirst().compactMap { dtype, infos in
            infos.first.map { first in
                finding(
                    infos.count == 1
                        ? "is \(dtype.rawValue), and the other \(name) are \(most.key.rawValue)"
                        : "\(infos.count) \(name) are \(dtype.rawValue), and the other \(most.value.count) "
                            + "\(most.key.rawValue); this is the first",
                    severity: .warning, file: subject.weights.file, tensor: first.name, help: "save all \(name) in one dtype")
            }
        }
    }
}
