import ByteAccess
import Tensors

/// BOFT, orthogonal fine-tuning by butterfly factors (arXiv:2311.06243).
///
///     W' = s ⊙ (W × B₀ᵀ × B₁ᵀ × …)           Linear (out, in), Conv2d read as (out, in·k·k)
///     B_i = P_i × blockdiag(R…) × P_iᵀ
///     R = (I − S)·(I + S)⁻¹,                 S = ½·(X − Xᵀ)
///
/// | keys | shape |
/// |---|---|
/// | `boft_R` | (m, blocks, b, b): X for each of the m factors |
/// | `boft_s` | (out, 1), for a Conv2d (1, out) |
///
/// P_i is no part of the file. For m = 1 it is the identity; else it permutes each group of 2ⁱ·b columns so that halves
/// of blocks meet: cut into pieces of b/2, the even pieces come first, then the odd ones.
///
/// PEFT takes m = 1 where its CUDA extension is missing, whatever `boft_n_butterfly_factor` says (`BOFTLayer.update_layer`), so
/// the tensor has that many factors or one.
/// Order: S, Rᵀ = (I − S)⁻¹·(I + S)... by elimination, the products by blocks for i = 0…m−1, then s.
///
/// Config: block size, count and m are told by the tensor, and held against the config.
/// Source: `Linear.get_delta_weight`, `cayley_batch`, `block_butterfly_perm` in peft/tuners/boft/layer.py.
struct BOFT: ModuleMethod {
    let name = "BOFT"
    let peftTypes = ["BOFT"]
    let components: Set<String> = ["boft_R", "boft_s"]
    let configKeys: Set<String> = [
        "boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout", "bias", "fan_in_fan_out",
        "init_weights",
    ]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(
            rows: try module.tensor("boft_s").elementCount,
            columns: try module.side("boft_R", 1) * module.side("boft_R", 2))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("boft_R", 2), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("boft_block_size", try module.side("boft_R", 2)), .init("boft_block_num", try module.side("boft_R", 1)),
            .init("boft_n_butterfly_factor", try module.side("boft_R", 0)),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let info = try module.tensor("boft_R")
        guard info.shape.count == 4, info.shape[2] == info.shape[3], info.shape[1] * info.shape[2] == weight.columns,
            info.shape[0] > 0
        else { throw module.misfit(info, "butterfly factors for \(weight.columns) columns") }
        let (factors, count, size) = (info.shape[0], info.shape[1], info.shape[2])
        // One of the two is 0 in PEFT's config, which then follows from the other.
        for (key, found) in [("boft_block_size", size), ("boft_block_num", count)] as [(ExactString, Int)] {
            guard let expected = try module.count(key, zeroIsNil: true), expected != found else { continue }
            throw PeftfileError(
                .refused, "has \(count) blocks of \(size), and the config says \(key) \(expected)", tensor: info.name,
                rule: "BlockSize", help: "correct \(key) in adapter_config.json")
        }
        if factors > 1, let expected = try module.count("boft_n_butterfly_factor"), expected != factors {
            throw PeftfileError(
                .refused, "has \(factors) butterfly factors, and the config says boft_n_butterfly_factor \(expected)",
                tensor: info.name, rule: "BlockSize", help: "correct boft_n_butterfly_factor in adapter_config.json")
        }
        let all = factors * count
        let blocks = try module.matrix("boft_R").reshaped(columns: size)
        let skew = 0.5 * (blocks.rearranged([all, size, size], axes: [0, 2, 1], columns: size) - blocks)
        let rotations = OrthogonalBlocks.cayley(skew, size: size, count: all)
        var result = weight.base
        for factor in 0..<factors {
            let own = rotations.rows((factor * weight.columns)..<((factor + 1) * weight.columns))
            guard factors > 1 else {
                result = .blockwise(result, own, count: count)
                break
            }
            let order = try butterfly(factor, columns: weight.columns, count: count, size: size, module)
            var inverse = order
            for (column, source) in order.enumerated() { inverse[source] = column }
            result = MatrixExpression.blockwise(result.columns(at: inverse), own, count: count).columns(at: order)
        }
        // A stand-in does not tell a kernel from a matrix.
        let scales = weight.isStandIn
            ? try module.row("boft_s", count: weight.rows).transpose
            : try module.vector("boft_s", count: weight.rows, shape: weight.isConvolution ? [1, weight.rows] : [weight.rows, 1]).transpose
        return ModuleChanges(weight: .become(result * scales))
    }

    /// P as the column in which each row has its 1.
    private func butterfly(
        _ factor: Int, columns: Int, count: Int, size: Int, _ module: MethodModule
    ) throws -> [Int] {
        let (group, half) = (columns / max(1, count >> factor), size / 2)
        guard size % 2 == 0, factor < count.bitWidth, count % (1 << factor) == 0, columns % group == 0, group % size == 0 else {
            throw module.misfit(try module.tensor("boft_R"), "even blocks, halved in number by each factor,")
        }
        let pieces = group / half
        let order = Array(stride(from: 0, to: pieces, by: 2)) + Array(stride(from: 1, to: pieces, by: 2))
        let within = order.flatMap { piece in (0..<half).map { piece * half + $0 } }
        return stride(from: 0, to: columns, by: group).flatMap { start in within.map { start + $0 } }
    }
}
