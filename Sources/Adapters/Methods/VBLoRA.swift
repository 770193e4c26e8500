import ByteAccess
import Tensors

/// VB-LoRA, factors composed of the vectors of one bank (arXiv:2405.15179).
///
///     v(l) = Σ_i w_i·bank[n_i]        n the places of the k largest logits of a group, w their softmax
///     A[i, t·L + j] = v(logits_A[i, t])[j]        B[t·L + j, i] = v(logits_B[t, i])[j]        W' = W + B × A
///
/// | keys | shape |
/// |---|---|
/// | `vblora_logits_A`, `vblora_logits_B` of each module | (r, in / L, h), (out / L, r, h) |
/// | or `…_topk_indices`, `…_topk_weights` of both | as above with k and k − 1 for h |
/// | `base_model.vblora_vector_bank`, for all modules | (h, L) |
///
/// With `save_only_topk_weights` the k-th weight is 1 less the sum of the others, and 0 where that is negative by no more
/// than 2⁻²⁰.
///
/// Order: e^(l_i − l_1) from the largest down, their sum, the quotients; Σ_i by fused multiply-add; then the product.
/// Config: `r`, `topk`; `num_vectors`, `vector_length`, against which the bank is held.
/// Source: `Linear._get_low_rank_matrix`, `_get_lora_matrices` in peft/tuners/vblora/layer.py,
/// `VBLoRAModel._remap_adapter_state_dict_for_load` in model.py.
struct VBLoRA: ModuleMethod {
    let name = "VB-LoRA"
    let peftTypes = ["VBLORA"]
    let defaultTargets = DefaultTargets.vblora
    let components: Set<String> = Set(["A", "B"].flatMap { side in
        ["", "_topk_indices", "_topk_weights"].map { "vblora_logits_\(side)\($0)" }
    }).union(["vblora_vector_bank"])
    let configKeys: Set<String> = [
        "r", "topk", "num_vectors", "vector_length", "save_only_topk_weights", "vblora_dropout", "fan_in_fan_out", "bias",
        "init_vector_bank_bound", "init_logits_std",
    ]
    let requiredKeys: Set<String> = ["topk"]

    /// The tensor whose first two dimensions are those of the groups.
    private func groups(_ side: String, _ module: MethodModule) -> String {
        let logits = "vblora_logits_\(side)"
        return module.has(logits) ? logits : "\(logits)_topk_indices"
    }

    /// With a `topk` of 1 no weight is stored: (r, in / L, 0) beside indices of (r, in / L, 1). A placeholder of a shard has one side.
    func isEmptyByDesign(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        guard let component = key.component, component.hasSuffix("_topk_weights") else { return false }
        let beside = component.dropLast("weights".count) + "indices"
        guard let indices = adapter.keys.first(where: { $0.module == key.module && $0.component == String(beside) }),
            let shape = adapter.tensor(indices.stored)?.shape, shape.count == 3, shape[2] == 1
        else { return false }
        return adapter.tensor(key.stored)?.shape == [shape[0], shape[1], 0]
    }

    /// The bank begins drawn from an interval; logits have no ends. Source: `VBLoRAModel._init_vblora_vector_bank` in
    /// peft/tuners/vblora/model.py.
    func firstValues(of adapter: Adapter) throws -> [FirstValues] {
        let bound = try adapter.config?.number("init_vector_bank_bound") ?? 0.02
        return try modules(of: adapter, in: nil).map { .uniform(tensor: try $0.tensor("vblora_vector_bank").name, bound: bound) }
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let length = try module.side("vblora_vector_bank", 1)
        func sides(_ side: String, _ axis: Int) throws -> Int {
            let (size, overflow) = try module.side(groups(side, module), axis).multipliedReportingOverflow(by: length)
            guard !overflow else { throw module.misfit(try module.tensor("vblora_vector_bank"), "vectors of a real length") }
            return size
        }
        return UpdateExtent(rows: try sides("B", 0), columns: try sides("A", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side(groups("A", module), 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("num_vectors", try module.side("vblora_vector_bank", 0)),
            .init("vector_length", try module.side("vblora_vector_bank", 1)),
            .init("logits", module.has("vblora_logits_A") ? "stored" : "top-k alone"),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        let bank = try module.tensor("vblora_vector_bank")
        let rank = try module.side(groups("A", module), 0)
        guard bank.shape.count == 2, bank.shape[0] > 0, bank.shape[1] > 0, rank > 0 else {
            throw module.misfit(bank, "vectors of one length")
        }
        try module.requireRank(rank, of: groups("A", module), pattern: nil)
        let length = bank.shape[1]
        try module.require("num_vectors", is: bank.shape[0], of: "vblora_vector_bank")
        try module.require("vector_length", is: length, of: "vblora_vector_bank")
        let (height, width) = (weight.rows / length, weight.columns / length)
        let right = try vectors("A", [rank, width], module).reshaped(columns: weight.columns)
        let left = try vectors("B", [height, rank], module)
            .rearranged([height, rank, length], axes: [0, 2, 1], columns: rank)
        return ModuleChanges(weight: .add(left × right))
    }

    /// The composed vector of each group, below each other.
    private func vectors(_ side: String, _ groups: Shape, _ module: MethodModule) throws -> MatrixExpression {
        let bank = try module.matrix("vblora_vector_bank")
        let chosen = module.has("vblora_logits_\(side)")
            ? try chosen(side, groups, module, of: bank.rows) : try saved(side, groups, module, of: bank.rows)
        let count = groups.reduce(1, *)
        return .batched(chosen.weights, bank.rows(at: chosen.places), count: count)
    }

    private typealias Chosen = (places: [Int], weights: MatrixExpression)

    /// The largest logits of each group, and their softmax.
    private func chosen(_ side: String, _ groups: Shape, _ module: MethodModule, of vectors: Int) throws -> Chosen {
        let info = try module.tensor("vblora_logits_\(side)")
        guard info.shape == groups + [vectors] else { throw module.misfit(info, "shape \(groups + [vectors])") }
        let count = try module.count("topk") ?? 2
        guard count <= vectors else { throw module.misfit(info, "at least \(count) vectors, as many as topk says") }
        let logits = try module.numbers(info)
        var places: [Int] = []
        for start in stride(from: 0, to: logits.count, by: vectors) {
            let group = logits[start..<(start + vectors)]
            let order = group.indices.sorted { group[$0] != group[$1] ? group[$0] > group[$1] : $0 < $1 }
            guard !group.contains(where: \.isNaN), group[order[0]].isFinite else {
                throw PeftfileError(
                    .refused, "has a group of logits without a softmax", tensor: info.name, rule: "TopK",
                    help: "the adapter is broken")
            }
            if count < vectors, group[order[count - 1]] == group[order[count]], group[order[count]].isFinite {
                throw PeftfileError(
                    .refused, "has equal logits at the limit of topk, of which torch may take either", tensor: info.name,
                    rule: "TopK", help: "save the adapter again with save_only_topk_weights=True")
            }
            places += order.prefix(count)
        }
        let values = try module.row("vblora_logits_\(side)", count: logits.count).columns(at: places)
            .reshaped(columns: count)
        let powers = MatrixExpression.function(.exponential, values - values.columns(0..<1))
        let sums = powers × .filled(1, rows: count, columns: 1)
        return (places.map { $0 % vectors }, powers / sums)
    }

    /// The saved places, and the saved weights with the last of each group put back.
    private func saved(_ side: String, _ groups: Shape, _ module: MethodModule, of vectors: Int) throws -> Chosen {
        let (indexName, weightName) = ("vblora_logits_\(side)_topk_indices", "vblora_logits_\(side)_topk_weights")
        let count = try module.side(indexName, 2)
        guard count > 0, try module.shape(indexName) == groups + [count] else {
            throw module.misfit(try module.tensor(indexName), "shape \(groups + [count])")
        }
        try module.require("topk", is: count, of: indexName)
        let places = try module.indices(indexName, below: vectors)
        for start in stride(from: 0, to: places.count, by: count) where Set(places[start..<(start + count)]).count < count {
            throw PeftfileError(
                .refused, "names a vector twice in a group", tensor: try module.tensor(indexName).name, rule: "TopK",
                help: "the adapter is broken")
        }
        let size = groups.reduce(1, *)
        if count == 1 { return (places, .filled(1, rows: size, columns: 1)) }
        let info = try module.tensor(weightName)
        guard info.shape == groups + [count - 1] else { throw module.misfit(info, "shape \(groups + [count - 1])") }
        let numbers = try module.numbers(info)
        for start in stride(from: 0, to: numbers.count, by: count - 1) {
            let group = numbers[start..<(start + count - 1)]
            guard group.allSatisfy({ $0 >= 0 }), group.reduce(0, +) <= 1 + 0x1p-20 else {
                throw PeftfileError(
                    .refused, "has weights that are no part of 1", tensor: info.name, rule: "TopK",
                    help: "the adapter is broken")
            }
        }
        let weights = try module.row(weightName, count: numbers.count).reshaped(columns: count - 1)
        let rest = MatrixExpression.filled(1, rows: size, columns: 1) - weights × .filled(1, rows: count - 1, columns: 1)
        let last = MatrixExpression.function(.atLeast(0), rest)
        return (places, MatrixExpression.stacked([weights.transpose, last.transpose]).transpose)
    }
}
