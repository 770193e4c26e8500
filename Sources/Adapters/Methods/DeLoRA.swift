import ByteAccess
import Tensors

/// DeLoRA, decoupling angles and strength in low-rank adaptation (arXiv:2503.18225).
///
///     W' = W + (B × diag(d) × A) ⊙ w_norm,      d_i = (λ / r) / (max(‖A_i‖, 10⁻⁴)·max(‖B_i‖, 10⁻⁴))
///
/// | keys | shape |
/// |---|---|
/// | `delora_A`, `delora_B` | (r, in), (out, r): A_i is row i, B_i column i |
/// | `delora_lambda` | (1) |
/// | `delora_w_norm` | (in): the lengths of the base's columns when training began; it multiplies the columns |
///
/// Config: `r`, `rank_pattern`; λ is in the file. Order: the lengths, their product, d, B ⊙ d, the product with A, w_norm.
/// Source: `DeloraLayer._compute_delta` in peft/tuners/delora/layer.py.
struct DeLoRA: ModuleMethod {
    let name = "DeLoRA"
    let peftTypes = ["DELORA"]
    let components: Set<String> = ["delora_A", "delora_B", "delora_lambda", "delora_w_norm"]
    let configKeys: Set<String> = [
        "r", "rank_pattern", "lambda_pattern", "delora_lambda", "module_dropout", "bias", "init_weights",
    ]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("delora_B", 0), columns: try module.side("delora_A", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("delora_A", 0), nil, nil)
    }

    /// λ as it was trained; the config has the one that training began with.
    func details(of module: MethodModule) throws -> [TargetDetail] {
        let values = try? module.numbers("delora_lambda")
        return values?.count == 1 ? values.map { [.init("lambda", $0[0])] } ?? [] : []
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let rank = try module.side("delora_A", 0)
        try module.requireRank(rank, of: "delora_A", scales: true)
        let a = try module.matrix("delora_A", [rank, weight.columns])
        let b = try module.matrix("delora_B", [weight.rows, rank])
        func lengths(_ rows: MatrixExpression) -> MatrixExpression { .function(.atLeast(1e-4), .rowNorms(rows)) }
        let strength = try module.vector("delora_lambda", count: 1) / .filled(Double(rank), rows: 1, columns: 1)
        let diagonal = strength / (lengths(a) * lengths(b.transpose))
        let product = (b * diagonal.transpose) × a
        return ModuleChanges(weight: .add(product * (try module.vector("delora_w_norm", count: weight.columns))))
    }
}
