import Adapters
import ByteAccess

/// Layers without their bottleneck.
struct BottleneckCoverage: CheckRule {
    let id = "bottleneck-coverage"
    let family = RuleFamily.config
    let severity = Severity.warning
    let summary = "A bottleneck adapter lacks layers, a bias, or the name that the config gives."
    let protectsFrom = """
        Layers that were lost on the way: what is missing is loaded with its first, random values. leave_out names the layers \
        that have none on purpose.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        (subject.bottlenecks?.defects ?? []).filter { $0.kind == .coverage }.map {
            finding(
                $0.text, file: subject.weights.file,
                help: "save the adapter again, or correct its config; what is there: peftfile inspect "
                    + subject.path.shellQuoted)
        }
    }
}
