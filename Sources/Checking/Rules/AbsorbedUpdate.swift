import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Updates below the base's rounding step.
struct AbsorbedUpdate: CheckRule {
    let id = "absorbed-update"
    let family = RuleFamily.numerics
    let severity = Severity.warning
    let summary = "A merge into the base's dtype would lose the update: nearly all of it (warning), or the larger part (note)."
    let protectsFrom = """
        BF16 keeps 8 bits: what is less than half a step of the base's weight is rounded away, and the merged model answers like \
        the base (huggingface/peft issue 1388, mlx-examples issue 832, torchtune issue 1101). Unmerged nothing is lost. Of a \
        large update a sample of rows is merged; the report says which part.
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let looksAtSample = true

    /// Shares of changed elements that come back as they were.
    static let noteFrom = 0.5
    static let warnFrom = 0.95

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let sample = try subject.mergeSample(), sample.elements > 0, sample.lostShare >= AbsorbedUpdate.noteFrom
        else { return [] }
        let base = subject.options.base.map { $0.path.shellQuoted } ?? "BASE"
        return [
            finding(
                "merged into \(sample.dtype?.rawValue ?? "the base's dtype"), \(Figure.percent(sample.lostShare)) of the "
                    + "elements that the update changes are rounded back (looked at \(sample.extent))",
                severity: sample.lostShare >= AbsorbedUpdate.warnFrom ? .warning : .note, file: subject.weights.file,
                help: "serve it unmerged, or merge it into F32: peftfile merge \(base) \(subject.path.shellQuoted) -o merged "
                    + "--dtype F32")
        ]
    }
}
