import Adapters
import ByteAccess
import Tensors

/// Ranks that disagree.
struct RankMismatch: CheckRule {
    let id = "rank-mismatch"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The factors have another rank than the config says, or than each other."
    let protectsFrom = """
        The scale is lora_alpha / r: a config with another r scales the update wrongly in every loader that takes it, and PEFT \
        fails with a size mismatch. Without r PEFT takes 8.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = ["RankMismatch"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result: [Finding] = []
        var configured: [[Int]: [TensorInfo]] = [:]
        for pair in subject.factors.pairs {
            switch pair.defect {
            case .rankOfPair(let info, let other):
                result.append(
                    finding(
                        "has shape \(info.shape), and its partner \(other.shape): the two share their rank",
                        file: subject.weights.file, tensor: info.name,
                        help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"))
            case .rankOfConfig(let info, let stored, let rank): configured[[stored, rank], default: []].append(info)
            default: break
            }
        }
        let config = subject.config.config
        let isMLX = config?.peftType == nil && config?["lora_parameters"] != nil
        let hasRank = isMLX || config?["r"] != nil
        for (ranks, infos) in configured.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            let isAll = infos.count == subject.factors.pairs.count
            let says = hasRank ? "the config says \(ranks[1])" : "the config has no r, for which PEFT takes \(ranks[1])"
            let who = infos.count == 1 ? "has rank \(ranks[0])" : "\(infos.count) modules have rank \(ranks[0])"
            result.append(
                finding(
                    "\(isAll ? "the tensors have rank \(ranks[0])" : who), and \(says): "
                        + (isMLX ? "config and tensors are of two adapters" : "the scale would be wrong"),
                    file: isAll ? subject.configPath : subject.weights.file, tensor: isAll ? nil : infos.first?.name,
                    help: "correct \(isMLX ? "lora_parameters.rank" : "r or rank_pattern") in adapter_config.json; the ranks: peftfile inspect --tensors \(subject.path.shellQuoted)"))
        }
        return result
    }
}
