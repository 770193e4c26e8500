import ByteAccess
import Checkpoints
import Tensors

/// Values that no training leaves.
struct SuspiciousScale: CheckRule {
    let id = "suspicious-scale"
    let family = RuleFamily.numerics
    let severity = Severity.warning
    let summary = "The update is so large that a merged weight would overflow half precision."
    let protectsFrom = """
        A scale applied twice, a diverged run, or bytes of another dtype read as floats: the merged weight becomes Inf in F16, \
        and nothing of the base is left in any dtype.
        """
    let needs: [RuleNeed] = [.tensors]

    /// The largest F16, (2 − 2⁻¹⁰) · 2¹⁵.
    static let limit = 65504.0

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let values = try subject.values()
        guard let checkpoint = subject.weights.checkpoint else { return [] }
        func largest(_ name: ExactString) -> Double {
            guard let position = checkpoint.position(of: name), let statistics = values.statistics[position],
                statistics.count > 0
            else { return 0 }
            return max(abs(statistics.minimum), abs(statistics.maximum))
        }
        let scales = subject.scales
        var result: [Finding] = []
        for pair in subject.factors.pairs where pair.isLowRank {
            guard let a = pair.a, let b = pair.b else { continue }
            let scale = abs(scales[pair.module] ?? 1)
            let (one, other) = (largest(a.name), largest(b.name))
            // One term of the sum that makes an element; a bound it is not, but no trained adapter comes near.
            let term = one * other * scale
            guard term > SuspiciousScale.limit else { continue }
            let (culprit, size) = one > other ? (a, one) : (b, other)
            result.append(
                finding(
                    "has values up to \(Figure.number(size)); with its partner's and the scale the update reaches "
                        + "\(Figure.number(term)), and F16 ends at 65504", file: subject.weights.file, tensor: culprit.name,
                    help: "look for a scale that was applied twice; all figures: "
                        + "peftfile inspect --stats \(subject.path.shellQuoted)"))
        }
        return result
    }
}
