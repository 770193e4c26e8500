import ByteAccess
import Checkpoints
import Tensors

/// NaN and infinities.
struct NonFinite: CheckRule {
    let id = "nonfinite"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "A tensor holds NaN or Inf."
    let protectsFrom = """
        Training that diverged or overflowed half precision. Every loader takes the numbers as they are, and every answer of the \
        model becomes NaN or garbage.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let values = try subject.values()
        return zip(subject.weights.checkpoint?.tensors ?? [], values.statistics).compactMap { tensor, statistics in
            guard let statistics, statistics.nanCount + statistics.infinityCount > 0 else { return nil }
            let counts = [(statistics.nanCount, "NaN"), (statistics.infinityCount, "Inf")].filter { $0.0 > 0 }
                .map { "\($0.0) \($0.1)" }
            return finding(
                "holds \(counts.joined(separator: " and ")) among \(tensor.info.elementCount) elements",
                file: subject.weights.file, tensor: tensor.name,
                help: "train again, or publish an earlier checkpoint; all figures: "
                    + "peftfile inspect --stats \(subject.path.shellQuoted)")
        }
    }
}
