import Adapters
import ByteAccess
import Tensors

/// A rank that is more than the policy allows.
struct RankOverLimit: CheckRule {
    let id = "rank-over-limit"
    let family = RuleFamily.policy
    let severity = Severity.error
    let summary = "A module has a higher rank than the policy's max-rank."
    let protectsFrom = """
        Servers reserve memory for one largest rank and refuse what is above it: vLLM raises "LoRA rank is greater than \
        max_lora_rank" (PEFTHelper in vllm/lora/peft_helper.py) when the request comes.
        """
    let needs: [RuleNeed] = [.policy, .tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let limit = subject.options.policy?.maximumRank else { return [] }
        var ranks: [(module: ExactString, rank: Int)] = []
        if let adapter = try? subject.adapter(), let targets = try? MethodRegistry.method(of: adapter).targets(of: adapter) {
            ranks = targets.compactMap { target in target.rank.map { (target.module, $0) } }
        } else {
            // The stored factors, where the config does not let the method be read.
            ranks = subject.factors.pairs.compactMap { pair in
                guard pair.isLowRank, pair.defect == nil, let rank = pair.a?.shape.first else { return nil }
                return (pair.module, rank)
            }
            if ranks.isEmpty { throw NotChecked("the ranks cannot be told") }
        }
        let over = ranks.filter { $0.rank > limit }
        guard let worst = over.max(by: { $0.rank < $1.rank }) else { return [] }
        let others = over.count == 1 ? "" : ", and \(over.count - 1) more are over it"
        return [
            finding(
                "module \"\(worst.module.text.printable)\" has rank \(worst.rank), and the policy allows \(limit)\(others)",
                file: subject.weights.file, help: "train with a lower r, or raise max-rank in the policy")
        ]
    }
}
