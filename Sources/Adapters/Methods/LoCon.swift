import Tensors

/// LoRA of any layer, where it has a Tucker core or stands inside a weight decomposition (LyCORIS, arXiv:2309.14859).
///
///     W' = W + s·B·A                       A (r, in·k…), B (out, r)
///     W' = W + s·M,   M[p, q, k] = Σ_i B[p, i]·(Σ_j t[i, j, k]·A[j, q])      with `lora_mid` t (r, r, k…)
///
/// | keys | shape |
/// |---|---|
/// | `lora_A.weight`, `lora_B.weight` | (r, in, k…), (out, r, 1…); with a core (r, in, 1…) |
/// | `lora_mid.weight` | (r, r, k…) |
///
/// Order: the inner sum, the outer sum, the scale. Source: `LoConModule.make_weight` in lycoris/modules/locon.py,
/// `rebuild_tucker` in lycoris/functional/general.py.
struct LoCon: ModuleMethod {
    let name = "LoCon"
    let peftTypes: [String] = []
    let components: Set<String> = ["lora_A", "lora_B", "lora_mid"]
    let configKeys: Set<String> = []

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let window = module.has("lora_mid.weight") ? try module.shape("lora_mid.weight").dropFirst(2).reduce(1, *) : 1
        return UpdateExtent(
            rows: try module.side("lora_B.weight", 0),
            columns: try module.shape("lora_A.weight").dropFirst().reduce(1, *) * window)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let scale = module.scale
        return (scale?.rank, scale?.alpha, scale?.value)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let a = try module.matrix("lora_A.weight")
        let b = try module.matrix("lora_B.weight")
        let scale = module.scale?.value ?? 1
        guard module.has("lora_mid.weight") else {
            guard a.rows == b.columns else {
                throw module.misfit(try module.tensor("lora_B.weight"), "the rank \(a.rows) of lora_A")
            }
            return ModuleChanges(weight: .add(b × a, scale: scale))
        }
        let core = try TuckerCore("lora_mid.weight", of: module, ranks: (b.columns, a.rows))
        return ModuleChanges(weight: .add(core.expanded(left: b.transpose, right: a), scale: scale))
    }
}
