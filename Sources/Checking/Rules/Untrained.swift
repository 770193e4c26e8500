import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Updates that are zero.
struct Untrained: CheckRule {
    let id = "untrained"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "The update is zero: in all modules (error) or in some (warning)."
    let protectsFrom = """
        A run that trained nothing: optimiser without the adapter's parameters, a learning rate of 0, a save before the first \
        step. lora_B begins as zero and never is again after one step; the adapter loads everywhere and changes nothing.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let values = try subject.values()
        guard let checkpoint = subject.weights.checkpoint else { return [] }
        /// Whether all elements are this number.
        func isAll(_ name: ExactString, _ number: Double) -> Bool {
            guard let position = checkpoint.position(of: name), let statistics = values.statistics[position] else { return false }
            let info = checkpoint.tensors[position].info
            return info.elementCount > 0 && statistics.count == info.elementCount && statistics.minimum == number
                && statistics.maximum == number
        }
        // What a module does nothing with: a zero factor of a product, or a vector that still has its first value.
        var modules: [ExactString: (dead: ExactString?, count: Int)] = [:]
        for pair in subject.factors.pairs where pair.a != nil && pair.b != nil {
            let dead = [pair.b, pair.a].compactMap { $0 }.first { isAll($0.name, 0) }
            modules[pair.module, default: (nil, 0)].count += 1
            if let dead { modules[pair.module]?.dead = dead.name }
        }
        for key in subject.keys {
            guard let component = key.component, let first = InertValue.first(component) else { continue }
            modules[key.module, default: (nil, 0)].count += 1
            if isAll(key.stored, first) { modules[key.module]?.dead = key.stored }
        }
        // A bottleneck gives back what it gets while its up-projection is zero.
        if let report = subject.bottlenecks {
            let zero = Set(report.untrained { isAll($0, 0) })
            for module in report.modules {
                modules[ExactString(module.root)] = (zero.contains(module.root) ? module.up?.stored : nil, 1)
            }
        }
        let scales = subject.scales
        if !modules.isEmpty, subject.factors.pairs.count == scales.count, scales.values.allSatisfy({ $0 == 0 }), !scales.isEmpty {
            return [
                finding(
                    "the scale of the update is 0, as the config has it: the adapter changes nothing", file: subject.configPath,
                    help: "correct lora_alpha; the scales: peftfile inspect \(subject.path.shellQuoted)")
            ]
        }
        let dead = modules.values.compactMap(\.dead).sorted()
        guard !dead.isEmpty else { return [] }
        let help = "peftfile inspect --stats \(subject.path.shellQuoted)"
        if dead.count == modules.count {
            // A head or embedding that was trained beside it is something.
            let saved = subject.bottlenecks == nil && subject.keys.contains { $0.component == nil }
            return [
                finding(
                    "the update of \(dead.count == 1 ? "the one module" : "all \(dead.count) modules") is zero"
                        + (saved ? "; only what was saved whole may have been trained" : ": the adapter changes nothing"),
                    severity: saved ? .warning : .error, file: subject.weights.file, help: "train it; all figures: \(help)")
            ]
        }
        return dead.map {
            finding(
                "is \(isAll($0, 0) ? "zero" : "as it was initialised") everywhere, so the module does nothing",
                severity: .warning, file: subject.weights.file, tensor: $0,
                help: "see whether the module was meant to be trained; all figures: \(help)")
        }
    }
}

/// The value that a component has before training, where it then leaves the base as it is and training always moves it.
private enum InertValue {
    static func first(_ component: String) -> Double? { values[component] }

    /// PEFT's `reset_parameters` of IA3 (ones), OFT and BOFT (zeros), FourierFT is drawn at random and not listed.
    private static let values: [String: Double] = [
        "ia3_l": 1, "oft_R": 0, "boft_R": 0, "vera_lambda_b": 0, "randlora_lambda": 0, "miss_block": 0, "road_theta": 0,
        "adaption_gate": 0,
    ]
}
