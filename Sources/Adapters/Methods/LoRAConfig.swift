import ByteAccess

/// The numbers of a LoRA config that enter the merge, with PEFT's rules for looking them up.
///
/// Scaling is `lora_alpha / r`, or `lora_alpha / √r` with `use_rslora` (arXiv:2312.03732), with the module's own r and
/// alpha where a pattern names them. Source: `LoraModel._create_and_replace` and `LoraLayer.update_layer` in peft.
struct LoRAConfig {
    /// What the initialisation did to the base.
    enum Initialisation {
        case none
        /// PiSSA: the largest singular triplets left the base.
        case principalComponents
        /// OLoRA: the first columns of Q and rows of R left the base.
        case orthonormalFactors
    }

    let usesRankStabilisedScale: Bool
    let usesDoRA: Bool
    let usesKaSA: Bool
    /// The group size of QALoRA, or nil.
    let groupSize: Int?
    let blockDiagonal: BlockDiagonal?
    let initialisation: Initialisation
    /// Whether the factors began as parts of a decomposition of the base's matrix, whichever base is given now.
    let isCutOutOfBase: Bool
    let targetParameters: [String]
    /// Whether the config gives `r`, or PEFT's default is taken.
    let hasConfiguredRank: Bool
    /// How lora_B's columns run in a stack of experts; nil where the trainer has written both orders.
    let expertOrder: BindingOptions.ExpertOrder?
    private let targetModules: [String]
    private let rank: Int
    private let alpha: Double
    private let rankPattern: (match: PatternMatch, values: [String: Double])
    private let alphaPattern: (match: PatternMatch, values: [String: Double])
    private let modules: [ExactString: ModuleScale]

    /// BD-LoRA: block-diagonal factors (`use_bdlora`).
    struct BlockDiagonal {
        let inA: [String]
        let inB: [String]
        let blocks: Int
    }

    init(_ config: AdapterConfig, options: BindingOptions) throws {
        func refuse(_ message: String, _ rule: String, _ help: String? = nil) -> PeftfileError {
            PeftfileError(.refused, message, file: config.path, rule: rule, help: help)
        }
        if config["alora_invocation_tokens"] != nil {
            throw refuse(
                "activated LoRA (alora_invocation_tokens) cannot be merged: its update acts only on the tokens after "
                    + "the invocation, so no single weight stands for it", "ActivatedLoRA",
                "serve it unmerged")
        }
        if config["arrow_config"] != nil {
            throw refuse(
                "Arrow (arrow_config) cannot be merged: a router picks experts for each token, so no single weight "
                    + "stands for it", "ArrowRouter", "serve it unmerged")
        }
        modules = config.moduleScales
        guard let alpha = try config.number("lora_alpha") ?? (modules.isEmpty ? nil : 1) else {
            throw refuse(
                "has no lora_alpha, and the scale of the update depends on it", "AlphaMissing",
                "add the lora_alpha of the training run (PEFT would silently assume 8)")
        }
        self.alpha = alpha
        // PEFT's default for `r` is 8; the tensors are held against it module by module.
        rank = try config.count("r") ?? 8
        hasConfiguredRank = config["r"] != nil
        // A single string is a regular expression or a shorthand, which only the model's own names can answer.
        targetModules = config["target_modules"]?.arrayValue == nil ? [] : try config.strings("target_modules")
        usesRankStabilisedScale = try config.flag("use_rslora")
        usesDoRA = try config.flag("use_dora")
        usesKaSA = config["kasa_config"] != nil
        if let object = config["kasa_config"]?.objectValue {
            try AdapterConfig(json: object, path: config.path).requireKnownKeys(["beta", "gamma"])
        }
        groupSize = try config.flag("use_qalora") ? try config.count("qalora_group_size") ?? 16 : nil
        targetParameters = try config.strings("target_parameters")
        blockDiagonal = try LoRAConfig.blockDiagonal(config)
        // Unsloth wrote (out, E, r) before September 2026 and PEFT's order since; neither says which.
        let isUnsloth = config["auto_mapping"]?["unsloth_fixed"]?.boolValue == true
        expertOrder = options.expertOrder ?? (isUnsloth ? nil : .rankMajor)
        let ranks = try config.pattern("rank_pattern")
        let alphas = try config.pattern("alpha_pattern")
        rankPattern = (
            try PatternMatch(keys: ranks.map(\.key)), Dictionary(ranks.map { ($0.key, $0.value) }) { first, _ in first }
        )
        alphaPattern = (
            try PatternMatch(keys: alphas.map(\.key)),
            Dictionary(alphas.map { ($0.key, $0.value) }) { first, _ in first }
        )
        _ = try SavedParameters.storesBiases(config)
        initialisation = try LoRAConfig.initialisation(config, options: options)
        isCutOutOfBase = LoRAConfig.residualInitialisation(config).map {
            $0 == "pissa" || $0 == "olora" || $0.hasPrefix("pissa_niter_")
        } ?? false
    }

    /// The rank that the config gives a module; `key` is the module's path, with the parameter's name after it for
    /// `target_parameters`.
    func rank(for key: String) -> Int {
        if let own = own(key) { return own.rank }
        guard let hit = rankPattern.match.firstKey(matching: key), let value = rankPattern.values[hit] else { return rank }
        return Int(exactly: value) ?? 0
    }

    /// The alpha that the config gives a module.
    func alpha(for key: String) -> Double {
        if let own = own(key) { return own.alpha ?? own.value * Double(own.rank) }
        guard let hit = alphaPattern.match.firstKey(matching: key) else { return alpha }
        return alphaPattern.values[hit] ?? alpha
    }

    /// The module's scaling.
    func scale(for key: String) -> Double {
        if let own = own(key) { return own.value }
        let rank = Double(rank(for: key))
        return alpha(for: key) / (usesRankStabilisedScale ? rank.squareRoot() : rank)
    }

    /// What a dialect says of the module; a parameter of a module shares its entry.
    private func own(_ key: String) -> ModuleScale? {
        guard !modules.isEmpty else { return nil }
        if let own = modules[ExactString(key)] { return own }
        return key.lastIndex(of: ".").flatMap { modules[ExactString(String(key[..<$0]))] }
    }

    /// Whether a dialect says the module's rank and scale.
    func hasOwnScale(_ key: String) -> Bool { own(key) != nil }

    /// Entries of the config that name no module of the file, in words. The tensors decide what is merged, so these change
    /// nothing; they are signs of a lost tensor or a misspelt name.
    func unusedEntries(modules: [LoRAModule]) -> [String] {
        unusedPatterns(modules: modules) + unmetTargets(modules: modules)
    }

    func unusedPatterns(modules: [LoRAModule]) -> [String] {
        var result: [String] = []
        let paths = modules.map { module in
            targetParameters.isEmpty ? [module.path.text] : [module.path.text] + targetParameters
        }
        for (name, pattern) in [("rank_pattern", rankPattern), ("alpha_pattern", alphaPattern)] {
            let used = Set(paths.joined().compactMap { pattern.match.firstKey(matching: $0) })
            for key in pattern.values.keys.sorted() where !used.contains(key) {
                result.append("\(name) \"\(key.printable)\" matches no module of the adapter")
            }
        }
        return result
    }

    private func unmetTargets(modules: [LoRAModule]) -> [String] {
        // Experts and routers of version 5 are trained as parameters under other names than the target list has.
        guard targetParameters.isEmpty else { return [] }
        var result: [String] = []
        for target in targetModules.sorted()
        where !modules.contains(where: { $0.path.text == target || $0.path.text.hasSuffix("." + target) }) {
            result.append("target_modules names \"\(target.printable)\", and the adapter has no tensors for such a module")
        }
        return result
    }

    /// What a page calls the variant.
    var name: String {
        if usesDoRA { return usesRankStabilisedScale ? "DoRA, rsLoRA" : "DoRA" }
        if usesKaSA { return "KaSA" }
        if groupSize != nil { return "QALoRA" }
        if blockDiagonal != nil { return "BD-LoRA" }
        switch initialisation {
        case .principalComponents: return "PiSSA"
        case .orthonormalFactors: return "OLoRA"
        case .none: return usesRankStabilisedScale ? "rsLoRA" : "LoRA"
        }
    }

    private static func blockDiagonal(_ config: AdapterConfig) throws -> BlockDiagonal? {
        guard let value = config["use_bdlora"], value.boolValue != false else { return nil }
        guard let object = value.objectValue else { throw config.wrong("use_bdlora", "a map") }
        let inner = try AdapterConfig(json: object, path: config.path)
        try inner.requireKnownKeys(["target_modules_bd_a", "target_modules_bd_b", "nblocks", "match_strict"])
        return BlockDiagonal(
            inA: try inner.strings("target_modules_bd_a"), inB: try inner.strings("target_modules_bd_b"),
            blocks: try inner.count("nblocks") ?? 1)
    }

    /// Initialisations that leave the base as it was: random draws, EVA, MiCA; PEFT converts the others back when it is
    /// asked to (`path_initial_model_for_weight_conversion`) and then writes `true`.
    static let harmlessInitialisations: Set<String> = ["gaussian", "eva", "orthogonal", "mica"]

    /// The initialisation that the factors are relative to, where there is one: `pissa`, `loftq`.
    static func residualInitialisation(_ config: AdapterConfig) -> String? {
        guard let name = config["init_lora_weights"]?.stringValue?.lowercased(), !harmlessInitialisations.contains(name)
        else { return nil }
        return name
    }

    private static func initialisation(_ config: AdapterConfig, options: BindingOptions) throws -> Initialisation {
        guard let value = config["init_lora_weights"], value.boolValue == nil else { return .none }
        guard let text = value.stringValue else { throw config.wrong("init_lora_weights", "true, false or a name") }
        let name = text.lowercased()
        if harmlessInitialisations.contains(name) || options.baseRole == .residual { return .none }
        switch name {
        case "pissa": return .principalComponents
        case "olora": return .orthonormalFactors
        default: break
        }
        let reason: String
        switch name {
        case "corda": reason = "CorDA took a part out of the base that depends on training data"
        case "loftq": reason = "LoftQ replaced the base by a quantised one"
        case "lora_ga": reason = "LoRA-GA took a part out of the base that depends on gradients"
        case _ where name.hasPrefix("pissa_niter_"):
            reason = "PiSSA with a randomised SVD took a part out of the base that cannot be recomputed exactly"
        default:
            throw PeftfileError(
                .refused, "init_lora_weights is \"\(text.printable)\", which is not known to this version: whether it changed the base "
                    + "is not told", file: config.path, rule: "ResidualBase",
                help: "correct it; or give the base that training started from as it was then, with --base-as residual")
        }
        throw PeftfileError(
            .refused, "init_lora_weights is \"\(text.printable)\": \(reason), and these factors are relative to what was left",
            file: config.path, rule: "ResidualBase",
            help: "give the residual base that training started from, and merge with --base-as residual")
    }
}
