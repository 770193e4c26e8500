public import ByteAccess
public import Checkpoints
public import Tensors

/// An adapter as the pairs of factors that every dialect of LoRA can hold: what a conversion writes anew.
///
/// Each module has A (r, in…), B (out, r…) and one factor s, with W' = W + s·B·A, or DoRA's magnitude around it. Where
/// the dialect stores them otherwise they are views of the stored tensors, so that nothing is rounded.
public struct PortableAdapter: Sendable {
    /// One module: two factors and a scale.
    public struct Module: Sendable {
        /// The in-memory path.
        public var path: ExactString
        /// Whether it is an embedding, whose factors other keys name.
        public var isEmbedding: Bool
        /// A, (r, in) or (r, in, k…).
        public var a: TensorInfo
        /// B, (out, r) or (out, r, 1…).
        public var b: TensorInfo
        /// B's bias, (out), of `lora_bias`.
        public var bias: TensorInfo?
        /// DoRA's magnitude, one number for each output.
        public var magnitude: TensorInfo?
        /// r.
        public var rank: Int
        /// `scale · rank`, or what the file itself calls alpha.
        public var alpha: Double
        /// s, the whole factor of B·A.
        public var scale: Double

        /// Whether the module is a convolution: A has a window.
        public var isConvolution: Bool { a.shape.count > 2 }
    }

    /// The `peft_type` of what is written in PEFT's dialect.
    public static var peftType: String { LoRA().peftTypes.first ?? "" }

    /// The adapter with its views; ``AdapterNumbers`` reads the factors from it.
    public let adapter: Adapter
    /// The modules, in file order.
    public let modules: [Module]
    /// What a reader should know about the result.
    public private(set) var notes: [String] = []
    /// Tensors of components that the base is not.
    public private(set) var leftOut: [(tensor: ExactString, component: String)] = []

    /// - Parameters:
    ///   - base: the base whose names the modules get; needed where the names of the file have lost their dots.
    ///   - heads: the heads of the base, where no base is given.
    /// - Throws: `.refused` where a tensor or a config key says more than two factors and a scale can.
    public init(
        _ adapter: Adapter, base: Checkpoint?, heads: GGUFHeads? = nil, options: BindingOptions = BindingOptions()
    ) throws {
        let directory = try base.map { try BaseView(base: $0, adapters: []).directory }
        let bound = try BoundAdapter(adapter, base: directory, heads: heads ?? base.flatMap { GGUFFacts($0).heads }, options: options)
        if let open = bound.unsettled { throw open }
        if base == nil, bound.hasUnderscoredNames {
            throw PeftfileError(
                .refused, "its names have underscores for dots, and only the base can tell which is which",
                file: adapter.path, rule: "BaseNeeded", help: "name the base: --base BASE")
        }
        if base == nil, let component = bound.names.values.lazy.compactMap(\.component).first {
            throw PeftfileError(
                .refused, "its names begin with a component of a pipeline (\(component.printable)), and only the base tells what lies below it",
                file: adapter.path, rule: "BaseNeeded", help: "name the base: --base BASE")
        }
        self.adapter = bound.whole
        leftOut = bound.leftOut
        notes = bound.warnings
        var modules: [Module] = []
        for part in bound.parts {
            modules += try PortableAdapter.modules(of: part, notes: &notes)
        }
        self.modules = modules
    }

    private static func modules(of part: Adapter, notes: inout [String]) throws -> [Module] {
        let method = try MethodRegistry.method(of: part)
        var part = part
        if let decomposition = method as? WeightDecomposition, decomposition.inner is LoCon {
            // PEFT's magnitude is a vector by output; LyCORIS' may be by input.
            for (position, key) in part.keys.enumerated() where key.component == "dora_scale" {
                guard let info = part.tensor(key.stored), info.shape.dropFirst().allSatisfy({ $0 == 1 }) else {
                    throw refusal(part, key.stored, "is a magnitude for each input, which LyCORIS alone has")
                }
                part.keys[position] = AdapterKey(
                    stored: key.stored, module: key.module, component: "lora_magnitude_vector", leaf: "")
            }
            var json = part.config?.json ?? [:]
            json["use_dora"] = true
            let scales = part.config?.moduleScales ?? [:]
            part.config = try AdapterConfig(json: json, path: part.path)
            part.config?.moduleScales = scales
            notes.append("LyCORIS adds 2^-23 to the norm of a weight decomposition, PEFT and MLX add nothing")
        } else if !(method is LoRA) {
            throw refusal(part, part.keys.first?.stored, "is of a method that is no pair of factors; LoRA and DoRA are converted")
        }
        guard let file = part.config else {
            throw PeftfileError(
                .refused, "has no adapter_config.json, so the scale of the update is unknown", file: part.path,
                rule: "ConfigMissing", help: "put the config beside the file")
        }
        try file.requireKnownKeys(LoRA().configKeys)
        let config = try LoRAConfig(file, options: BindingOptions())
        guard !config.usesKaSA, config.groupSize == nil, config.blockDiagonal == nil, config.initialisation == .none,
            config.targetParameters.isEmpty, file["layer_replication"] == nil, file["trainable_token_indices"] == nil
        else {
            throw refusal(part, nil, "is \(config.name) with features that only PEFT's own dialect holds")
        }
        let modules = try LoRAModule.collect(from: part)
        var used: Set<ExactString> = []
        let result = try modules.map { module in
            let rank = config.rank(for: module.path.text)
            try module.checkRank(rank, experts: 1, hasConfiguredRank: config.hasConfiguredRank)
            guard module.depth == 0 else { throw refusal(part, module.a.name, "belongs to nested wrappers, which PEFT alone has") }
            guard (module.magnitude != nil) == config.usesDoRA else {
                throw refusal(part, module.magnitude?.name ?? module.a.name, "and use_dora contradict each other")
            }
            used.formUnion([module.a, module.b].map(\.name) + [module.bias, module.magnitude].compactMap { $0?.name })
            return Module(
                path: module.path, isEmbedding: module.isEmbedding, a: module.a, b: module.b, bias: module.bias,
                magnitude: module.magnitude, rank: rank, alpha: config.alpha(for: module.path.text),
                scale: config.scale(for: module.path.text))
        }
        for key in part.keys where LoRA.isTrainingState(key) {
            notes.append("dropped \(key.stored.text.printable): it acts in training only")
            used.insert(key.stored)
        }
        if let left = part.keys.first(where: { !used.contains($0.stored) }) {
            throw refusal(part, left.stored, "is no factor of a LoRA, and no other dialect has a place for it")
        }
        if config.usesRankStabilisedScale, part.dialect == nil {
            notes.append("rsLoRA's 1/√r is folded into the scale; the target has no such flag")
        }
        return result
    }

    private static func refusal(_ part: Adapter, _ tensor: ExactString?, _ message: String) -> PeftfileError {
        PeftfileError(
            .refused, message, file: part.path, tensor: tensor, rule: "NotConvertible",
            help: "merge it instead, or keep the dialect that it is in")
    }
}
