import ByteAccess
import Tensors

/// HiRA, Hadamard high-rank adaptation (Huang et al., ICLR 2025).
///
///     W' = W + W ⊙ (B × A)
///
/// | module | keys (shape) |
/// |---|---|
/// | Linear, Conv1D | `hira_A` (r, in), `hira_B` (out, r) |
/// | Conv1d, 2d, 3d | `hira_A` (r, in, k…), `hira_B` (out, r, 1…) |
/// | Embedding | `hira_embedding_A` (r, vocab), `hira_embedding_B` (dim, r); W (vocab, dim) takes (B × A)ᵀ |
///
/// There is no scale. Config: `r`, `rank_pattern`; PEFT 0.21 makes a module that `rank_pattern` names with rank r all the
/// same (`dispatch_default`), so a module may have either. Order: the product, W times it, W plus that.
/// Source: `Linear.get_delta_weight`, `HiraLayer._merge` in peft/tuners/hira/layer.py.
struct HiRA: ModuleMethod {
    let name = "HiRA"
    let peftTypes = ["HIRA"]
    let components: Set<String> = ["hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B"]
    let configKeys: Set<String> = ["r", "rank_pattern", "hira_dropout", "fan_in_fan_out", "init_weights"]

    private func names(_ module: MethodModule) -> (a: String, b: String) {
        module.isEmbedding ? ("hira_embedding_A", "hira_embedding_B") : ("hira_A", "hira_B")
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let (a, b) = (try module.matrix(names(module).a), try module.matrix(names(module).b))
        return module.isEmbedding
            ? UpdateExtent(rows: a.columns, columns: b.rows) : UpdateExtent(rows: b.rows, columns: a.columns)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side(names(module).a, 0), nil, nil)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let (a, b) = names(module)
        let rank = try module.side(a, 0)
        if try module.count("r") != rank { try module.requireRank(rank, of: a) }
        let (rows, columns) = module.isEmbedding ? (weight.columns, weight.rows) : (weight.rows, weight.columns)
        let (left, right) = (try module.matrix(b), try module.matrix(a))
        // Element by element a row or a column would be repeated, and PEFT has no such factors.
        guard left.rows == rows, left.columns == rank else { throw module.misfit(try module.tensor(b), "\(rows) rows of \(rank)") }
        guard right.columns == columns else { throw module.misfit(try module.tensor(a), "\(rank) rows of \(columns)") }
        let (own, other) = (try module.shape(a), try module.shape(b))
        let dimensions = module.isEmbedding ? 2 : weight.isStandIn ? own.count : weight.shape.count
        guard own.count == dimensions else { throw module.misfit(try module.tensor(a), "\(dimensions) dimensions") }
        guard other.count == dimensions, other.dropFirst(2).allSatisfy({ $0 == 1 }) else {
            throw module.misfit(try module.tensor(b), "\(dimensions) dimensions, of which the last are 1")
        }
        let product = left × right
        return ModuleChanges(weight: .add(weight.base * (module.isEmbedding ? product.transpose : product)))
    }
}
