import ByteAccess
import Checkpoints
import Tensors

/// A base of stored codes.
struct QuantisedBase: CheckRule {
    let id = "quantised-base"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The base is quantised: a merge dequantises it, or its codes cannot be read."
    let protectsFrom = """
        An update added to raw codes, or lost when the sum is quantised again (axolotl issue 3771, mlx-lm issues 1564 and 654, \
        huggingface/peft issue 2321), and a merged model that is several times as large as its base. Served unmerged the adapter is \
        right, if it was trained on the same codes.
        """
    let needs: [RuleNeed] = [.base]
    let refusals: Set<String> = ["BaseDType"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let base = subject.options.base, let quantisation = base.quantisation else { return [] }
        if let problem = quantisation.problem {
            return [
                finding(
                    "the base is stored in codes that cannot be read: \(problem.message)", severity: .note, file: base.path,
                    help: problem.help ?? "serve the adapter unmerged, or merge it into the unquantised base")
            ]
        }
        guard !quantisation.weights.isEmpty else { return [] }
        let weights = quantisation.weights.count == 1 ? "1 weight" : "\(quantisation.weights.count) weights"
        return [
            finding(
                "the base is stored in codes (\(quantisation.scheme.printable), \(weights)): its \(base.tensorBytes) bytes are "
                    + "\(base.plainBytes) dequantised to \(quantisation.dtype.rawValue), which is what a merge writes",
                severity: .note, file: base.path,
                help: "serve the adapter unmerged, or see what a merge writes: peftfile merge \(base.path.shellQuoted) "
                    + "\(subject.path.shellQuoted) -o OUT --dry-run")
        ]
    }
}
