import Adapters
import ByteAccess

/// Bottlenecks that the config contradicts.
struct BottleneckWidth: CheckRule {
    let id = "bottleneck-width"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A bottleneck is not hidden size / reduction_factor, or not bottleneck_dim."
    let protectsFrom = """
        A config of another adapter: the library makes modules of the config's width, and loading fails with a size mismatch \
        (Adapter.__init__ in adapters/methods/modeling.py divides input_size by reduction_factor).
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        (subject.bottlenecks?.defects ?? []).filter { $0.kind == .width }.map {
            finding(
                $0.text, file: subject.weights.file,
                help: "correct reduction_factor; what is there: peftfile inspect \(subject.path.shellQuoted)")
        }
    }
}
