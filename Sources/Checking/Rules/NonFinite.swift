import ByteAccess
import Checkpoints
import Tensors

/// NaN and infinities.
struct NonFinite: CheckRule {
    let id = "nonfinite"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "A tensor holds NaN or Inf, or the update that is made of finite tensors does."
    let protectsFrom = """
        Training that diverged or overflowed half precision. Every loader takes the numbers as they are, and every answer of the \
        model becomes NaN or garbage.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = ["ScalarNotFinite"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let values = try subject.values()
        let stored = zip(subject.weights.checkpoint?.tensors ?? [], values.statistics).compactMap { tensor, statistics -> Finding? in
            guard let statistics, statistics.nanCount + statistics.infinityCount > 0 else { return nil }
            let counts = [(statistics.nanCount, "NaN"), (statistics.infinityCount, "Inf")].filter { $0.0 > 0 }
                .map { "\($0.0) \($0.1)" }
            return finding(
                "holds \(counts.joined(separator: " and ")) among \(tensor.info.elementCount) elements",
                file: subject.weights.file, tensor: tensor.name,
                help: "train again, or publish an earlier checkpoint; all figures: "
                    + "peftfile inspect --stats \(subject.path.shellQuoted)")
        }
        guard stored.isEmpty, let table = try subject.effects() else { return stored }
        // With apply_GS HRA divides by zero where it begins: that is another finding.
        let untouched = Set(try subject.untouched()?.tensors ?? [])
        return table.modules.filter { module in module.isUndefined && !(module.tensor.map(untouched.contains) ?? false) }.map { module in
            finding(
                "is finite, and the update of \"\(module.path.text.printable)\" that its formula makes of it is not: it divides by zero",
                file: subject.weights.file, tensor: module.tensor,
                help: "train again, or publish an earlier checkpoint; all figures: peftfile inspect --stats \(subject.path.shellQuoted)")
        }
    }
}
