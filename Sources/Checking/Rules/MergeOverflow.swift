import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Merges beyond the base's dtype.
struct MergeOverflow: CheckRule {
    let id = "merge-overflow"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "A merge into the base's dtype makes finite weights infinite."
    let protectsFrom = """
        F16 ends at 65504: an update that was trained in BF16 or F32 can pass that, the merged weight is Inf, and every answer NaN.
        """
    let needs: [RuleNeed] = [.tensors, .config, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let sample = try subject.mergeSample() else { return [] }
        return sample.overflows.map { entry in
            finding(
                "\(entry.count) of the weights looked at become infinite in \(sample.dtype?.rawValue ?? "the base's dtype")",
                file: subject.options.base?.path, tensor: entry.tensor,
                help: "look at the scale: peftfile inspect --stats \(subject.path.shellQuoted)")
        }
    }
}
