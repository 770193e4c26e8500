import ByteAccess
import Tensors

/// HRA, Householder reflection adaptation (arXiv:2405.17484).
///
///     W' = W × (I − 2u₁u₁ᵀ) × (I − 2u₂u₂ᵀ) × …            u_i the columns of hra_u, each divided by its length
///     W' = W × (I − 2UUᵀ)                                 apply_GS: U an orthonormal basis of the columns
///
/// `hra_u` (in, r), for a Conv2d (in·k·k, r). W is (out, in) or (out, in·k·k).
///
/// The product of reflections is I − U·T·Uᵀ with T upper triangular and T⁻¹ = ½·I + the part of UᵀU above its diagonal
/// (R. Schreiber and C. Van Loan, 1989); with a basis from Gram and Schmidt UUᵀ is the projection u·(uᵀu)⁻¹·uᵀ, which
/// needs no basis. So a row of W costs 2·in·r operations, and no in × in matrix is made.
///
/// A column of zeros has no direction: PEFT divides it by its length 0 and writes NaN, which is refused here, and so are
/// numbers that are not finite; with apply_GS columns that depend on each other too, since what Gram and Schmidt leave of
/// them is rounding alone.
///
/// Order: lengths, u, the system, X = T·Uᵀ or (uᵀu)⁻¹·uᵀ by elimination; W×U, its product with X (twice that for
/// apply_GS); W minus it.
///
/// Config: `apply_GS`, `r`. Source: `HRALinear.get_delta_weight`, `merge` in peft/tuners/hra/layer.py.
struct HRA: ModuleMethod {
    let name = "HRA"
    let peftTypes = ["HRA"]
    let components: Set<String> = ["hra_u"]
    let configKeys: Set<String> = ["r", "apply_GS", "bias", "init_weights"]
    let requiredKeys: Set<String> = ["apply_GS"]

    /// Of an even rank columns begin in equal pairs, of an odd one, or without `init_weights`, drawn from an interval. Source:
    /// `HRALayer.reset_hra_parameters`; `kaiming_uniform_` with a = √5 takes ±1 / √r.
    func firstValues(of adapter: Adapter) throws -> [FirstValues] {
        let isPaired = try adapter.config?.flag("init_weights", standard: true) ?? true
        return try modules(of: adapter, in: nil).map { module in
            let (tensor, rank) = (try module.tensor("hra_u").name, try module.side("hra_u", 1))
            return isPaired && rank.isMultiple(of: 2)
                ? .pairedColumns(tensor: tensor) : .uniform(tensor: tensor, bound: 1 / Double(max(1, rank)).squareRoot())
        }
    }

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent(columns: try module.side("hra_u", 0)) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("hra_u", 1), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("apply_GS", try module.config.flag("apply_GS"))]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let rank = try module.side("hra_u", 1)
        try module.requireRank(rank, of: "hra_u", pattern: nil)
        let u = try module.matrix("hra_u", [weight.columns, rank])
        let isBasis = try module.config.flag("apply_GS")
        try requireDirections(of: module, rank: rank, independent: isBasis)
        if isBasis {
            let projection = (u.transpose × u).solving(u.transpose)
            return ModuleChanges(weight: .become(weight.base - 2 * ((weight.base × u) × projection)))
        }
        let unit = u / MatrixExpression.rowNorms(u.transpose).transpose
        let above = (0..<(rank * rank)).map { $0 / rank < $0 % rank ? 1.0 : 0.0 }
        let mask = MatrixExpression.constant(.table(NumberTable(above), rows: rank, columns: rank))
        let system = 0.5 * .identity(rank) + (unit.transpose × unit) * mask
        let right = system.solving(unit.transpose)
        return ModuleChanges(weight: .become(weight.base - (weight.base × unit) × right))
    }

    /// Every reflection has a direction.
    private func requireDirections(of module: MethodModule, rank: Int, independent: Bool) throws {
        let values = try module.numbers("hra_u")
        let rows = values.count / max(1, rank)
        var basis: [[Double]] = []
        for column in 0..<rank {
            var direction = (0..<rows).map { values[$0 * rank + column] }
            let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard length > 0, length.isFinite else {
                throw try refusal(of: module, column, length == 0 ? "is zero, and a reflection needs a direction" : "holds NaN or Inf")
            }
            guard independent else { continue }
            for other in basis {
                let part = zip(direction, other).reduce(0) { $0 + $1.0 * $1.1 }
                for row in 0..<rows { direction[row] -= part * other[row] }
            }
            let rest = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
            // PEFT takes the basis in float32, whose rounding is 2⁻²⁴ of a column.
            guard rest > length * 0x1p-20 else {
                throw try refusal(of: module, column, "depends on the columns before it, and Gram and Schmidt leave rounding alone")
            }
            basis.append(direction.map { $0 / rest })
        }
    }

    private func refusal(of module: MethodModule, _ column: Int, _ reason: String) throws -> PeftfileError {
        PeftfileError(
            .refused, "column \(column) \(reason): PEFT would write NaN or noise", tensor: try module.tensor("hra_u").name,
            rule: "NoDirection", help: "the adapter cannot be used as it is; train or save it again")
    }
}
