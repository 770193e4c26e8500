import ByteAccess
import Tensors

/// MiSS, matrix shard sharing, formerly Bone, block affine adaptation (arXiv:2409.15371).
///
///     standard   W'[i, j] = W[i, j] + block[j mod r, i]
///     mini       W'[i, j] = W[i, j] + block[j mod r, i mod mini_r]
///     bat        W' = W + (W_b × D_i + D_i)          on each r × r block W_b of W, D_i that of its row of blocks
///
/// | mode, by `init_weights` | `miss_block` or `bone_block` (shape) |
/// |---|---|
/// | standard | (r, out) |
/// | `"mini"` | (r, mini_r); out is a multiple of mini_r |
/// | `"bat"` | (out / r, r, r); out and in are multiples of r |
///
/// W is (out, in); in the standard modes in need be no multiple of r. Old files have `peft_type` BONE and the same
/// mathematics. bat holds the matrix whole, since each row of blocks is multiplied by its own D.
///
/// Config: `init_weights`, `r`, `mini_r`. Source: `MissLinear.get_delta_weight`, `get_delta_weight_miss` in
/// peft/tuners/miss/layer.py; `BoneLinear` of PEFT 0.14 to 0.17.
struct MiSS: ModuleMethod {
    let name = "MiSS"
    let peftTypes = ["MISS", "BONE"]
    let components: Set<String> = ["miss_block", "bone_block"]
    let configKeys: Set<String> = ["r", "mini_r", "init_weights", "bias", "miss_dropout", "bone_dropout"]
    let requiredKeys: Set<String> = ["init_weights"]
    /// Of mini the sides are in no tensor.
    let stillPoints: [[String: Double]] = [["miss_block": 0], ["bone_block": 0]]

    /// The form of the update, which the layer keeps as `miss_fn`; true and false are first values.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        key == "init_weights" ? value?.stringValue != nil : nil
    }

    private enum Mode { case standard, mini, bat }

    private func mode(_ module: MethodModule) throws -> Mode {
        guard let value = module.config["init_weights"], value.boolValue == nil else { return .standard }
        switch value.stringValue {
        case "bat": return .bat
        case "mini": return .mini
        default: throw module.config.wrong("init_weights", "true, false, \"bat\" or \"mini\"")
        }
    }

    private func block(_ module: MethodModule) -> String { module.has("bone_block") ? "bone_block" : "miss_block" }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        switch try mode(module) {
        case .standard: UpdateExtent(rows: try module.side(block(module), 1))
        case .mini: UpdateExtent()
        case .bat: UpdateExtent(rows: try module.side(block(module), 0) * module.side(block(module), 1))
        }
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side(block(module), try mode(module) == .bat ? 1 : 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let name = switch try mode(module) {
        case .standard: "standard"
        case .mini: "mini"
        case .bat: "bat"
        }
        return [.init("mode", name)]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let name = block(module)
        guard !weight.isConvolution else {
            throw module.refusal("is a convolution, for which MiSS is not defined", rule: "ModuleKind")
        }
        func spread(_ shard: MatrixExpression, _ rank: Int) -> MatrixExpression {
            shard.columns(at: (0..<weight.columns).map { $0 % rank })
        }
        switch try mode(module) {
        case .standard:
            let rank = try module.side(name, 0)
            try module.requireRank(rank, of: name, pattern: nil)
            return ModuleChanges(weight: .add(spread(try module.matrix(name, [rank, weight.rows]).transpose, rank)))
        case .mini:
            let (rank, width) = (try module.side(name, 0), try module.side(name, 1))
            try module.requireRank(rank, of: name, pattern: nil)
            let configured = try module.required(module.count("mini_r"), "mini_r")
            try module.require("mini_r \(configured)", configured == width, "mini_r is \(width)", of: name)
            guard width > 0, weight.rows % width == 0 else {
                throw module.misfit(try module.tensor(name), "(r, mini_r), mini_r a divisor of \(weight.rows)")
            }
            let shards = try module.matrix(name, [rank, width]).transpose.rows(at: (0..<weight.rows).map { $0 % width })
            return ModuleChanges(weight: .add(spread(shards, rank)))
        case .bat:
            let (count, rank) = (try module.side(name, 0), try module.side(name, 1))
            try module.requireRank(rank, of: name, pattern: nil)
            guard rank > 0, count * rank == weight.rows, weight.columns % rank == 0 else {
                throw module.misfit(try module.tensor(name), "blocks that tile \(weight.rows) × \(weight.columns)")
            }
            let shards = try module.matrix(name, [count, rank, rank]).reshaped(columns: rank)
            // Rows of W cut into pieces of r: those of one row of blocks lie together, and meet one D.
            let pieces = weight.base.reshaped(columns: rank)
            let product = MatrixExpression.batched(pieces, shards, count: count).reshaped(columns: weight.columns)
            return ModuleChanges(weight: .become(weight.base + (product + spread(shards, rank))))
        }
    }
}
