import ByteAccess
/// LoHa, the Hadamard product of two low-rank products (FedPara, arXiv:2108.06098; LyCORIS, arXiv:2309.14859).
///
///     W' = W + s·((w1_a × w1_b) ⊙ (w2_a × w2_b))                   s = alpha / r
///
/// | module | keys (shape) |
/// |---|---|
/// | Linear, and convolutions read as (out, in·k…) | `hada_w1_a`, `hada_w2_a` (out, r); `hada_w1_b`, `hada_w2_b` (r, in·k…) |
/// | convolutions, `use_effective_conv2d` | `hada_w1_a`, `hada_w2_a` (r, out); `hada_w1_b`, `hada_w2_b` (r, in); `hada_t1`, `hada_t2` (r, r, k…) |
///
/// With a core t each of the two matrices is `M[p, q, k] = Σ_i a[i, p]·(Σ_j t[i, j, k]·b[j, q])`, the inner sum first.
/// A Conv1d's core has a fourth dimension of 1. Order: both matrices, their product element by element, the scale.
///
/// Config: `r`, `alpha`, `rank_pattern`, `alpha_pattern`; the form is told by the tensors.
/// Source: `LoHaLayer.get_delta_weight`, `make_weight`, `make_weight_cp` in peft/tuners/loha/layer.py.
struct LoHa: FactorProduct {
    let name = "LoHa"
    let peftTypes = ["LOHA"]
    let components: Set<String> = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"]
    let configKeys: Set<String> = LycorisScale.configKeys

    private func hasCore(_ module: MethodModule) -> Bool { module.has("hada_t1") || module.has("hada_t2") }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        if hasCore(module) {
            let window = try module.shape("hada_t1").dropFirst(2).reduce(1, *)
            return UpdateExtent(
                rows: try module.side("hada_w1_a", 1), columns: try module.side("hada_w1_b", 1) * window)
        }
        return UpdateExtent(rows: try module.side("hada_w1_a", 0), columns: try module.side("hada_w1_b", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let scale = try LycorisScale(module)
        return (scale.rank, scale.alpha, scale.value)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        hasCore(module) ? [.init("factors", "with a Tucker core")] : []
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let rank = try module.side("hada_w1_b", 0)
        try module.requireRank(rank, of: "hada_w1_b", scales: true)
        if weight.window > 1, module.scale == nil, module.config["use_effective_conv2d"] != nil {
            let flag = try module.config.flag("use_effective_conv2d")
            try module.require(
                "use_effective_conv2d \(flag)", flag == hasCore(module), "use_effective_conv2d is \(!flag)", of: "hada_w1_a")
        }
        let product = try product(of: module, rows: weight.rows, columns: weight.columns)
        return ModuleChanges(weight: .add(product, scale: try LycorisScale(module).value))
    }

    func product(of module: MethodModule) throws -> MatrixExpression {
        let size = try extent(of: module)
        return try product(of: module, rows: size.rows ?? 0, columns: size.columns ?? 0)
    }

    private func product(of module: MethodModule, rows: Int, columns: Int) throws -> MatrixExpression {
        let rank = try module.side("hada_w1_b", 0)
        return try factor("1", of: module, rank, rows, columns) * factor("2", of: module, rank, rows, columns)
    }

    private func factor(
        _ number: String, of module: MethodModule, _ rank: Int, _ rows: Int, _ columns: Int
    ) throws -> MatrixExpression {
        let (a, b) = ("hada_w\(number)_a", "hada_w\(number)_b")
        guard hasCore(module) else {
            return try module.matrix(a, [rows, rank]) × module.matrix(b, [rank, columns])
        }
        let core = try TuckerCore("hada_t\(number)", of: module, ranks: (rank, rank))
        // A Conv1d's core has a last dimension of 1.
        guard try module.scale != nil || module.shape("hada_t\(number)").count == 4 else {
            throw module.misfit(try module.tensor("hada_t\(number)"), "4 dimensions")
        }
        return try core.expanded(
            left: module.matrix(a, [rank, rows]), right: module.matrix(b, [rank, columns / core.window]))
    }
}
