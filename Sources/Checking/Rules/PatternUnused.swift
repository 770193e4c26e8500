import Adapters
import ByteAccess

/// Patterns that match nothing.
struct PatternUnused: CheckRule {
    let id = "pattern-unused"
    let family = RuleFamily.config
    let severity = Severity.warning
    let summary = "A key of rank_pattern or alpha_pattern matches no module of the adapter."
    let protectsFrom = """
        A rank or alpha that its author believes in and nobody applies: a key is matched with what stands before it ended by a \
        dot, so "proj" never means q_proj and "^q_proj" never a nested module (huggingface/peft issue 3582; get_pattern_key in \
        peft/utils/other.py).
        """
    let needs: [RuleNeed] = [.tensors, .config]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard !subject.typeIsContradicted, let adapter = try? subject.adapter(), let coverage = ConfigCoverage(of: adapter)
        else { return [] }
        return coverage.unusedPatterns.map { entry in
            finding(
                "\(entry.key) has \"\(entry.pattern.printable)\", which matches no module", file: subject.configPath,
                help: "correct or remove the key; the modules: peftfile inspect \(subject.path.shellQuoted)")
        }
    }
}
