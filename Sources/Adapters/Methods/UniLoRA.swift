import ByteAccess
import Tensors

/// Uni-LoRA, all factors from one vector (arXiv:2506.00799).
///
///     A = θ[i_A] ⊙ s_A,   B = θ[i_B] ⊙ s_B,   W' = W + B × A               A (r, in), B (out, r)
///
/// | keys | shape |
/// |---|---|
/// | `base_model.unilora_theta_d`, for all modules | (d) |
/// | with `save_indices`, at each module: `unilora_indices_A`, `unilora_indices_B` | (r, in), (out, r), int64 |
/// | and `unilora_scales_A`, `unilora_scales_B` | the same |
///
/// Without `save_indices` the file holds θ alone, and `inspect` shows the names of `target_modules`. The modules are those of
/// the base that `target_modules` means, where the model's names in memory are known; else the adapter is refused. All
/// elements of all A and B, module by module in the order in which the model registers them, A before B, take the numbers
/// of one list: each of 0 ..< d as often as all of them fit, the rest by `choice` without replacement, all shuffled, by
/// `numpy.random.default_rng(proj_seed)`. An index that occurs c times has the scale 1 / √c, root and quotient rounded to
/// float32 and then to the base's type, in which PEFT holds it.
///
/// Order: θ times scale; the product. Config: `r`, `theta_d_length`, `proj_seed`, `save_indices`, `target_modules`,
/// `exclude_modules`, `layers_to_transform`, `layers_pattern`.
/// Source: `UniLoraModel.generate_index`, `_assign_unilora_indices_and_scales` in peft/tuners/unilora/model.py,
/// `UniLoraLayer.update_scaling`, `Linear._get_lora_matrices` in layer.py.
struct UniLoRA: ModuleMethod {
    let name = "Uni-LoRA"
    let peftTypes = ["UNILORA"]
    let components: Set<String> = [
        "unilora_theta_d", "unilora_indices_A", "unilora_indices_B", "unilora_scales_A", "unilora_scales_B",
    ]
    let configKeys: Set<String> = [
        "r", "theta_d_length", "proj_seed", "save_indices", "unilora_dropout", "init_theta_d_bound", "fan_in_fan_out", "bias",
        "init_weights",
    ]
    let requiredKeys: Set<String> = ["r"]
    let stillPoints: [[String: Double]] = [["unilora_theta_d": 0]]

    func modules(of adapter: Adapter, in context: BindingContext?) throws -> [MethodModule] {
        guard let config = adapter.config else { return [] }
        func collected(_ paths: [ExactString]?) throws -> [MethodModule] {
            try MethodModule.collect(
                from: adapter, config: config, components: components, adapterIndex: context?.adapterIndex ?? 0,
                options: context?.options ?? BindingOptions(), paths: paths)
        }
        let saved = try collected(nil)
        guard saved.isEmpty else { return saved }
        // Without a base the names of target_modules stand for the modules that they mean.
        guard let context else { return try collected(config.strings("target_modules").map { ExactString($0) }) }
        return try collected(TargetModules(config).paths(in: context.base))
    }

    /// θ begins drawn from an interval. Source: `UniLoraModel._init_unilora_theta_d` in peft/tuners/unilora/model.py.
    func firstValues(of adapter: Adapter) throws -> [FirstValues] {
        guard let config = adapter.config, try config.flag("init_weights", standard: true) else { return [] }
        let bound = try config.number("init_theta_d_bound") ?? 0.02
        return try modules(of: adapter, in: nil).map { .uniform(tensor: try $0.tensor("unilora_theta_d").name, bound: bound) }
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        guard module.has("unilora_indices_A") else { return UpdateExtent(isLayer: true) }
        return UpdateExtent(
            rows: try module.side("unilora_indices_B", 0), columns: try module.side("unilora_indices_A", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try rank(module), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("theta_d_length", try module.side("unilora_theta_d", 0)),
            .init("indices", module.has("unilora_indices_A") ? "stored" : "from proj_seed"),
        ]
    }

    private func rank(_ module: MethodModule) throws -> Int { try module.required(module.count("r"), "r") }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        let rank = try rank(module)
        let theta = try module.tensor("unilora_theta_d")
        let length = theta.elementCount
        try module.require("theta_d_length", is: length, of: "unilora_theta_d")
        guard theta.shape.count == 1, length > 0, length <= 1 << 30 else { throw module.misfit(theta, "one dimension") }
        let indices: (a: [Int], b: [Int])
        let scales: (a: MatrixExpression, b: MatrixExpression)
        var warnings: [String] = []
        let (shapeA, shapeB): (Shape, Shape) = ([rank, weight.columns], [weight.rows, rank])
        if module.has("unilora_indices_A") {
            for (name, shape) in [("unilora_indices_A", shapeA), ("unilora_indices_B", shapeB)] {
                guard try module.shape(name) == shape else { throw module.misfit(try module.tensor(name), "shape \(shape)") }
            }
            indices = (
                try module.indices("unilora_indices_A", below: length), try module.indices("unilora_indices_B", below: length)
            )
            scales = (try module.matrix("unilora_scales_A", shapeA), try module.matrix("unilora_scales_B", shapeB))
        } else {
            let dealt = try DealtIndices(of: module, rank: rank, length: length)
            indices = try dealt.indices(module, weight, rank: rank)
            try weight.dtype?.requireWiderThanBytes(module.path)
            let table = NumberTable(try dealt.scales(in: weight.dtype))
            func values(_ list: [Int], _ shape: Shape) -> MatrixExpression {
                MatrixExpression.constant(.table(table, rows: 1, columns: length)).columns(at: list)
                    .reshaped(columns: shape[1])
            }
            scales = (values(indices.a, shapeA), values(indices.b, shapeB))
            warnings = [dealt.assumption]
        }
        let vector = try module.row("unilora_theta_d", count: length)
        let right = vector.columns(at: indices.a).reshaped(columns: weight.columns) * scales.a
        let left = vector.columns(at: indices.b).reshaped(columns: rank) * scales.b
        return ModuleChanges(weight: .add(left × right), warnings: warnings)
    }
}

/// The indices of all modules, dealt out from a seed.
private struct DealtIndices: Sendable {
    let assumption: String
    private let list: [Int]
    private let counts: [Int]
    /// Where each module's numbers begin.
    private let starts: [ExactString: Int]

    init(of module: MethodModule, rank: Int, length: Int) throws {
        guard let scope = module.scope else { throw module.refusal("has no base", rule: "BaseNeeded") }
        let config = module.config
        self = try scope.once("indices") { try DealtIndices(scope, config, module, rank: rank, length: length) }
    }

    private init(
        _ scope: AdapterScope, _ config: AdapterConfig, _ module: MethodModule, rank: Int, length: Int
    ) throws {
        let seed = try ProjectionSeed(config, "proj_seed")
        guard !seed.isNegative else { throw config.wrong("proj_seed", "a whole number from 0 on") }
        let positions = try scope.positions()
        var starts: [ExactString: Int] = [:]
        var total = 0
        for target in scope.targets.sorted(by: { positions[$0.path] ?? 0 < positions[$1.path] ?? 0 }) {
            starts[target.path] = total
            total += try module.elementCount(target.rows + target.columns, rank)
            guard total < 1 << 31 else {
                throw module.refusal("is one of more modules than indices can be dealt to", rule: "ProjectionSize")
            }
        }
        var generator = NumpyGenerator(seed: seed.value)
        let (each, rest) = total.quotientAndRemainder(dividingBy: length)
        var list = (0..<length).flatMap { [Int](repeating: $0, count: each) }
        if rest > 0 { list += generator.choice(rest, of: length) }
        generator.shuffle(&list)
        var counts = [Int](repeating: 0, count: length)
        for index in list { counts[index] += 1 }
        (self.list, self.counts, self.starts) = (list, counts, starts)
        assumption = seed.assumption(
            "the indices into unilora_theta_d are",
            ", over the base's modules that target_modules names, in the order in which transformers registers them",
            as: "numpy's default_rng deals them")
    }

    func indices(_ module: MethodModule, _ weight: ModuleWeight, rank: Int) throws -> (a: [Int], b: [Int]) {
        let (first, second) = (rank * weight.columns, rank * weight.rows)
        guard let start = starts[module.path], start + first + second <= list.count else {
            throw module.refusal("was dealt no indices", rule: "MissingTensor")
        }
        return (Array(list[start..<(start + first)]), Array(list[(start + first)..<(start + first + second)]))
    }

    /// The scale of each index, in the base's type.
    func scales(in dtype: DType?) throws -> [Double] {
        let scales = counts.map { $0 == 0 ? 0 : Double(1 / Float($0).squareRoot()) }
        guard let dtype, dtype.isMergeable else { return scales }
        return try dtype.holding(scales)
    }
}
