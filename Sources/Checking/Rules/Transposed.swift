import ByteAccess
import Tensors

/// Factors stored the other way round.
struct Transposed: CheckRule {
    let id = "transposed"
    let family = RuleFamily.base
    let severity = Severity.error
    let summary = """
        Factors are stored as their transposes: lora_A as (in, r), lora_B as (r, out). Of other methods and dialects it is found by \
        trial: an adapter that is refused for its shapes fits once these tensors are turned.
        """
    let protectsFrom = """
        Files of MLX and of textbooks' conventions under PEFT's names. PEFT fails with a size mismatch where the shapes tell; \
        square factors cannot be told apart, and nothing is said of them.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = ["TransposedFactors"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let pairs = subject.factors.pairs
        let turned = pairs.flatMap { pair -> [TensorInfo] in
            if case .transposed(let infos) = pair.defect { infos } else { [] }
        }
        let inspect = "all shapes: peftfile inspect --tensors \(subject.path.shellQuoted)"
        guard let first = turned.first else { return byTrial(subject, inspect) }
        let help = "transpose them, lora_A is (r, in) and lora_B (out, r); \(inspect)"
        if pairs.count > 1, turned.count == 2 * pairs.count {
            return [
                finding(
                    "all \(turned.count) factors are stored transposed, the first with shape \(first.shape)",
                    file: subject.weights.file, help: help)
            ]
        }
        return pairs.compactMap { pair in
            guard case .transposed(let infos) = pair.defect, let first = infos.first else { return nil }
            return finding(
                "has shape \(first.shape), which is stored transposed"
                    + (infos.count > 1 ? ", and so is its partner with \(infos[1].shape)" : ""),
                file: subject.weights.file, tensor: first.name, help: help)
        }
    }

    private func byTrial(_ subject: CheckSubject, _ inspect: String) -> [Finding] {
        guard let tensors = subject.transposition?.tensors, let first = tensors.first else { return [] }
        return [
            finding(
                "has shape \(first.shape), which is stored transposed"
                    + (tensors.count > 1 ? ", and so are \(tensors.count - 1) more: with all of them turned the adapter fits" : ": turned it fits"),
                file: subject.weights.file, tensor: first.name, help: "transpose \(tensors.count > 1 ? "them" : "it"); \(inspect)")
        ]
    }
}
