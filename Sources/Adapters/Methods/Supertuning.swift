import ByteAccess
import Tensors

/// Supertuning: the weights that are largest when training begins get a trained change, and with a rank a low-rank
/// product besides (Supra; arXiv:2607.09287), which is dense.
///
///     W' = W + S + s·B × A                S[p_i] = value_i, else 0                 s = lora_alpha / r
///
/// | keys | shape |
/// |---|---|
/// | `supertuning_values` | (n) |
/// | `supertuning_indices` | (n), int32: p_i = row·in + column |
/// | `supertuning_lora_A.weight`, `supertuning_lora_B.weight` | (r, in), (out, r), where `r` is set |
///
/// A file without indices (`save_precomputed_indices` = false) takes them from the base by magnitude, where equal
/// magnitudes leave the choice to torch's `topk`, so it is refused.
///
/// Config: `r`, `lora_alpha`. Order: the sum of the sparse term and the low-rank one, then W.
/// Source: `Linear.get_delta_weight`, `merge` in peft/tuners/supertuning/layer.py.
struct Supertuning: ModuleMethod {
    let name = "Supertuning"
    let peftTypes = ["SUPERTUNING"]
    let components: Set<String> = [
        "supertuning_values", "supertuning_indices", "supertuning_lora_A", "supertuning_lora_B",
    ]
    let configKeys: Set<String> = [
        "r", "lora_alpha", "lora_dropout", "sparsity", "select_top", "save_precomputed_indices", "init_weights",
    ]
    let requiredKeys: Set<String> = ["r"]
    let nullableKeys: Set<String> = ["r"]
    let stillPoints: [[String: Double]] = [
        ["supertuning_values": 0, "supertuning_lora_A": 0], ["supertuning_values": 0, "supertuning_lora_B": 0],
    ]

    private static let (left, right) = ("supertuning_lora_B.weight", "supertuning_lora_A.weight")

    func extent(of module: MethodModule) throws -> UpdateExtent {
        guard module.has(Self.right) else { return UpdateExtent() }
        return UpdateExtent(rows: try module.side(Self.left, 0), columns: try module.side(Self.right, 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        guard let rank = try module.count("r"), let alpha = try module.number("lora_alpha") else { return (nil, nil, nil) }
        return (rank, alpha, alpha / Double(rank))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("values", try module.tensor("supertuning_values").elementCount)]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let count = try module.tensor("supertuning_values").elementCount
        guard module.has("supertuning_indices") else {
            throw module.refusal(
                "has no supertuning_indices: torch's topk of the base's magnitudes would decide where its values go, and "
                    + "among equal magnitudes that is not defined", rule: "IndicesMissing",
                help: "save the adapter with save_precomputed_indices=True")
        }
        let positions = try module.indices("supertuning_indices", below: weight.rows * weight.columns)
        guard positions.count == count else {
            throw module.misfit(try module.tensor("supertuning_indices"), "\(count) places")
        }
        if let sparsity = try module.number("sparsity") {
            // Python's int(): towards zero.
            let size = weight.rows * weight.columns
            let expected = Int(exactly: (Double(size) * (1 - sparsity)).rounded(.towardZero)) ?? -1
            try module.require(
                "sparsity \(JSONNumber(sparsity).text), which leaves \(expected) of \(size)", expected == count,
                "there are \(count) values", of: "supertuning_values")
        }
        var update = MatrixExpression.scattered(
            try module.row("supertuning_values", count: count), positions: IndexTable(positions), rows: weight.rows,
            columns: weight.columns)
        if let rank = try module.count("r") {
            guard let alpha = try module.number("lora_alpha") else { throw module.config.wrong("lora_alpha", "a number") }
            try module.requireRank(try module.side(Self.right, 0), of: Self.right, pattern: nil, scales: true)
            let product = try module.matrix(Self.left, [weight.rows, rank])
                × module.matrix(Self.right, [rank, weight.columns])
            update = update + alpha / Double(rank) * product
        }
        return ModuleChanges(weight: .add(update))
    }
}
