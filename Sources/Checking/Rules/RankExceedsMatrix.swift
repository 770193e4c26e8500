import Adapters
import ByteAccess
import Tensors

/// Ranks that no matrix can have.
struct RankExceedsMatrix: CheckRule {
    let id = "rank-exceeds-matrix"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The rank is larger than the matrix that it updates has rows or columns."
    let protectsFrom = """
        An adapter that is larger than the weight it stands for: rank(B·A) is at most min(out, in), so the excess trains and \
        costs memory for nothing, and loaders with a limit reject it (max_lora_rank of vLLM).
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        subject.factors.pairs.compactMap { pair in
            guard pair.isLowRank, pair.depth == 0, pair.defect == nil, let a = pair.a, let b = pair.b, a.shape.count == 2,
                b.shape.count == 2, a.shape[0] == b.shape[1]
            else { return nil }
            let (rank, limit) = (a.shape[0], min(a.shape[1], b.shape[0]))
            // The experts of a wrapped parameter lie below each other.
            guard rank > limit, !pair.module.text.contains("experts"), subject.config.config?["target_parameters"] == nil else {
                return nil
            }
            return finding(
                "has rank \(rank), and the matrix is \(b.shape[0]) × \(a.shape[1])", file: subject.weights.file, tensor: a.name,
                help: "train with a rank of at most \(limit)")
        }
    }
}
