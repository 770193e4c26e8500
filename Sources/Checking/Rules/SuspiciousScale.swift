import Adapters
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
            result.append(oversized(subject, culprit.name, size, term))
        }
        return result + sums(subject, largest, without: Set(subject.factors.pairs.filter(\.isLowRank).flatMap(\.factors).map(\.name)))
    }

    /// The same of any other sum that a formula adds to a weight, by the largest number of each tensor in it, in every dialect.
    private func sums(_ subject: CheckSubject, _ largest: (ExactString) -> Double, without seen: Set<ExactString>) -> [Finding] {
        guard let effects = try? subject.stated() else { return [] }
        func size(_ tensor: ExactString) -> Double { effects.adapter.storedTensors(of: tensor).map(largest).max() ?? 0 }
        return effects.modules.compactMap { module in
            for case .add(let expression, let scale) in module.changes {
                let tensors = expression.factors.map(\.tensor)
                guard !tensors.contains(where: { !effects.adapter.storedTensors(of: $0).allSatisfy { !seen.contains($0) } }),
                    let term = SuspiciousScale.term(expression, size), term * abs(scale) > SuspiciousScale.limit,
                    let culprit = tensors.max(by: { size($0) < size($1) }), let stored = effects.adapter.storedTensors(of: culprit).max(by: { largest($0) < largest($1) })
                else { continue }
                return oversized(subject, stored, size(culprit), term * abs(scale))
            }
            return nil
        }
    }

    /// One term of what makes an element, by the largest numbers; nil where the formula does more than add and multiply.
    private static func term(_ expression: MatrixExpression, _ size: (ExactString) -> Double) -> Double? {
        func both(_ left: MatrixExpression, _ right: MatrixExpression, _ join: (Double, Double) -> Double) -> Double? {
            guard let left = term(left, size), let right = term(right, size) else { return nil }
            return join(left, right)
        }
        switch expression {
        case .stored(let factor): return size(factor.tensor) * (factor.diagonal.map(size) ?? 1)
        case .product(let left, let right), .batched(let left, let right, _), .blockwise(let left, let right, _),
            .kronecker(let left, let right), .elementwise(.product, let left, let right):
            return both(left, right, *)
        case .elementwise(.sum, let left, let right), .elementwise(.difference, let left, let right): return both(left, right, max)
        case .scaled(let inner, let number): return term(inner, size).map { $0 * abs(number) }
        case .transposed(let inner), .selected(let inner, _, _), .rearranged(let inner, _, _, _), .scattered(let inner, _, _, _):
            return term(inner, size)
        case .stacked(let parts): return parts.reduce(0) { largest, part in largest.flatMap { one in term(part, size).map { max(one, $0) } } }
        default: return nil
        }
    }

    private func oversized(_ subject: CheckSubject, _ tensor: ExactString, _ size: Double, _ term: Double) -> Finding {
        finding(
            "has values up to \(Figure.number(size)); with its partner's and the scale the update reaches "
                + "\(Figure.number(term)), and F16 ends at 65504", file: subject.weights.file, tensor: tensor,
            help: "look for a scale that was applied twice; all figures: "
                + "peftfile inspect --stats \(subject.path.shellQuoted)")
    }
}
