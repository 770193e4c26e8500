import ByteAccess
import Tensors

/// GraLoRA, granular low-rank adaptation: k × k blocks with factors of their own (arXiv:2505.20355).
///
///     W'[m·q + o, n·p + i] = W + s·(Σ_t B[m, n·c + t, o]·A[n, i, m·c + t] + (B_g × A_g)[…])
///
/// with q = out / k, p = in / k, c = r / k, and s = alpha / (r + hybrid_r).
///
/// | keys | shape |
/// |---|---|
/// | `gralora_A` | (k, in / k, r) |
/// | `gralora_B` | (k, r, out / k) |
/// | `gralora_A_general.weight`, `gralora_B_general.weight` | (hybrid_r, in), (out, hybrid_r), where hybrid_r > 0 |
///
/// Config: `r`, `alpha`, `gralora_k`, `hybrid_r`. Order: the blocks' products, plus the general one, the scale.
/// Source: `GraloraLayer.update_layer`, `Linear.get_delta_weight` in peft/tuners/gralora/layer.py.
struct GraLoRA: ModuleMethod {
    let name = "GraLoRA"
    let peftTypes = ["GRALORA"]
    let components: Set<String> = ["gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general"]
    let configKeys: Set<String> = [
        "r", "alpha", "gralora_k", "hybrid_r", "gralora_dropout", "fan_in_fan_out", "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["alpha", "hybrid_r", "gralora_k"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(
            rows: try module.side("gralora_B", 0) * module.side("gralora_B", 2),
            columns: try module.side("gralora_A", 0) * module.side("gralora_A", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let (rank, alpha) = (try module.side("gralora_A", 2), try module.number("alpha") ?? 64)
        return (rank, alpha, try scale(module, rank: rank))
    }

    private func scale(_ module: MethodModule, rank: Int) throws -> Double {
        let hybrid = try module.count("hybrid_r", zeroIsNil: true) ?? 0
        return (try module.number("alpha") ?? 64) / Double(rank + hybrid)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("gralora_k", try module.side("gralora_A", 0)),
            .init("hybrid_r", try module.count("hybrid_r", zeroIsNil: true) ?? 0),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let (count, rank) = (try module.side("gralora_A", 0), try module.side("gralora_A", 2))
        try module.requireRank(rank, of: "gralora_A", pattern: nil, scales: true)
        let blocks = try module.count("gralora_k") ?? 2
        try module.require("gralora_k \(blocks)", blocks == count, "gralora_k is \(count)", of: "gralora_A")
        guard count > 0, rank % count == 0, weight.rows % count == 0, weight.columns % count == 0
        else { throw module.misfit(try module.tensor("gralora_A"), "(k, in / k, r), k a divisor of r") }
        let (width, height, part) = (weight.columns / count, weight.rows / count, rank / count)
        // Row block m needs, for each n, A[n][:, m·c…] turned: (c, in / k) below each other.
        let a = try module.matrix("gralora_A", [count, width, rank])
            .rearranged([count, width, count, part], axes: [2, 0, 3, 1], columns: width)
        let b = try module.matrix("gralora_B", [count, rank, height])
            .rearranged([count, rank, height], axes: [0, 2, 1], columns: rank)
        var update = MatrixExpression.stacked(
            (0..<count).map { block in
                .blockwise(
                    b.rows((block * height)..<((block + 1) * height)), a.rows((block * rank)..<((block + 1) * rank)),
                    count: count)
            })
        if let hybrid = try module.count("hybrid_r", zeroIsNil: true) {
            let name = "gralora_A_general.weight"
            try module.require("hybrid_r", is: try module.side(name, 0), of: name)
            let left = try module.matrix("gralora_B_general.weight", [weight.rows, hybrid])
            update = update + left × (try module.matrix("gralora_A_general.weight", [hybrid, weight.columns]))
        }
        return ModuleChanges(weight: .add(update, scale: try scale(module, rank: rank)))
    }
}
