public import ByteAccess

/// What kind of JSON value each config key has, for all keys that can change a merge; a value of another kind is refused by
/// name wherever it stands, before a method reads it.
///
/// null is a key that is not there, and false, an empty list and an empty map are features that are off, as PEFT writes them.
/// Source: the field annotations of the config classes in peft/tuners, PEFT 0.21.
enum ConfigKind: String, CaseIterable {
    case number = "a number"
    case flag = "true or false"
    case text = "a text"
    case list = "a list"
    case map = "a map"

    /// The kinds that a key's value may have; nil for keys of training alone.
    static func kinds(of key: String) -> [ConfigKind]? { table[key] }

    /// Keys of methods that have no part in a merge, whatever their value: dropouts, initial values, schedules, and where PEFT
    /// computes or saves.
    static let training: Set<String> = [
        "lora_dropout", "hira_dropout", "gralora_dropout", "boft_dropout", "deft_dropout", "frod_dropout", "unilora_dropout",
        "vera_dropout", "pvera_dropout", "randlora_dropout", "tinylora_dropout", "vblora_dropout", "miss_dropout", "bone_dropout",
        "module_dropout", "rank_dropout", "rank_dropout_scale",
        "init_theta_d_bound", "init_v_bound", "init_vector_bank_bound", "init_logits_std", "d_initial", "init_ia3_weights",
        "init_scale",
        "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
        "use_asa", "asa_importance_beta", "asa_uncertainty_beta", "asa_schedule_exponent", "asa_target_subspaces", "init_warmup",
        "final_warmup", "mask_interval",
        "megatron_core", "ephemeral_gpu_offload", "merge_weights", "progressbar", "runtime_offload_base_weight", "select_top",
        "save_precomputed_indices", "mask_type", "generator_seed", "regularization_alpha",
    ]

    /// What the config classes of all or most methods have, and no merge depends on.
    static let common: [String: [ConfigKind]] = [
        "base_model_name_or_path": [.text], "revision": [.text], "task_type": [.text], "auto_mapping": [.map], "inference_mode": [.flag],
        "target_modules": [.list, .text], "exclude_modules": [.list, .text], "modules_to_save": [.list, .text],
        "layers_to_transform": [.list, .number], "layers_pattern": [.list, .text],
    ]

    /// Those of the methods that have no merged form; the sizes of prompts are `PromptFacts`' business.
    static let unmerged: [String: [ConfigKind]] = {
        var table = common
        for (kind, keys) in [
            (ConfigKind.number, "adapter_len adapter_layers r stride_A num_B scaling psoft_alpha random_seed psoft_svd_lowrank_niter shadow_alpha "
                + "shadow_num_hidden_layers shadow_hidden_size shadow_num_attention_heads shadow_intermediate_size update_hidden_size "
                + "hidden_size xlora_depth xlora_size softmax_temperature top_k_lora scaling_pass_value global_scaling_weight"),
            (.flag, "fan_in_fan_out psoft_orth psoft_mag_a psoft_mag_b use_cayley_neumann share_embeddings enable_softmax "
                + "enable_softmax_topk layerwise_scalings use_trainable_adapters prefix_projection"),
            (.text, "ab_svd_init psoft_svd shadow_model"), (.map, "adapters"),
        ] {
            for key in keys.split(separator: " ") { table[String(key)] = [kind] }
        }
        return table
    }()

    private static let table: [String: [ConfigKind]] = {
        var table: [String: [ConfigKind]] = [
            "init_weights": [.flag, .text], "init_lora_weights": [.flag, .text], "target_parameters": [.list, .text],
            "feedforward_modules": [.list, .text], "trainable_token_indices": [.list, .map],
        ]
        for (kind, keys) in [
            (ConfigKind.number, numbers), (.flag, flags), (.text, texts), (.list, lists), (.map, maps),
        ] {
            for key in keys.split(separator: " ") { table[String(key)] = [kind] }
        }
        return table
    }()

    private static let numbers = """
        r init_r lora_alpha alpha randlora_alpha mini_r hybrid_r gralora_k delora_lambda qalora_group_size group_size block_size \
        boft_block_size boft_block_num boft_n_butterfly_factor oft_block_size eps num_cayley_neumann_terms decompose_factor scaling \
        n_frequency random_loc_seed random_seed projection_prng_key projection_seed proj_seed theta_d_length u weight_tying topk \
        num_vectors vector_length sparse_rate sparsity effective_rank depth n_tasks n_skills n_splits num_subspaces subspace_rank \
        svd_threshold
        """
    private static let flags = """
        use_rslora use_dora fan_in_fan_out lora_bias use_qalora ensure_weight_tying coft block_share use_cayley_neumann apply_GS \
        save_projection sample_at_inference sparse very_sparse save_only_topk_weights save_indices use_idwt \
        proportional_parameters para decompose_both use_effective_conv2d use_dynamic_rank
        """
    private static let texts = """
        bias config_A_B config_C config_D_E variant wavelet_family act_fn decomposition_method poly_type peft_version
        """
    private static let lists = "layer_replication alora_invocation_tokens token_indices"
    private static let maps = """
        rank_pattern alpha_pattern lambda_pattern block_size_pattern n_frequency_pattern target_svd_config use_bdlora arrow_config \
        kasa_config monteclora_config velora_config eva_config corda_config lora_ga_config loftq_config megatron_config
        """

    /// Whether the value is of this kind.
    private func fits(_ value: JSONValue) -> Bool {
        switch (self, value) {
        case (.number, .number), (.flag, .bool), (.text, .string), (.list, .array), (.map, .object), (.list, .bool(false)),
            (.map, .bool(false)):
            true
        case (.list, .object(let object)): object.members.isEmpty
        case (.map, .array(let list)): list.isEmpty
        default: false
        }
    }

    /// What the value of a key must be; nil where it is that, or the key's kind is not known.
    static func misfit(_ value: JSONValue, _ kinds: [ConfigKind]?) -> String? {
        guard let kinds, !kinds.contains(where: { $0.fits(value) }) else { return nil }
        return kinds.map(\.rawValue).joined(separator: " or ")
    }
}

extension AdapterConfig {
    /// Refuses a key of `keys` whose value is of another kind than PEFT gives it.
    func requireKinds(of keys: Set<String>) throws {
        for member in json.members where keys.contains(member.key.text) || member.key.text == "peft_version" {
            if case .null = member.value { continue }
            if let wanted = ConfigKind.misfit(member.value, ConfigKind.kinds(of: member.key.text)) { throw wrong(member.key, wanted) }
        }
    }
}

extension AdapterMethod {
    /// Refuses a config in which a value is of the wrong kind, or a key is not there on which the update depends: PEFT would take
    /// its default for whatever the training had.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` for a value of the wrong kind; `.refused` with rule `ConfigKeyMissing` for a
    ///   required key that is not there, or is null where the method takes no null.
    public func requireConfig(of adapter: Adapter) throws {
        guard adapter.method == nil, let config = adapter.config, config.peftType != nil else { return }
        try config.requireKinds(of: configKeys)
        for key in requiredKeys.sorted() {
            guard config[ExactString(key)] == nil, !(nullableKeys.contains(key) && config.json[ExactString(key)] != nil) else { continue }
            throw PeftfileError(
                .refused, "has no \(key), and the update depends on it", file: config.path, rule: "ConfigKeyMissing",
                help: "add the \(key) of the training run (PEFT would silently assume its default)")
        }
    }

    /// What is said of tensors of modules that no key of the config names; nil where there are none, or PEFT has a list of its own for the
    /// type of the model, which then stands for the key (``DefaultTargets``). It raises where it has none. What it trains it
    /// saves with `target_modules`.
    ///
    /// - Parameter modelType: `model_type` of the base; nil where it is not known.
    ///
    /// Source: `BaseTuner._prepare_adapter_config` in peft/tuners/tuners_utils.py.
    public func unnamedModules(of adapter: Adapter, modelType: String? = nil) -> PeftfileError? {
        guard needsTargetModules, adapter.dialect == nil, adapter.method == nil, let config = adapter.config, config.peftType != nil,
            config["target_modules"] == nil, modelType.flatMap(defaultTargets.targets) == nil, let parameters = try? config.strings("target_parameters")
        else { return nil }
        let modules = adapter.keys.filter { key in
            guard let component = key.component, !key.isPrompt, !key.module.text.isEmpty else { return false }
            return component != "original_module" && !component.hasPrefix("trainable_tokens") && !parameters.contains("weight")
                && !LoadedModules.holdsParameter(key.module.text, parameters)
        }.map(\.module.text)
        guard !modules.isEmpty else { return nil }
        let names = Set(modules.compactMap { $0.dottedComponents.last.map(String.init) }).sorted()
        let count = Set(modules).count
        let counted = "\(count) module\(count == 1 ? "" : "s")"
        let reason = modelType.map {
            "PEFT has no list of its own for model_type \"\($0.printable)\": it would not load the \(counted) of the file"
        } ?? "PEFT takes its own list of the model's type, or none: whether it loads the \(counted) of the file is not told"
        return PeftfileError(
            .refused, "has no target_modules, for which \(reason)", file: config.path, rule: "ConfigKeyMissing",
            help: "write the target_modules of the training into adapter_config.json, by the tensors ["
                + names.prefix(12).map { "\"\($0.printable)\"" }.joined(separator: ", ") + (names.count > 12 ? ", …]" : "]"))
    }
}
