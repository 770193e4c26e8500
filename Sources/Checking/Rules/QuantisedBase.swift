import ByteAccess
import Checkpoints

/// A base of stored codes.
struct QuantisedBase: CheckRule {
    let id = "quantised-base"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The base is quantised, and a merge into it is rounded to its codes or refused."
    let protectsFrom = """
        An update added to raw codes, or lost when the sum is quantised again (axolotl issue 3771, mlx-lm issues 1564 and 654, \
        huggingface/peft issue 2321). Served unmerged it is right, if it was trained on the same codes.
        """
    let needs: [RuleNeed] = [.base]
    let refusals: Set<String> = ["BaseDType"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let base = subject.options.base,
            let quantisation = (base.config?["quantization_config"] ?? base.config?["quantization"])?.objectValue
        else { return [] }
        let method = quantisation["quant_method"]?.stringValue ?? "quantised"
        return [
            finding(
                "the base is stored in codes (\(method.printable)), so what a merge adds is rounded to them",
                severity: .note, file: base.path, help: "serve the adapter unmerged, or merge it into the unquantised base")
        ]
    }
}
