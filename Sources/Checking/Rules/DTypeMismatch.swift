import ByteAccess
import Tensors

/// Factors of different or of unusable dtypes.
struct DTypeMismatch: CheckRule {
    let id = "dtype-mismatch"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A factor is stored in a dtype that holds no trained weights (error), or in another than the rest (warning)."
    let protectsFrom = """
        Integer factors without a scale load as their raw codes. One factor in half precision among single ones is a sign of \
        a file put together from two runs.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = [
        "FactorDType", "SavedDType", "PromptDType", "ScalarValue",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result: [Finding] = []
        var byDType: [DType: [TensorInfo]] = [:]
        for pair in subject.factors.pairs {
            for info in pair.factors {
                if info.dtype.isMergeable {
                    byDType[info.dtype, default: []].append(info)
                } else {
                    result.append(
                        finding(
                            "has dtype \(info.dtype.rawValue), and a factor must be F64, F32, F16 or BF16",
                            file: subject.weights.file, tensor: info.name, help: "save the adapter in BF16, F16 or F32"))
                }
            }
        }
        let counts = byDType.sorted { ($0.value.count, $0.key.rawValue) > ($1.value.count, $1.key.rawValue) }
        for (dtype, infos) in counts.dropFirst() {
            guard let first = infos.first, let most = counts.first else { continue }
            result.append(
                finding(
                    infos.count == 1
                        ? "is \(dtype.rawValue), and the other factors are \(most.key.rawValue)"
                        : "\(infos.count) factors are \(dtype.rawValue), and the other \(most.value.count) "
                            + "\(most.key.rawValue); this is the first",
                    severity: .warning, file: subject.weights.file, tensor: first.name,
                    help: "save all factors in one dtype"))
        }
        return result
    }
}
