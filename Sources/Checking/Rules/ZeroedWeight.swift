import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Weights that become zero.
struct ZeroedWeight: CheckRule {
    let id = "zeroed-weight"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "The adapter makes a weight of the base zero everywhere: by a magnitude or scale of zeros, or a saved tensor of zeros."
    let protectsFrom = """
        Tensors that were never gathered or filled: a head or a magnitude of zeros silences the module, and every answer with it. \
        A vector of zeros is only a warning: a norm that adds one to its weight begins so, and was not trained. Where every tensor is \
        zero, none was trained or all were lost.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let table = try subject.effects(), let checkpoint = subject.weights.checkpoint else { return [] }
        let help = "save the adapter again; all figures: peftfile inspect --stats \(subject.path.shellQuoted)"
        let silenced = table.modules.filter(\.makesZero).map { module in
            finding(
                "is zero everywhere, and makes the weight of \"\(module.path.text.printable)\" zero", file: subject.weights.file,
                tensor: module.tensor, help: help)
        }
        let whole = try subject.storedWhole()
        // One vector may begin as zeros; an adapter of nothing but zeros was lost.
        let isLost = try table.modules.isEmpty && whole.count > 1 && whole.allSatisfy { try subject.isAll($0.tensor, 0) && $0.isBase != true }
        return try silenced + whole.compactMap { saved in
            guard !saved.tensor.text.hasSuffix("bias"), try subject.isAll(saved.tensor, 0), saved.isBase != true else { return nil }
            let isMatrix = (checkpoint[saved.tensor]?.shape.count ?? 0) > 1
            return finding(
                "takes the place of the base's and is zero everywhere", severity: isMatrix || isLost ? .error : .warning,
                file: subject.weights.file, tensor: saved.tensor, help: help)
        }
    }
}
