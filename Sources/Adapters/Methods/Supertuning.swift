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
/// A file without indices (`save_precomputed_indices` = false) takes them from the base: the n largest magnitudes in descending order,
/// or the n smallest in ascending order where `select_top` is false. Where two of them are equal, or the last of them and the next
/// one, the order is torch's `topk`'s own and not defined, and the adapter is refused; a base in 16 bits has equal ones nearly always.
///
/// Config: `r`, `lora_alpha`; without indices `sparsity`, `select_top`. Order: the sum of the sparse term and the low-rank one, then W.
/// Source: `SupertuningLayer.update_layer`, `Linear.get_delta_weight`, `merge` in peft/tuners/supertuning/layer.py.
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
    /// Without stored indices PEFT chooses them again from the base (`SupertuningLayer.update_layer`).
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        switch key {
        case "init_weights": false
        case "select_top": !adapter.keys.contains { $0.component == "supertuning_indices" }
        default: nil
        }
    }

    let stillPoints: [[String: Double]] = [
        ["supertuning_values": 0, "supertuning_lora_A": 0], ["supertuning_values": 0, "supertuning_lora_B": 0],
    ]

    private static let (left, right) = ("supertuning_lora_B.weight", "supertuning_lora_A.weight")

    func inventory(of module: MethodModule) throws -> ModuleInventory {
        ModuleInventory(
            own: ["supertuning_values"]
                + (module.stores("save_precomputed_indices", ["supertuning_indices"]) ? ["supertuning_indices"] : [])
                + (try module.count("r") == nil ? [] : [Self.right, Self.left]))
    }

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
        let isStored = module.has("supertuning_indices")
        let positions = try isStored
            ? module.indices("supertuning_indices", below: weight.rows * weight.columns) : chosen(count, module, weight)
        guard positions.count == count else {
            throw module.misfit(try module.tensor(isStored ? "supertuning_indices" : "supertuning_values"), "\(count) places")
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
        let assumed = "assumed: the places of supertuning_values are not in the file and are those of the base's "
            + "\(try selectsTop(module) ? "largest" : "smallest") magnitudes, no two of which are equal"
        return ModuleChanges(weight: .add(update), warnings: isStored ? [] : [assumed])
    }

    private func selectsTop(_ module: MethodModule) throws -> Bool {
        module.config["select_top"] == nil ? true : try module.config.flag("select_top")
    }

    /// The places of the base's `count` largest or smallest magnitudes, in that order.
    private func chosen(_ count: Int, _ module: MethodModule, _ weight: ModuleWeight) throws -> [Int] {
        func refusal(_ reason: String) -> PeftfileError {
            module.refusal(
                "has no supertuning_indices, and \(reason)", rule: "IndicesMissing",
                help: "save the adapter with save_precomputed_indices=True")
        }
        guard weight.shape.count == 2, let values = weight.values else { throw refusal("its weight is a part of a tensor, or several") }
        let elements = try values()
        // With a bias there is one more column.
        let width = elements.count / max(1, weight.rows)
        let magnitudes = (0..<(weight.rows * weight.columns)).map { elements[$0 / weight.columns * width + $0 % weight.columns].magnitude }
        guard magnitudes.allSatisfy(\.isFinite), count <= magnitudes.count else {
            throw refusal("the base has numbers that are not finite, or too few")
        }
        let isTop = try selectsTop(module)
        let sorted = magnitudes.indices.sorted { isTop ? magnitudes[$0] > magnitudes[$1] : magnitudes[$0] < magnitudes[$1] }
        let reach = min(count + 1, sorted.count)
        let equal = (1..<max(1, reach)).count { magnitudes[sorted[$0]] == magnitudes[sorted[$0 - 1]] }
        guard equal == 0 else {
            throw refusal(
                "of the base's magnitudes that would decide where its \(count) values go, \(equal) are equal to the next one: among equal "
                    + "ones torch's topk defines no order")
        }
        return Array(sorted[..<count])
    }
}
