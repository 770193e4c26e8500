import ByteAccess
import Tensors

/// PEANuT, an update that a small network computes from the base weight (arXiv:2410.01870).
///
///     H₀ = φ(A × W)                                       (r, in)
///     H_i = φ(E_i × H_(i−1))                              i = 1 … depth
///     G_i = φ(D_i × G_(i−1)) + H_(depth − i)              i = 1 … depth, G₀ = H_depth
///     W' = W + scaling·(B × G_depth)
///
/// | keys | shape |
/// |---|---|
/// | `peanut_A.weight`, `peanut_B.weight` | (r, out) and (out, r) |
/// | `peanut_encoders.N.weight`, `peanut_decoders.N.weight` | (r, r), N from 0 to depth − 1 |
///
/// φ is `act_fn`, by the name that transformers gives it. The input of the network is Wᵀ in PEFT; here all is transposed.
/// W is held whole.
///
/// Config: `r`, `depth`, `act_fn`, `scaling`. Order: as the formula reads; sums in order of the inner index.
/// Source: `Linear._compute_delta_weight` in peft/tuners/peanut/layer.py, `ACT2FN` in transformers/activations.py.
struct PEANuT: ModuleMethod {
    let name = "PEANuT"
    let peftTypes = ["PEANUT"]
    let components: Set<String> = ["peanut_A", "peanut_B", "peanut_encoders", "peanut_decoders"]
    let configKeys: Set<String> = ["r", "depth", "act_fn", "scaling", "init_weights"]
    let requiredKeys: Set<String> = ["scaling", "act_fn", "depth"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("peanut_B.weight", 0))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("peanut_B.weight", 1), nil, try module.number("scaling") ?? 1)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("depth", try depth(of: module)), .init("act_fn", module.config["act_fn"]?.stringValue ?? "relu")]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard !weight.isConvolution else {
            throw module.refusal("is no Linear layer, and PEANuT is defined for no other", rule: "ModuleKind")
        }
        let rank = try module.side("peanut_B.weight", 1)
        try module.requireRank(rank, of: "peanut_B.weight", pattern: nil)
        let function = try activation(module)
        func step(_ name: String, _ input: MatrixExpression, _ width: Int) throws -> MatrixExpression {
            .function(.activation(function), try module.matrix("\(name).weight", [rank, width]) × input)
        }
        let depth = try depth(of: module)
        var encoded = [try step("peanut_A", weight.base, weight.rows)]
        for index in 0..<depth { encoded.append(try step("peanut_encoders.\(index)", encoded[index], rank)) }
        var result = encoded[depth]
        for index in 0..<depth {
            result = try step("peanut_decoders.\(index)", result, rank) + encoded[depth - 1 - index]
        }
        let last = try module.matrix("peanut_B.weight", [weight.rows, rank])
        return ModuleChanges(weight: .add(last × result, scale: try module.number("scaling") ?? 1))
    }

    /// How many encoders and decoders there are: as many as the config says.
    private func depth(of module: MethodModule) throws -> Int {
        let wanted = try module.number("depth") ?? 0
        let found = module.names.count { $0.hasPrefix("peanut_encoders.") }
        guard wanted == Double(found), module.names.count(where: { $0.hasPrefix("peanut_decoders.") }) == found else {
            throw module.refusal(
                "has \(found) encoders, and the config says depth \(JSONNumber(wanted).text)",
                rule: "DepthMismatch", help: "correct depth in adapter_config.json")
        }
        return found
    }

    private func activation(_ module: MethodModule) throws -> PromptActivation {
        let name = module.config["act_fn"]?.stringValue ?? "relu"
        if let function = PromptActivation(name: name) { return function }
        throw PeftfileError(
            .unsupported, "\"act_fn\" is \"\(name.printable)\", a function that is not known", file: module.config.path,
            rule: "ActivationUnknown", help: "merge it with PEFT's merge_and_unload")
    }
}
