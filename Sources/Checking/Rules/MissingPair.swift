import ByteAccess
import Tensors

/// Half of a pair.
struct MissingPair: CheckRule {
    let id = "missing-pair"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A module has one factor and lacks the other."
    let protectsFrom = """
        PEFT warns of "missing adapter keys" and goes on with the factor as it was initialised: without lora_B the module does \
        nothing, without lora_A it does something random.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = ["MissingPair", "MagnitudeMissing", "DiagonalMissing", "TokenIndicesMissing"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        subject.factors.pairs.compactMap { pair in
            guard case .alone(let missing, let present) = pair.defect else { return nil }
            return finding(
                "is missing, and its partner \(present.name.text) is there", file: subject.weights.file, tensor: missing,
                help: "save the adapter again; half of a pair is no update")
        }
    }
}
