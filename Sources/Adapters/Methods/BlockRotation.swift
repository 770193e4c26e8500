import ByteAccess
import Tensors

/// OFT by blocks of the output, as LyCORIS (`diag-oft`) and kohya (`oft`) have it.
///
///     W' = rescale ⊙ blockdiag(R₁ᵀ, R₂ᵀ, …)·W,   R = (I + Q)·(I − Q)⁻¹,   Q = X − Xᵀ
///
/// So Rᵀ = (I − Q)·(I + Q)⁻¹, and the blocks turn rows; PEFT's OFT turns columns, by a Q of the other sign.
///
/// | keys | shape |
/// |---|---|
/// | `oft_blocks` | (n, b, b): X of each block, n·b = out |
/// | `rescale` | (out, 1…), LyCORIS alone |
/// | `alpha` | the constraint c = alpha·out on the norm of all Q together |
///
/// LyCORIS: for c > 0, Q is multiplied by min(1, c / (‖Q‖ + 10⁻⁸)). kohya: by (min(‖Q‖, c) + 10⁻⁸) / (‖Q‖ + 10⁻⁸),
/// also for c = 0. Order: Q, its norm over all blocks in storage order, the factor, (I + Q)⁻¹·(I − Q) by elimination,
/// the product, the rescaling.
/// Source: `DiagOFTModule.get_r`, `make_weight` in lycoris/modules/diag_oft.py; `OFTModule.get_weight`,
/// `OFTInfModule.merge_to` in networks/oft.py of sd-scripts.
struct BlockRotation: ModuleMethod {
    let isKohya: Bool
    let peftTypes: [String] = []
    let components: Set<String> = ["oft_blocks", "rescale"]
    let configKeys: Set<String> = []

    var name: String { isKohya ? "OFT" : "diag-OFT" }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("oft_blocks", 0) * module.side("oft_blocks", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.shape("oft_blocks").last, module.scale?.value, nil)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let info = try module.tensor("oft_blocks")
        guard info.shape.count == 3, info.shape[1] == info.shape[2], info.shape[0] * info.shape[1] == weight.rows else {
            throw module.misfit(info, "square blocks for \(weight.rows) outputs")
        }
        let (count, size) = (info.shape[0], info.shape[1])
        let skew = try RotationConstraint.skew(
            of: module, count: count, size: size, constraint: (module.scale?.value ?? 0) * Double(weight.rows),
            isKohya: isKohya)
        let rotation = OrthogonalBlocks.cayley(skew, size: size, count: count)
        let turned = MatrixExpression.batched(rotation, weight.base, count: count)
        return ModuleChanges(weight: .become(try RotationConstraint.rescaled(turned, module, rows: weight.rows)))
    }
}

/// BOFT of the output, as LyCORIS has it (arXiv:2311.06243).
///
///     W ← P_iᵀ·blockdiag(R…)·P_i·W    for i = 0 … m − 1,   W' = rescale ⊙ W,   R = (I + Q)·(I − Q)⁻¹
///
/// P_i takes row c·2k + g·k + κ to place c·2k + 2κ + g, with k = 2ⁱ·b/2 and g of 0, 1. Other than in ``BlockRotation``
/// the blocks are not transposed. `oft_blocks` is (m, n, b, b); norm and constraint are over all of it.
///
/// Source: `ButterflyOFTModule.make_weight` in lycoris/modules/boft.py.
struct ButterflyRotation: ModuleMethod {
    let name = "BOFT"
    let peftTypes: [String] = []
    let components: Set<String> = ["oft_blocks", "rescale"]
    let configKeys: Set<String> = []

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("oft_blocks", 1) * module.side("oft_blocks", 2))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.shape("oft_blocks").last, module.scale?.value, nil)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let info = try module.tensor("oft_blocks")
        guard info.shape.count == 4, info.shape[2] == info.shape[3], info.shape[0] > 0,
            info.shape[1] * info.shape[2] == weight.rows, info.shape[2] % 2 == 0
        else { throw module.misfit(info, "butterfly factors for \(weight.rows) outputs") }
        let (factors, count, size) = (info.shape[0], info.shape[1], info.shape[2])
        let skew = try RotationConstraint.skew(
            of: module, count: factors * count, size: size,
            constraint: (module.scale?.value ?? 0) * Double(weight.rows), isKohya: false)
        // (I + Q)·(I − Q)⁻¹ is the Cayley transform of −Q.
        let rotations = OrthogonalBlocks.cayley(-1 * skew, size: size, count: factors * count)
        var result = weight.base
        for factor in 0..<factors {
            let half = size / 2
            guard factor < 32, weight.rows % (half << (factor + 1)) == 0 else {
                throw module.misfit(info, "\(weight.rows) outputs that halve \(factors) times")
            }
            let k = half << factor
            // The row that each place takes its row from.
            let order = (0..<weight.rows).map { place in
                let (start, within) = (place / (2 * k) * 2 * k, place % (2 * k))
                return start + within % 2 * k + within / 2
            }
            var inverse = order
            for (place, source) in order.enumerated() { inverse[source] = place }
            let own = rotations.rows((factor * weight.rows)..<((factor + 1) * weight.rows))
            result = MatrixExpression.batched(own, result.rows(at: order), count: count).rows(at: inverse)
        }
        return ModuleChanges(weight: .become(try RotationConstraint.rescaled(result, module, rows: weight.rows)))
    }
}

/// What both rotations share: Q within its constraint, and the rescaling of rows.
private enum RotationConstraint {
    /// Q of `count` blocks below each other.
    static func skew(
        of module: MethodModule, count: Int, size: Int, constraint: Double, isKohya: Bool
    ) throws -> MatrixExpression {
        let blocks = try module.matrix("oft_blocks").reshaped(columns: size)
        let skew = blocks - blocks.rearranged([count, size, size], axes: [0, 2, 1], columns: size)
        guard isKohya || constraint > 0 else { return skew }
        let norm = MatrixExpression.rowNorms(skew.reshaped(columns: count * size * size))
        let guarded = norm + .filled(1e-8, rows: 1, columns: 1)
        if isKohya {
            let kept = MatrixExpression.function(.atMost(constraint), norm) + .filled(1e-8, rows: 1, columns: 1)
            return skew * (kept / guarded)
        }
        return skew * .function(.atMost(1), .filled(constraint, rows: 1, columns: 1) / guarded)
    }

    static func rescaled(_ expression: MatrixExpression, _ module: MethodModule, rows: Int) throws -> MatrixExpression {
        guard module.has("rescale") else { return expression }
        return expression * (try module.row("rescale", count: rows).transpose)
    }
}
