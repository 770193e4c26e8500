import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Ranks that disagree.
struct RankMismatch: CheckRule {
    let id = "rank-mismatch"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The factors have another rank than the config says, or than each other, or an alpha other than the file's own record."
    let protectsFrom = """
        The scale is lora_alpha / r: a config with another r scales the update wrongly in every loader that takes it, and PEFT \
        fails with a size mismatch. Without r PEFT takes 8.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = ["RankMismatch"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result = try recorded(subject)
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

    /// Rank and alpha of the linear modules against what sd-scripts recorded of its training in the same file, where it gave all of
    /// them one: `ss_network_dim` and `ss_network_alpha`. Tools that change the rank write both anew, so that a rank which differs is
    /// a file that another tool changed, and an alpha which differs with the rank in place was changed alone. Source:
    /// `NetworkTrainer.train` in train_network.py and `resize` in networks/resize_lora.py of sd-scripts.
    private func recorded(_ subject: CheckSubject) throws -> [Finding] {
        guard let checkpoint = subject.weights.checkpoint, checkpoint.isSingleFile,
            let metadata = checkpoint.shards.first?.file.metadata
        else { return [] }
        func value(_ key: String) -> String? { metadata.first { $0.key.text == key }?.value }
        let arguments = value("ss_network_args") ?? ""
        guard let alpha = value("ss_network_alpha").flatMap(Double.init), alpha > 0,
            let rank = value("ss_network_dim").flatMap(Int.init), !arguments.contains("block_"), !arguments.contains("network_reg_")
        else { return [] }
        var (hasRank, others): (Bool, [(tensor: ExactString, alpha: Double)]) = (true, [])
        let values = try subject.values()
        for tensor in checkpoint.tensors where tensor.name.text.hasSuffix(".lora_down.weight") {
            // Kernels with a window have a rank and an alpha of their own, conv_dim and conv_alpha.
            guard tensor.shape.dropFirst(2).allSatisfy({ $0 == 1 }) else { continue }
            hasRank = hasRank && tensor.shape.first == rank
            let name = ExactString(String(tensor.name.text.dropLast("lora_down.weight".count)) + "alpha")
            guard let position = checkpoint.position(of: name), let own = values.statistics[position], own.count == 1, own.minimum != 0,
                // BF16 has three digits.
                abs(own.minimum - alpha) > 0.01 * alpha
            else { continue }
            others.append((name, own.minimum))
        }
        guard let first = others.first else { return [] }
        return [
            finding(
                "is \(Figure.number(first.alpha))\(others.count > 1 ? ", the first of \(others.count) such modules," : ",") and the file's own record of "
                    + "its training says ss_network_alpha \(Figure.number(alpha)): the scale would be wrong",
                severity: hasRank ? .error : .warning, file: subject.weights.file, tensor: first.tensor,
                help: "take the file as it was trained; the scales: peftfile inspect \(subject.path.shellQuoted)")
        ]
    }
}
