import Adapters
import ByteAccess

/// Bottleneck adapters that are not whole.
struct BottleneckPair: CheckRule {
    let id = "bottleneck-pair"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A bottleneck adapter lacks a projection, or its projections do not meet."
    let protectsFrom = """
        Half of an adapter: the adapters library and OpenDelta load with strict=False, so the missing projection keeps its random \
        first values (AdapterLoader.load in adapters/loading.py).
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        (subject.bottlenecks?.defects ?? []).filter { $0.kind == .pair }.map {
            finding(
                $0.text, file: subject.weights.file,
                help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
    }
}
