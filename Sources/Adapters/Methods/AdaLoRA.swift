import ByteAccess
import Tensors

/// AdaLoRA, low-rank adaptation in the form of a singular value decomposition (arXiv:2303.10512).
///
///     W' = W + s·(B × (A ⊙ E))                            s = alpha / (init_r + 10⁻⁵)
///
/// | keys | shape |
/// |---|---|
/// | `lora_A` | (k, in), for a Conv2d (k, in·k…) |
/// | `lora_B` | (out, k) |
/// | `lora_E` | (k, 1): row i of A is multiplied by E[i] |
///
/// k is `init_r`, or how many of them `rank_pattern` keeps for the module: PEFT stores only those. The divisor stays
/// `init_r`: a module that is resized on loading keeps it ("the scaling is exactly as the previous"). An alpha that is
/// not positive means `init_r`. PEFT's AdaLoRA reads neither `use_rslora` nor `alpha_pattern`, which its config inherits
/// from LoRA's: the scale is one for all modules, whatever they say.
///
/// Config: `init_r`, `lora_alpha`, `rank_pattern`. Order: A ⊙ E, the product, the scale.
/// Source: `SVDLinear.get_delta_weight`, `AdaLoraLayer.update_layer` in peft/tuners/adalora/layer.py,
/// `resize_modules_by_rank_pattern` in model.py.
struct AdaLoRA: ModuleMethod {
    let name = "AdaLoRA"
    let peftTypes = ["ADALORA"]
    let defaultTargets = DefaultTargets.adalora
    let components: Set<String> = ["lora_A", "lora_B", "lora_E"]
    let configKeys: Set<String> = [
        "init_r", "lora_alpha", "rank_pattern", "fan_in_fan_out", "bias", "trainable_token_indices", "ensure_weight_tying",
        // The budget's schedule, and what LoRA's config brings along without a part in AdaLoRA.
        "r", "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step", "lora_dropout",
        "init_lora_weights", "megatron_config", "megatron_core", "qalora_group_size", "loftq_config", "use_rslora", "alpha_pattern",
    ]
    let requiredKeys: Set<String> = ["lora_alpha", "init_r"]

    /// Whatever the initialisation is called, a layer of AdaLoRA only resets its factors (`AdaLoraLayer.update_layer`).
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? { key == "init_lora_weights" ? false : nil }

    /// Where `rank_pattern` keeps no value of a module, its matrices have no row or no column; a placeholder of a shard has one side.
    func isEmptyByDesign(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        guard let shape = adapter.tensor(key.stored)?.shape, shape.count == 2, shape != [0, 0] else { return false }
        return adapter.config?["rank_pattern"]?.objectValue?.members.contains { $0.value.arrayValue != nil } == true
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        // By the sides: a module of which no value was kept has no elements.
        UpdateExtent(rows: try module.side("lora_B", 0), columns: try module.shape("lora_A").dropFirst().reduce(1, *))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let (alpha, scale) = try scale(module)
        return (try module.side("lora_A", 0), alpha, scale)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] { [.init("init_r", try initialRank(module))] }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let rank = try module.side("lora_A", 0)
        let kept = try keptRank(of: module)
        guard rank == kept else {
            throw PeftfileError(
                .refused, "has rank \(rank), and the config says \(kept): the scale would be wrong",
                tensor: try module.tensor("lora_A").name, rule: "RankMismatch",
                help: "correct init_r or rank_pattern in adapter_config.json")
        }
        // All values pruned: a product over no rank at all, which is zero.
        if rank == 0 { return try unchanged(module, weight) }
        let right = try module.matrix("lora_A") * module.matrix("lora_E", [rank, 1])
        return ModuleChanges(
            weight: .add(try module.matrix("lora_B", [weight.rows, rank]) × right, scale: try scale(module).value))
    }

    private func unchanged(_ module: MethodModule, _ weight: ModuleWeight) throws -> ModuleChanges {
        for (name, shape) in [("lora_A", [0, weight.columns]), ("lora_B", [weight.rows, 0])] as [(String, Shape)] {
            guard try module.shape(name) == shape else { throw module.misfit(try module.tensor(name), "shape \(shape)") }
        }
        let names = ["lora_A", "lora_B", "lora_E"]
        return ModuleChanges(
            weight: .add(.filled(0, rows: weight.rows, columns: weight.columns)),
            setAside: try names.map { (try module.tensor($0).name, "rank_pattern keeps no value of the module") })
    }

    private func initialRank(_ module: MethodModule) throws -> Int { try module.count("init_r") ?? 12 }

    private func scale(_ module: MethodModule) throws -> (alpha: Double, value: Double) {
        let rank = Double(try initialRank(module))
        let given = try module.number("lora_alpha") ?? 8
        let alpha = given > 0 ? given : rank
        return (alpha, alpha / (rank + 1e-5))
    }

    /// How many of the singular values `rank_pattern` keeps: an entry `<module>.lora_E` is a list of flags.
    private func keptRank(of module: MethodModule) throws -> Int {
        guard let pattern = module.config["rank_pattern"]?.objectValue else { return try initialRank(module) }
        let entry = pattern.members.first { member in
            let name = member.key.text
            return name == "\(module.path).lora_E" || name.hasSuffix(".\(module.path).lora_E")
        }
        guard let entry else { return try initialRank(module) }
        // One flag for each value; older versions wrap each in a list of its own.
        let flags = entry.value.arrayValue?.map { $0.boolValue ?? $0.arrayValue?.first?.boolValue }
        guard let flags, flags.allSatisfy({ $0 != nil }) else {
            throw module.config.wrong("rank_pattern", "a map from a module's lora_E to a list of flags")
        }
        return flags.count { $0 == true }
    }
}
