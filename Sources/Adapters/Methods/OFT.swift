import ByteAccess
import Tensors

/// OFT, orthogonal fine-tuning (arXiv:2306.07280, arXiv:2311.06243), in the form of PEFT 0.16 and newer.
///
///     W' = W × blockdiag(R₁, R₂, …)ᵀ                 Linear (out, in), Conv2d read as (out, in·k·k)
///     W' = W × blockdiag(R₁, R₂, …)                  Embedding (vocab, dim)
///     R = (I − Q)·(I + Q)⁻¹                          use_cayley_neumann = false
///     R = I + 2Q + 2Q² + 2Q³ + Q⁴                    use_cayley_neumann = true, with 5 terms
///
/// `oft_R.weight` or `oft_embedding_R.weight` (blocks, b·(b − 1)/2) holds the part of each skew-symmetric Q (b, b)
/// above the diagonal, row by row; with `block_share` one block serves all. With `coft` each Q longer than
/// ε = eps / √blocks in the Frobenius norm is shortened to it.
///
/// Order: Q, scaled by min(1, ε / ‖Q‖) for COFT; Rᵀ = (I − Q)⁻¹·(I + Q) by elimination, or the series of −Q, powers
/// ascending; then the products by blocks. The transposed parameter (GPT-2's Conv1D) is held whole.
///
/// Config: `coft`, `eps`, `block_share`, `use_cayley_neumann`, `num_cayley_neumann_terms`; block size and count are
/// told by the tensor, and held against `oft_block_size` or `r`, of which PEFT takes one and moves it to the nearest divisor of the
/// width.
/// Source: `OFTRotationModule.get_weight`, `_cayley_batch`, `_project_batch`, `Linear.merge`, `Conv2d.merge`,
/// `Embedding.merge`, `OFTLayer.update_layer`, `adjust_oft_parameters` in peft/tuners/oft/layer.py,
/// `OFTConfig.__post_init__`. PEFT refuses older files (`oft_r`, `oft_s`), whose rotation differs.
struct OFT: ModuleMethod {
    let name = "OFT"
    let peftTypes = ["OFT"]
    let components: Set<String> = ["oft_R", "oft_embedding_R"]
    let configKeys: Set<String> = [
        "coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms", "oft_block_size", "r", "bias",
        "fan_in_fan_out", "module_dropout", "init_weights",
    ]
    /// Cayley's map of 0 is the identity, however many blocks share it.
    let stillPoints: [[String: Double]] = [["oft_R": 0], ["oft_embedding_R": 0]]
    let requiredKeys: Set<String> = ["coft", "eps", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms"]

    var retired: (components: Set<String>, reason: String)? {
        (["oft_r", "oft_s"], "the tensors are of OFT before PEFT 0.16, whose rotation was another; PEFT refuses them too")
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let blocks = try Blocks(module)
        return UpdateExtent(columns: blocks.isShared ? nil : blocks.count * blocks.size)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try Blocks(module).size, nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let blocks = try Blocks(module)
        let isSeries = try module.config.flag("use_cayley_neumann", standard: true)
        var result: [TargetDetail] = [
            .init("oft_block_size", blocks.size), .init("blocks", blocks.count),
            .init("rotation", isSeries ? "Neumann, \(try module.count("num_cayley_neumann_terms") ?? 5) terms" : "Cayley"),
        ]
        if blocks.isShared { result.append(.init("block_share", true)) }
        if try module.config.flag("coft") { result.append(.init("coft_eps", try module.number("eps") ?? 6e-5)) }
        return result
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let blocks = try Blocks(module)
        let (size, count) = (blocks.size, blocks.count)
        guard weight.columns % size == 0, blocks.isShared || count * size == weight.columns else {
            throw module.misfit(try module.tensor(blocks.tensor), "blocks for \(weight.columns) columns")
        }
        try blocks.requireConfigured(weight.columns, module)
        // The transposed rotation is the rotation by the transposed Q, which is −Q.
        var vectors = try module.matrix(blocks.tensor)
        if try module.config.flag("coft") { vectors = try projected(vectors, blocks, module) }
        let above = (0..<size).flatMap { row in ((row + 1)..<max(size, row + 1)).map { row * size + $0 } }
        func scattered(_ places: [Int]) -> MatrixExpression {
            let positions = (0..<count).flatMap { block in places.map { block * size * size + $0 } }
            return .scattered(vectors, positions: IndexTable(positions), rows: count * size, columns: size)
        }
        let upper = scattered(above)
        let lower = scattered(above.map { $0 % size * size + $0 / size })
        let skew = module.isEmbedding ? upper - lower : lower - upper
        var rotation: MatrixExpression
        if try module.config.flag("use_cayley_neumann", standard: true) {
            let terms = try module.count("num_cayley_neumann_terms") ?? 5
            rotation = OrthogonalBlocks.neumann(skew, size: size, count: count, terms: terms)
        } else {
            rotation = OrthogonalBlocks.cayley(skew, size: size, count: count)
        }
        let used = weight.columns / size
        if used != count { rotation = rotation.rows(at: (0..<weight.columns).map { $0 % size }) }
        return ModuleChanges(weight: .become(.blockwise(weight.base, rotation, count: used)))
    }

    /// COFT: each Q within ε = eps / √count of 0.
    private func projected(
        _ vectors: MatrixExpression, _ blocks: Blocks, _ module: MethodModule
    ) throws -> MatrixExpression {
        let limit = (try module.number("eps") ?? 6e-5) / Double(blocks.count).squareRoot()
        // Every element stands twice in Q.
        let norms = MatrixExpression.rowNorms(vectors.columns(at: (0..<(2 * vectors.columns)).map { $0 / 2 }))
        let factors = MatrixExpression.function(.atMost(1), .filled(limit, rows: blocks.count, columns: 1) / norms)
        return vectors * factors
    }

    /// The number and size of the blocks in the file.
    private struct Blocks {
        let tensor: String
        let count: Int
        let size: Int
        let isShared: Bool

        init(_ module: MethodModule) throws {
            tensor = module.isEmbedding ? "oft_embedding_R.weight" : "oft_R.weight"
            let info = try module.tensor(tensor)
            guard info.shape.count == 2 else { throw module.misfit(info, "two dimensions") }
            let elements = info.shape[1]
            // b·(b − 1)/2 = elements.
            let size = Int(((1 + Double(8 * elements).squareRoot()) / 2).rounded())
            count = info.shape[0]
            self.size = max(1, size)
            isShared = try module.config.flag("block_share")
            guard self.size * (self.size - 1) / 2 == elements, count > 0, !isShared || count == 1 else {
                throw module.misfit(info, isShared ? "one block above its diagonal" : "blocks above their diagonals")
            }
        }

        /// The config gives the size of the blocks or their count; the other key is 0.
        func requireConfigured(_ columns: Int, _ module: MethodModule) throws {
            let wanted = try module.count("oft_block_size", zeroIsNil: true), blocks = try module.count("r", zeroIsNil: true)
            if let wanted, let blocks {
                throw PeftfileError(
                    .refused, "r is \(blocks) and oft_block_size is \(wanted): PEFT takes one of the two and refuses both",
                    file: module.config.path, rule: "ConfigContradiction",
                    help: "set the one that was not given in the training to 0 in adapter_config.json")
            }
            guard let given = wanted ?? blocks else {
                guard module.config["oft_block_size"] != nil, module.config["r"] != nil else { return }
                throw module.config.wrong("oft_block_size", "the size of the blocks where r is 0")
            }
            let used = Blocks.divisor(of: columns, nearest: given)
            let expected = wanted == nil ? columns / used : used
            guard expected != size else { return }
            let key = wanted == nil ? "r" : "oft_block_size"
            throw PeftfileError(
                .refused, "holds blocks of \(size), and the config says \(key) \(given)"
                    + (used == given ? "" : ", which PEFT takes for \(used) in a width of \(columns)")
                    + (expected == given ? "" : ": blocks of \(expected)"),
                tensor: try module.tensor(tensor).name, rule: "BlockSize", help: "correct \(key) in adapter_config.json")
        }

        /// `adjust_oft_parameters`: the divisor of `width` that is nearest to `number`, of two as near the smaller.
        static func divisor(of width: Int, nearest number: Int) -> Int {
            guard number < width else { return width }
            var (lower, upper) = (number, number)
            while lower > 1, width % lower != 0 { lower -= 1 }
            while width % upper != 0 { upper += 1 }
            return number - lower <= upper - number ? lower : upper
        }
    }
}
