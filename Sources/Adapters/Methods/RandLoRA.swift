import ByteAccess
import Tensors

/// RandLoRA, full-rank updates from sums of random low-rank bases (arXiv:2502.00987).
///
///     E = B' × A'      B'[i, n·r + k] = B[i, n, k]        A'[k·N + n, j] = λ[k, n]·A[k, 0, j]·γ[n, j]
///     W' = W + s·E  for in ≤ out,   W' = W + s·Eᵀ  for out < in                  s = randlora_alpha / r
///
/// A and B serve the smaller and the larger side: j < min(in, out), i < max(in, out), and N = ⌈min(in, out) / r⌉ bases.
/// The sum runs over the index t of column t of B' and row t of A', which count (n, k) in different orders; so does PEFT.
///
/// | keys | shape |
/// |---|---|
/// | `randlora_lambda`, `randlora_gamma` of each module | (r, N), (N, min(in, out)) |
/// | `base_model.randlora_A`, `base_model.randlora_B`, and a copy at each module | (r, 1, m), (M, N of all, r) |
///
/// With `save_projection` false A, and after it each basis of B, are drawn from one generator seeded with
/// `projection_prng_key`: bfloat16, uniform between ∓1 / √fan, fan being the last dimension; then each of the two is divided
/// by its standard deviation. `sparse` (s = 3) and `very_sparse` (s = √m) draw float32 in [0, 1) instead: −1 below 1/2s, 1
/// above 1 − 1/2s, 0 between, then divided likewise. As in VeRA, layers
/// of 16 bits leave both rounded to their type. m and M are the smaller and the larger of the largest in and out.
///
/// Order: λ·A, then ·γ; the product, t ascending; the scale.
/// Config: `r`, `randlora_alpha`, `projection_prng_key`, `save_projection`, `sparse`, `very_sparse`.
/// Source: `RandLoraLayer.update_layer`, `Linear.get_scaled_bases`, `get_delta_weight` in peft/tuners/randlora/layer.py,
/// `_init_randlora_A_randlora_B`, `_init_randlora_A_randlora_B_sparse` in model.py.
struct RandLoRA: ModuleMethod {
    let name = "RandLoRA"
    let peftTypes = ["RANDLORA"]
    let components: Set<String> = ["randlora_lambda", "randlora_gamma", "randlora_A", "randlora_B"]
    let configKeys: Set<String> = [
        "r", "randlora_alpha", "projection_prng_key", "save_projection", "sparse", "very_sparse", "randlora_dropout",
        "fan_in_fan_out", "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["sparse", "very_sparse"]
    let stillPoints: [[String: Double]] = [["randlora_lambda": 0], ["randlora_gamma": 0]]

    /// The seed drew the bases, where they are in the file.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        guard key == "projection_prng_key" else { return nil }
        return !["randlora_A", "randlora_B"].allSatisfy { name in adapter.keys.contains { $0.component == name } }
    }

    /// `randlora_A` and `randlora_B` are buffers of the model, and of every layer too; all of them are stored or none.
    /// Source: `BufferDict(persistent=config.save_projection)` in peft/tuners/randlora/model.py.
    func inventory(of module: MethodModule) throws -> ModuleInventory {
        let projection = ["randlora_A", "randlora_B"]
        let isStored = module.stores("save_projection", projection)
        return ModuleInventory(
            own: ["randlora_lambda", "randlora_gamma"] + (isStored ? projection : []), common: isStored ? projection : [])
    }

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent(isLayer: true) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let (rank, alpha) = try (module.side("randlora_lambda", 0), alpha(module))
        return (rank, alpha, alpha / Double(rank))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("projection", module.has("randlora_A") ? "stored" : "from projection_prng_key")]
    }

    private func alpha(_ module: MethodModule) throws -> Double { 
        try module.required(module.number("randlora_alpha"), "randlora_alpha")
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        let rank = try module.side("randlora_lambda", 0)
        let (small, large) = (min(weight.rows, weight.columns), max(weight.rows, weight.columns))
        guard rank > 0, small > 0 else { throw module.misfit(try module.tensor("randlora_lambda"), "ranks") }
        try module.requireRank(rank, of: "randlora_lambda", pattern: nil, scales: true)
        let bases = (small + rank - 1) / rank
        func isFit(_ a: Shape, _ b: Shape) -> Bool {
            a.count == 3 && b.count == 3 && a[0] == rank && a[1] == 1 && a[2] >= small && b[0] >= large && b[1] >= bases
                && b[2] == rank
        }
        let projection = try SharedProjection(
            ("randlora_A", "randlora_B"), of: module, seedKey: "projection_prng_key", isFit: isFit,
            sides: { height, width in
                let form = RandomBases(rank: rank, small: min(height, width), large: max(height, width))
                return ([rank, 1, form.small], [form.large, form.bases, rank])
            }
        ) { generator, scope in
            let (height, width) = scope.largest
            let form = RandomBases(rank: rank, small: min(height, width), large: max(height, width))
            _ = try module.elementCount(form.large, form.bases, rank)
            if try module.config.flag("very_sparse") {
                return form.sparse(Double(form.small).squareRoot(), &generator)
            }
            if try module.config.flag("sparse") { return form.sparse(3, &generator) }
            return try form.dense(&generator, module)
        }
        // Row k·N + n of A' is row k of A.
        let scales = try module.matrix("randlora_lambda", [rank, bases]).reshaped(columns: 1)
        let gamma = try module.matrix("randlora_gamma", [bases, small])
        let right = projection.first.columns(0..<small).rows(at: (0..<(rank * bases)).map { $0 / bases })
            * scales * gamma.rows(at: (0..<(rank * bases)).map { $0 % bases })
        let left = projection.second.rows(0..<large).columns(0..<(bases * rank))
        let update = left × right
        return ModuleChanges(
            weight: .add(weight.columns == small ? update : update.transpose, scale: try alpha(module) / Double(rank)),
            warnings: projection.warnings)
    }
}
