import ByteAccess
import Tensors

/// VeRA, vector-based random matrix adaptation (arXiv:2310.11454).
///
///     W' = W + (b ⊙ B[: out]) × (d ⊙ A[:, : in])                 b scales rows of B, d rows of A
///
/// | keys | shape |
/// |---|---|
/// | `vera_lambda_b`, `vera_lambda_d` of each module | (out), (r) |
/// | `base_model.vera_A`, `base_model.vera_B`, for all modules | (r, largest in), (largest out, r) |
///
/// With `save_projection` false the two matrices are not in the file. Then A and after it B are drawn from one generator,
/// seeded with `projection_prng_key`: float32, uniform between ∓√3·√2 / √fan, fan being the second dimension (Kaiming), the
/// largest in and out being those of the adapter's modules in the base; as x86-64 with AVX2 rounds them. PEFT moves both to the type of
/// each base layer in turn: layers of 16 bits leave them rounded to their type, those of codes to `bnb_4bit_compute_dtype`.
///
/// Order: the scaled rows of B and of A, one rounding each; then the product.
/// Config: `r`, `projection_prng_key`, `save_projection`.
/// Source: `VeraModel._init_vera_A_vera_B`, `_find_dim`, `_kaiming_init` in peft/tuners/vera/model.py,
/// `Linear.get_delta_weight` in layer.py; `_move_adapter_to_device_of_base_layer` in peft/tuners/tuners_utils.py.
struct VeRA: ModuleMethod {
    let name = "VeRA"
    let peftTypes = ["VERA"]
    let defaultTargets = DefaultTargets.vera
    let components: Set<String> = ["vera_lambda_b", "vera_lambda_d", "vera_A", "vera_B"]
    let configKeys: Set<String> = [
        "r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial", "fan_in_fan_out", "bias", "init_weights",
    ]
    let stillPoints: [[String: Double]] = [["vera_lambda_b": 0], ["vera_lambda_d": 0]]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("vera_lambda_b", 0))
    }

    func widestExtent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(
            rows: try module.side("vera_lambda_b", 0), columns: module.has("vera_A") ? try module.side("vera_A", 1) : nil)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("vera_lambda_d", 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("projection", module.has("vera_A") ? "stored" : "from projection_prng_key")]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        let rank = try module.side("vera_lambda_d", 0)
        try module.requireRank(rank, of: "vera_lambda_d", pattern: nil)
        let projection = try SharedProjection.vector(("vera_A", "vera_B"), of: module, weight, rank: rank, rows: rank)
        let rows = try module.vector("vera_lambda_b", count: weight.rows).transpose
        let ranks = try module.vector("vera_lambda_d", count: rank).transpose
        let left = projection.second.rows(0..<weight.rows) * rows
        let right = projection.first.columns(0..<weight.columns) * ranks
        return ModuleChanges(weight: .add(left × right), warnings: projection.warnings)
    }
}

extension SharedProjection {
    /// VeRA's and PVeRA's pair: A of `rows` rows, and B of `rank` columns.
    static func vector(
        _ names: (String, String), of module: MethodModule, _ weight: ModuleWeight, rank: Int, rows: Int
    ) throws -> SharedProjection {
        func isFit(_ a: Shape, _ b: Shape) -> Bool {
            a.count == 2 && b.count == 2 && a[0] == rows && a[1] >= weight.columns && b[0] >= weight.rows && b[1] == rank
        }
        return try SharedProjection(
            names, of: module, seedKey: "projection_prng_key", isFit: isFit, sides: { ([rows, $1], [$0, rank]) }
        ) { generator, scope in
            func draw(_ height: Int, _ width: Int) throws -> Matrix {
                let limit = Float(TorchUniform.kaimingLimit(fan: width))
                let numbers = TorchUniform.single(
                    try module.elementCount(height, width), from: -limit, to: limit, &generator)
                return Matrix(numbers: NumberTable(numbers.map { Double($0) }), rows: height, columns: width)
            }
            let (height, width) = scope.largest
            return (try draw(rows, width), try draw(height, rank), " on x86-64 with AVX2")
        }
    }
}
