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
        F16 ends at 65504: an update that was trained in BF16 or F32 can pass that, the merged weight is Inf, and every answer NaN. \
        Of a large update a sample of rows is merged; the report says which part.
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let looksAtSample = true

    func findings(in subject: CheckSubject) throws -> [Finding] {
        // An adapter that is not finite itself is another rule's.
        guard let sample = try subject.mergeSample(), !sample.overflows.isEmpty,
            try subject.values().statistics.allSatisfy({ ($0?.nanCount ?? 0) + ($0?.infinityCount ?? 0) == 0 })
        else { return [] }
        return sample.overflows.map { entry in
            finding(
                "\(entry.count) of the \(entry.of) weights looked at become infinite in \(entry.dtype.rawValue)",
                file: subject.options.base?.path, tensor: entry.tensor,
                help: "look at the scale: peftfile inspect --stats \(subject.path.shellQuoted)")
        }
    }
}
