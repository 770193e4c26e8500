import ByteAccess
import Tensors

/// PVeRA, probabilistic vector-based random matrix adaptation (arXiv:2512.07703).
///
///     W' = W + (b ⊙ B[: out]) × (d[: r] ⊙ A[: r, : in])
///
/// As VeRA, but that A has 2·r rows and d 2·r elements: the first half makes the mean of the hidden vector, the second the
/// logarithm of its variance. A merge takes the mean, as inference does unless `sample_at_inference` is set; then each
/// forward pass draws anew, and no weight stands for it.
///
/// | keys | shape |
/// |---|---|
/// | `pvera_lambda_b`, `pvera_lambda_d` of each module | (out), (2r) |
/// | `base_model.pvera_A`, `base_model.pvera_B`, for all modules | (2r, largest in), (largest out, r) |
///
/// With `save_projection` false the two matrices are drawn, and rounded, as VeRA's are, from `projection_prng_key`.
///
/// Order: as VeRA's. Config: `r`, `projection_prng_key`, `save_projection`, `sample_at_inference`.
/// Source: `PveraModel._init_pvera_A_pvera_B` in peft/tuners/pvera/model.py, `Linear.get_delta_weight` in layer.py.
struct PVeRA: ModuleMethod {
    let name = "PVeRA"
    let peftTypes = ["PVERA"]
    let defaultTargets = DefaultTargets.pvera
    let components: Set<String> = ["pvera_lambda_b", "pvera_lambda_d", "pvera_A", "pvera_B"]
    let configKeys: Set<String> = [
        "r", "projection_prng_key", "save_projection", "sample_at_inference", "generator_seed", "pvera_dropout", "d_initial",
        "fan_in_fan_out", "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["sample_at_inference"]
    let stillPoints: [[String: Double]] = [["pvera_lambda_b": 0], ["pvera_lambda_d": 0]]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("pvera_lambda_b", 0))
    }

    func widestExtent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(
            rows: try module.side("pvera_lambda_b", 0), columns: module.has("pvera_A") ? try module.side("pvera_A", 1) : nil)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("pvera_lambda_d", 0) / 2, nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("projection", module.has("pvera_A") ? "stored" : "from projection_prng_key")]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        guard try !module.config.flag("sample_at_inference") else {
            throw module.refusal(
                "samples its update at inference (sample_at_inference), so no single weight stands for it",
                rule: "SampledUpdate", help: "set sample_at_inference to false to merge the mean")
        }
        let count = try module.side("pvera_lambda_d", 0)
        guard count > 0, count % 2 == 0 else {
            throw module.misfit(try module.tensor("pvera_lambda_d"), "a mean and a variance for each rank")
        }
        let rank = count / 2
        try module.requireRank(rank, of: "pvera_lambda_d", pattern: nil)
        let projection = try SharedProjection.vector(("pvera_A", "pvera_B"), of: module, weight, rank: rank, rows: count)
        let rows = try module.vector("pvera_lambda_b", count: weight.rows).transpose
        let ranks = try module.vector("pvera_lambda_d", count: count).columns(0..<rank).transpose
        let left = projection.second.rows(0..<weight.rows) * rows
        let right = projection.first.rows(0..<rank).columns(0..<weight.columns) * ranks
        return ModuleChanges(weight: .add(left × right), warnings: projection.warnings)
    }
}
