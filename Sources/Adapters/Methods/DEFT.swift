import ByteAccess
import Tensors

/// DEFT, decompositional efficient fine-tuning: a projection of the base is taken out and other content put in its place.
///
///     W' = W + Q × (c·R − Kᵀ × W)
///     W' = W − Q × (Kᵀ × W)                               `para`, the form of PaRa
///
/// | `decomposition_method` | Q | K |
/// |---|---|---|
/// | `relu` | P | max(P, 0) |
/// | `qr` | Q of P = Q·R₁ | Q |
///
/// | keys | shape |
/// |---|---|
/// | `deft_P` | (out, r), r = min(`r`, out) |
/// | `deft_R` | (r, in); not with `para` |
///
/// c = alpha / r, or 1 where `alpha` is absent or 0. The columns of Q have the signs that LAPACK gives them, which do not
/// depend on its build: a reflection's β is −‖x‖ with the sign of x₀. W is held whole, as it is multiplied from the left.
///
/// Config: `r`, `alpha`, `decomposition_method`, `para`. Order: c·R; Kᵀ × W in order of the outputs; the difference; the
/// product with Q.
/// Source: `DeftLinear._project`, `_merge_factor`, `_delta_from_factor` in peft/tuners/deft/layer.py.
struct DEFT: ModuleMethod {
    let name = "DEFT"
    let peftTypes = ["DEFT"]
    let components: Set<String> = ["deft_P", "deft_R"]
    let configKeys: Set<String> = [
        "r", "alpha", "decomposition_method", "para", "fan_in_fan_out", "bias", "deft_dropout", "init_scale", "init_weights",
    ]
    let requiredKeys: Set<String> = ["decomposition_method", "para", "alpha"]
    let nullableKeys: Set<String> = ["alpha"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(
            rows: try module.side("deft_P", 0), columns: module.has("deft_R") ? try module.side("deft_R", 1) : nil)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("deft_P", 1), try module.number("alpha"), try scale(module))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("decomposition_method", try method(module)), .init("para", try module.config.flag("para"))]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard !weight.isConvolution else {
            throw module.refusal("is no Linear layer, and DEFT is defined for no other", rule: "ModuleKind")
        }
        let rank = try module.side("deft_P", 1)
        // PEFT caps the rank at the number of outputs.
        if rank != weight.rows { try module.requireRank(rank, of: "deft_P", pattern: nil) }
        let stored = try module.matrix("deft_P", [weight.rows, rank])
        guard rank <= weight.rows else { throw module.misfit(try module.tensor("deft_P"), "no more columns than rows") }
        let isRotation = try method(module) == "qr"
        let projection: MatrixExpression = isRotation ? .orthonormal(stored) : stored
        let taken = (isRotation ? projection : .function(.relu, stored)).transpose × weight.base
        if try module.config.flag("para") {
            guard !module.has("deft_R") else {
                throw module.refusal(
                    "has a deft_R, and the config says para", rule: "TensorUnexpected",
                    help: "correct para in adapter_config.json")
            }
            return ModuleChanges(weight: .add(projection × taken, scale: -1))
        }
        let injected = try scale(module) * module.matrix("deft_R", [rank, weight.columns])
        return ModuleChanges(weight: .add(projection × (injected - taken)))
    }

    private func method(_ module: MethodModule) throws -> String {
        let name = module.config["decomposition_method"]?.stringValue ?? "relu"
        guard ["relu", "qr"].contains(name) else { throw module.config.wrong("decomposition_method", "relu or qr") }
        return name
    }

    private func scale(_ module: MethodModule) throws -> Double {
        guard let alpha = try module.number("alpha"), alpha != 0 else { return 1 }
        return alpha / Double(try module.side("deft_P", 1))
    }
}
