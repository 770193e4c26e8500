import ByteAccess
import Checkpoints

/// Adapter-Tuning (arXiv:1902.00751), as the adapters library and OpenDelta store it: recognised by its tensors, since
/// its config names no `peft_type`.
///
///     y = z + s·(U f(D z + b) + c)
///
/// No weight of the base has the same effect for every z unless f is the identity. Then, and where z is the output of one
/// linear layer, z = W x + w, with neither norm, gate nor sum between (``BottleneckPlacement``), the adapter merges exactly:
///
///     W' = W + s·U·(D·W)          w' = w + s·U·(D·w) + s·U·b + s·c
///
/// in the order of ``BaseComposition``. s is the config's `scaling`, or the adapter's `scaling` tensor: one number, or one for
/// each output. The layer needs a bias, since the adapter has two.
///
/// AdapterHub: `Adapter.pre_forward`, `.forward` and `.post_forward` in adapters/methods/modeling.py. With
/// `original_ln_before` the adapter reads LN(z + r) or z + r, r the residual stream: no output of one layer. Without, it
/// reads z, its own residual is z whether `residual_before_ln` is true or false, and LN(y + r) follows as LN(z + r) did.
/// `is_parallel` adapters read the sub-layer's input. OpenDelta: `AdapterLayer.post_forward`, where s = 1.
struct Bottleneck: AdapterMethod {
    let peftTypes: [String] = []
    /// `BnConfig` of the adapters library; then OpenDelta's `AdapterConfig` and `BaseDeltaConfig`.
    let configKeys: Set<String> = [
        "architecture", "mh_adapter", "output_adapter", "cross_adapter", "reduction_factor", "non_linearity",
        "original_ln_before", "original_ln_after", "ln_before", "ln_after", "is_parallel", "scaling", "use_gating",
        "residual_before_ln", "adapter_residual_before_ln", "inv_adapter", "inv_adapter_reduction_factor", "phm_layer",
        // How it was initialised and trained, and Compacter's numbers.
        "init_weights", "init_weights_seed", "leave_out", "dropout", "stochastic_depth", "phm_dim", "factorized_phm_W",
        "shared_W_phm", "shared_phm_rule", "factorized_phm_rule", "phm_c_init", "phm_init_range", "learn_phm",
        "hypercomplex_nonlinearity", "phm_rank", "phm_bias",
        "delta_type", "bottleneck_dim", "modified_modules", "exclude_modules", "unfrozen_modules", "common_structure",
        "interactive_modify", "backend", "backbone_class", "backbone_checkpoint_name", "backbone_hash",
        "opendelta_version", "transformers_version",
    ]

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        Bottleneck.modules(of: adapter).map { module in
            AdapterTarget(module: ExactString(module.root), method: "bottleneck", rank: module.down?.shape.first)
        }
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        let parts = key.stored.text
        return ["adapter_", ".adapters.", "modulelist.", "invertible_adapters"].contains { parts.contains($0) }
    }

    func remarks(on adapter: Adapter) -> [String] {
        do {
            guard let reason = try BottleneckMerge.obstacle(in: Bottleneck.modules(of: adapter), adapter) else { return [] }
            return ["\(adapter.path): \(BottleneckMerge.sentence(reason))"]
        } catch {
            return ["\(adapter.path): \(error)"]
        }
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        let modules = Bottleneck.modules(of: adapter)
        if let reason = try BottleneckMerge.obstacle(in: modules, adapter) {
            throw BottleneckMerge.refusal(reason, adapter)
        }
        try BottleneckMerge.section(adapter)?.requireKnownKeys(configKeys)
        return try BottleneckMerge(adapter: adapter, modules: modules, context: context).updates()
    }

    static func modules(of adapter: Adapter) -> [BottleneckModule] {
        BottleneckModule.modules(among: adapter.checkpoint.tensors.map { PromptTensor($0) })
    }
}
