import ByteAccess
import Tensors

/// TinyLoRA, one short vector through random matrices (arXiv:2602.04118).
///
///     W' = W + B × R × A               R[j, k] = Σ_i v[i]·P[i, j, k]
///
/// A and B are the base's own truncated singular vectors, each times the root of the singular values; both are saved, so
/// nothing is decomposed here.
///
/// | keys | shape |
/// |---|---|
/// | `tinylora_A`, `tinylora_B` of each module | (r, in), (out, r) |
/// | `tinylora_P` of each module, with `save_projection` | (u, r, r) |
/// | `base_model.tinylora_v.G`, for all modules of group G | (u) |
///
/// The g groups follow from `weight_tying` t: of n modules, in the order in which the model registers them,
/// g = max(1, round(n·(1 − t))), halves to even, and module number l is of group min(l div (n div g), g − 1). P is
/// `torch.normal(0, 1/√r)`, float32, seeded with `projection_seed` + l, and rounded to the type of the base's layer where that
/// has 16 bits, to which PEFT moves it. So a saved P tells l; without it l is the position
/// among the modules, in the order that ``ModuleOrder`` knows. A P that the seed makes for no module is refused. Where some modules have a P and others none, those that have none
/// get theirs from the seed, as PEFT's load leaves what its constructor drew (`set_peft_model_state_dict`, strict=False).
///
/// Order: R, i ascending; then B × R, then × A.
/// Config: `r`, `u`, `weight_tying`, `projection_seed`, `save_projection`.
/// Source: `TinyLoraModel._create_and_replace`, `_build_target_key_mapping` in peft/tuners/tinylora/model.py,
/// `TinyLoraLayer._init_projection`, `_compute_R`, `get_delta_weight` in layer.py.
struct TinyLoRA: ModuleMethod {
    let name = "TinyLoRA"
    let peftTypes = ["TINYLORA"]
    let components: Set<String> = ["tinylora_A", "tinylora_B", "tinylora_P", "tinylora_v"]
    let configKeys: Set<String> = [
        "r", "u", "weight_tying", "projection_seed", "save_projection", "init_v_bound", "tinylora_dropout", "fan_in_fan_out",
        "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["weight_tying"]
    let stillPoints: [[String: Double]] = [["tinylora_v": 0]]

    /// The seed drew the projections, where every module has its own in the file.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        guard key == "projection_seed" else { return nil }
        func modules(_ component: String) -> Set<ExactString> { Set(adapter.keys.filter { $0.component == component }.map(\.module)) }
        return modules("tinylora_P") != modules("tinylora_A")
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("tinylora_B", 0), columns: try module.side("tinylora_A", 1))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("tinylora_A", 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("u", try module.has("tinylora_P") ? module.side("tinylora_P", 0) : module.side("tinylora_v.0", 0)),
            .init("projection", module.has("tinylora_P") ? "stored" : "from projection_seed"),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        try module.requireLayer(weight)
        let rank = try module.side("tinylora_A", 0)
        if let wanted = try module.count("r"), rank != min(wanted, weight.rows, weight.columns) {
            try module.requireRank(rank, of: "tinylora_A", pattern: nil)
        }
        let size = try module.elementCount(rank, rank)
        let length = try length(module, size)
        guard let scope = module.scope else { throw module.refusal("has no base", rule: "BaseNeeded") }
        let seed = try ProjectionSeed(module.config, "projection_seed")
        let layer = try layer(module, scope, seed, rank: rank, length: length)
        let vector = try module.vector("tinylora_v.\(try group(layer, of: scope.targets.count, module))", count: length)
        var warnings: [String] = []
        let projection: MatrixExpression
        if module.has("tinylora_P") {
            projection = try module.matrix("tinylora_P", [length, rank, rank])
        } else {
            try weight.dtype?.requireWiderThanBytes(module.path)
            let types = weight.dtype.map { $0.isHalf ? [$0] : [] } ?? []
            let numbers = try types.reduce(
                Self.projection(seed, layer, rank: rank, length: length).map { Double($0) }) { try $1.holding($0) }
            projection = .constant(.table(NumberTable(numbers), rows: length, columns: size))
            warnings = [
                seed.assumption(
                    module.isAtAnyModule("tinylora_P")
                        ? "tinylora_P of \(module.path), which other modules have, is" : "tinylora_P of each module is", " on x86-64 with AVX2, for the modules in the order in which transformers "
                        + "registers them" + ProjectionSeed.note(roundedTo: types))
            ]
        }
        let mixed = (vector × projection).reshaped(columns: rank)
        let left = try module.matrix("tinylora_B", [weight.rows, rank])
        let right = try module.matrix("tinylora_A", [rank, weight.columns])
        return ModuleChanges(weight: .add(left × mixed × right), warnings: warnings)
    }

    /// u, which all vectors have.
    private func length(_ module: MethodModule, _ size: Int) throws -> Int {
        let length = try module.has("tinylora_P") ? module.side("tinylora_P", 0) : module.side("tinylora_v.0", 0)
        let name = module.has("tinylora_P") ? "tinylora_P" : "tinylora_v.0"
        try module.require("u", is: length, of: name)
        guard length > 0 else { throw module.misfit(try module.tensor(name), "u elements") }
        _ = try module.elementCount(length, size)
        return length
    }

    private static func projection(_ seed: ProjectionSeed, _ layer: Int, rank: Int, length: Int) -> [Float] {
        var generator = MersenneTwister(seed: seed.value &+ UInt64(layer))
        return TorchNormal.single(
            length * rank * rank, mean: 0, deviation: 1 / Double(rank).squareRoot(), &generator)
    }

    private func groups(_ modules: Int, _ module: MethodModule) throws -> Int {
        let tying = try module.number("weight_tying") ?? 0
        guard (0...1).contains(tying) else { throw module.config.wrong("weight_tying", "a number from 0 to 1") }
        return max(1, Int((Double(modules) * (1 - tying)).rounded(.toNearestOrEven)))
    }

    private func group(_ layer: Int, of modules: Int, _ module: MethodModule) throws -> Int {
        let groups = try groups(modules, module)
        return min(layer / max(1, modules / groups), groups - 1)
    }

    /// The module's number: the one whose seed gives the saved P, else the position in the model.
    private func layer(
        _ module: MethodModule, _ scope: AdapterScope, _ seed: ProjectionSeed, rank: Int, length: Int
    ) throws -> Int {
        let modules = scope.targets.count
        // One vector for all: the seed tells nothing, unless it is to make what some modules lack.
        if try module.has("tinylora_P") && groups(modules, module) == 1 && module.count(ofComponent: "tinylora_P") >= modules { return 0 }
        if module.has("tinylora_P") {
            let stored = try module.numbers(try module.tensor("tinylora_P"))
            // A few elements tell; other processors and types differ in their last digits.
            let starts = scope.once("starts \(rank) \(length)") {
                (0..<modules).map { Array(Self.projection(seed, $0, rank: rank, length: length).prefix(16)) }
            }
            let hits = starts.indices.filter { layer in
                zip(starts[layer], stored).allSatisfy { abs(Double($0) - $1) <= 0x1p-6 * max(abs($1), 0x1p-6) }
            }
            if hits.count == 1, let hit = hits.first { return hit }
            guard !hits.isEmpty else {
                throw module.refusal(
                    "has a tinylora_P that \(seed.text) does not make for any of the \(modules) modules, so which vector it takes "
                        + "cannot be told", rule: "ConfigMismatch",
                    help: "restore projection_seed in adapter_config.json as the training had it")
            }
        }
        guard let position = try scope.positions()[module.path] else {
            throw module.refusal("has no place among the modules", rule: "MissingTensor")
        }
        return position
    }
}
