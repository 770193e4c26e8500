import ByteAccess
import Tensors

extension LoRA {
    /// s·B·A of every module. A module whose rank contradicts the config is set aside with the reason.
    ///
    /// Source: as the merge, `get_delta_weight` in peft/tuners/lora/layer.py; what depends on the base is named in
    /// ``LowRankUpdate/form``: DoRA's norm, QALoRA's groups, what an initialisation took out of the base.
    func lowRankUpdates(of adapter: Adapter) throws -> LowRankUpdates? {
        guard let modules = try moduleUpdates(of: adapter) else { return nil }
        var result = LowRankUpdates()
        for (module, updates) in modules {
            switch updates {
            case .success(let updates): result.updates += updates
            case .failure(let error): result.skipped.append((module.path, error.message))
            }
        }
        return result
    }

    /// A module with its updates, or why they cannot be told.
    typealias ModuleUpdates = (module: LoRAModule, updates: Result<[LowRankUpdate], PeftfileError>)

    /// The same for each module, or why its update cannot be told.
    func moduleUpdates(of adapter: Adapter) throws -> [ModuleUpdates]? {
        guard let file = adapter.config else { return nil }
        // The base's role plays no part here: the initialisation is part of the form.
        let config = try LoRAConfig(file, options: BindingOptions(baseRole: .residual))
        let modules = try LoRAModule.collect(from: adapter)
        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        let initialisation = LoRAConfig.residualInitialisation(file)
        return try modules.map { module in
            do { return (module, .success(try module.updates(config, levels: levels[module.path] ?? 1, initialisation: initialisation))) }
            catch let error as PeftfileError { return (module, .failure(error)) }
        }
    }
}

extension LoRAModule {
    /// The module's update; one for each expert where experts are stacked.
    fileprivate func updates(_ config: LoRAConfig, levels: Int, initialisation: String?) throws -> [LowRankUpdate] {
        let isWrapped = depth > 0 || levels > 1 || isTargetParameter(config.targetParameters)
        let parameter = wrappedParameter(config.targetParameters, levels: levels)
        let key = parameter.map { "\(path).\($0)" } ?? path.text
        let rank = rank(config.rank(for: key), in: config)
        let experts = isWrapped && rank > 0 && storedRank % rank == 0 ? storedRank / rank : 1
        if experts == 1 { try requireOneMatrix(rank, config) }
        try checkRank(rank, experts: experts, hasConfiguredRank: config.hasConfiguredRank)
        let scale = config.scale(for: key)
        let shape = try updateShape(config)
        // An embedding's magnitude is of its columns.
        if config.usesDoRA, !isEmbedding, let magnitude, shape.rows > 0, magnitude.elementCount != shape.rows {
            throw PeftfileError(
                .refused, "has shape \(magnitude.shape), and lora_B has \(shape.rows) rows", tensor: magnitude.name, rule: "ShapeMismatch",
                help: "save the adapter again; a magnitude has one value for each output")
        }
        let terms = try lowRankTerms(rank: rank, experts: experts, width: nil, adapter: 0, config: config)
        var form: [String] = []
        if config.usesDoRA { form.append("DoRA") }
        if config.usesKaSA { form.append("KaSA of rank \(rank)") }
        if let group = config.groupSize { form.append("QALoRA of groups of \(group)") }
        if let initialisation { form.append("\(initialisation) of rank \(rank) and scale \(scale)") }
        let tensors = [a.name, b.name] + (diagonal.map { [$0.name] } ?? [])
        func update(_ expert: Int?, _ terms: [Term]) -> LowRankUpdate {
            LowRankUpdate(
                module: path, parameter: parameter ?? (depth > 0 ? "weight, level \(depth)" : "weight"), expert: expert,
                form: form.joined(separator: ", "), rank: rank, scale: scale, rows: shape.rows, columns: shape.columns,
                terms: terms.map { .init(left: $0.left, right: $0.right, scale: scale * $0.scale, region: $0.region) },
                tensors: tensors)
        }
        guard experts > 1 else { return [update(nil, terms)] }
        return terms.enumerated().map { update($0, [$1]) }
    }
}
