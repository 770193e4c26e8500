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
        /// The in-memory path, or where there is no base the name in the file.
        public var path: ExactString
        /// What the file calls the part of a pipeline that the module is of; nil where it names none.
        public var component: String?
        /// The path below the component, as far as it is known: without a base kohya's names keep their underscores.
        public var own: ExactString
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
        /// The dtype in which the file holds alpha, where that is a tensor.
        public var alphaDType: DType?
        /// Whether the path is that of a parameter of all experts, which `target_parameters` wraps, and A (E·r, in) and B (out, r·E) are those
        /// of its wrapper: the base holds it in one tensor as well.
        public var isParameter = false
        /// How many wrappers of the same module lie around it.
        public var depth = 0

        /// The module whose parameter it is.
        public var wrappedModule: ExactString { ExactString(String(path.text[..<(path.text.lastIndex(of: ".") ?? path.text.endIndex)])) }

        /// The version of PEFT since which a wrapper's A has the inputs of experts held as (out, in).
        public static let peftVersion = "0.19.1"
        /// Whether the bias is a difference of the layer's own, which has no scale; PEFT's has that of B·A.
        public var isBiasUnscaled = false

        /// Whether the module is a convolution: A has a window.
        public var isConvolution: Bool { a.shape.count > 2 }
    }

    /// The `peft_type` of what is written in PEFT's dialect.
    public static var peftType: String { LoRA().peftTypes.first ?? "" }

    /// How much of a module's name the dialect that is written needs.
    public enum Names: Sendable {
        /// The path in memory, in one model.
        case inMemory
        /// A component, and a path with dots.
        case dotted
        /// A component, and a path whose dots are underscores.
        case underscored
    }

    /// The adapter with its views; ``AdapterNumbers`` reads the factors from it.
    public let adapter: Adapter
    /// The modules, in file order.
    public let modules: [Module]
    /// What a reader should know about the result.
    public private(set) var notes: [String] = []
    /// What the reader should know before the result: what was left out.
    public private(set) var warnings: [String] = []
    /// The components that the file names.
    public private(set) var components: [String] = []
    /// Tensors of components that no base is.
    public private(set) var leftOut: [(tensor: ExactString, component: String)] = []
    /// Tensors without a part in the update, and why.
    public private(set) var setAside: [(tensor: ExactString, reason: String)] = []
    /// How the base holds square matrices, where the file that is written has to say so.
    public private(set) var squareOrientation: BindingOptions.Orientation?

    /// - Parameters:
    ///   - bases: the models whose names the modules get; needed where the file's names do not say what `names` asks for.
    ///   - heads: the heads of the base, where no base is given.
    ///   - options: what the file leaves open, and which component is taken.
    /// - Throws: `.refused` where a tensor or a config key says more than two factors and a scale can; what the merge throws
    ///   where the adapter is not one of the base.
    public init(
        _ adapter: Adapter, bases: [PipelineBase] = [], heads: GGUFHeads? = nil, options: BindingOptions = BindingOptions(),
        names: Names = .inMemory
    ) throws {
        let parts = try bases.map {
            ComponentPlacement.Part(base: try BaseView(base: $0.checkpoint, adapters: []).directory, component: $0.component)
        }
        let heads = heads ?? bases.lazy.compactMap { GGUFFacts($0.checkpoint).heads }.first
        let repaired = try RepairedAdapter(adapter, bases: bases, options: options)
        let bound = try BoundAdapter(
            repaired.adapter, bases: parts, heads: heads, options: options, takesOthers: names == .dotted)
        if let open = bound.unsettled { throw open }
        try bound.requireNames(names, hasBase: !bases.isEmpty, path: adapter.path)
        let baseNames = try BaseNames(repaired, bound, bases: bases, options: options)
        var whole = bound.whole
        leftOut = bound.leftOut
        warnings = try bound.warnings + LoadedModules.require(repaired.adapter, modelType: bases.modelType)
        components = bound.components
        notes += repaired.notes
        var modules: [Module] = []
        // Differences of biases stand beside factors of the same modules.
        let methods = try bound.parts.map { ($0, try MethodRegistry.method(of: $0)) }
        for (part, method) in methods.filter({ !($0.1 is FullDifference) }) + methods.filter({ $0.1 is FullDifference }) {
            let own: [Module]
            if method is FullDifference, let biased = PortableAdapter.adding(part, to: modules) {
                (modules, own) = (biased, [])
            } else if method is BareFactors {
                let factors = try BareFactors().portable(part, options) { baseNames.place(of: $0)?.shape }
                whole.views.merge(factors.views) { _, own in own }
                own = factors.modules
            } else {
                own = try PortableAdapter.modules(of: part, options, baseNames, views: &whole.views, notes: &notes, setAside: &setAside)
            }
            squareOrientation = try squareOrientation
                ?? SquareOrientation.carried(by: part, own, baseNames, hasBase: !bases.isEmpty, options: options)
            modules += own
        }
        for index in modules.indices {
            let path = modules[index].path
            if let name = bound.names[path], name.component != nil {
                (modules[index].own, modules[index].component) = (name.module, name.component)
            } else {
                if names != .inMemory { modules[index].component = baseNames.component }
                modules[index].own = try baseNames.own(path, names, adapter.path, tensor: modules[index].a.name) ?? bound.names[path]?.module ?? path
            }
        }
        if adapter.dialect != nil, names == .inMemory {
            for index in modules.indices {
                let place = parts.lazy.compactMap { [path = modules[index].path] in $0.base.pathInGenerator(of: path.text) }.first
                if let place { modules[index].path = ExactString(place) }
            }
        }
        self.adapter = whole
        self.modules = Module.nested(modules)
    }

    /// The modules with the differences of biases that a part holds; nil where it holds more, or a bias of no module.
    private static func adding(_ part: Adapter, to modules: [Module]) -> [Module]? {
        var (modules, places) = (modules, Dictionary(modules.indices.map { (modules[$0].path, $0) }, uniquingKeysWith: { first, _ in first }))
        for key in part.keys {
            guard key.component == "diff_b", let info = part.tensor(key.stored), let place = places.removeValue(forKey: key.module),
                modules[place].bias == nil, !modules[place].isEmbedding
            else { return nil }
            (modules[place].bias, modules[place].isBiasUnscaled) = (info, true)
        }
        return modules
    }

    private static func modules(
        of part: Adapter, _ options: BindingOptions, _ names: BaseNames, views: inout [ExactString: TensorView], notes: inout [String],
        setAside: inout [(tensor: ExactString, reason: String)]
    ) throws -> [Module] {
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
        guard let file = part.config else { return [] }
        if part.dialect == nil, options.scale != nil || options.orientation != .outIn {
            throw PeftfileError(
                .usage, "has an adapter_config.json, which decides; --scale and --orientation are for files without one",
                file: part.path, rule: "ConfigDecides", help: "leave them out")
        }
        try file.requireKnownKeys(LoRA().configKeys)
        try LoRA().requireConfig(of: part)
        var open = BindingOptions()
        open.expertOrder = options.expertOrder
        let config = try LoRAConfig(file, options: open)
        let own = [
            ("kasa_config", config.usesKaSA), ("use_qalora", config.groupSize != nil), ("use_bdlora", config.blockDiagonal != nil),
            ("init_lora_weights", config.initialisation != .none), ("layer_replication", file["layer_replication"] != nil),
            ("trainable_token_indices", file["trainable_token_indices"] != nil),
        ].filter(\.1).map(\.0)
        if let first = own.first {
            let component = ["kasa_config": "lora_diag", "trainable_token_indices": "trainable_tokens"][first]
            let tensor = component.flatMap { word in part.keys.first { $0.component?.hasPrefix(word) == true } }
            let value = first == "init_lora_weights" ? file["init_lora_weights"]?.stringValue.map { " \"\($0.printable)\"" } ?? "" : ""
            throw refusal(
                part, tensor?.stored, "is \(config.name) with \(own.joined(separator: " and "))\(value) in adapter_config.json, "
                    + "which only PEFT's own dialect holds")
        }
        let modules = try LoRAModule.collect(from: part)
        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        var used: Set<ExactString> = []
        let result = try modules.flatMap { module -> [Module] in
            if module.depth > 0 || levels[module.path] != 1 || module.isTargetParameter(config.targetParameters) {
                guard let place = names.place(ofFactor: module.b.name) else {
                    throw refusal(
                        part, module.a.name, "is of a parameter that target_parameters wraps, and only the base tells how it holds it",
                        help: "name the base: --base BASE; or merge it instead")
                }
                used.formUnion([module.a.name, module.b.name])
                if place.shape.count == 3, place.pieces.allSatisfy({ $0.storedExpert != nil }) {
                    return [try wrapper(module, at: place, config: config, of: part)]
                }
                let stack = try StackedModules(module, at: place, config: config, path: part.path)
                views.merge(stack.views) { first, _ in first }
                return stack.modules
            }
            if part.dialect is MLX, let piece = names.place(ofFactor: module.b.name)?.pieces.first, let expert = piece.storedExpert {
                throw refusal(
                    part, module.a.name, "is of expert \(expert) in the base's \"\(piece.tensor)\", and other dialects have a module for each matrix",
                    help: "merge it instead")
            }
            let rank = module.rank(config.rank(for: module.path.text), in: config)
            try module.requireOneMatrix(rank, config)
            try module.checkRank(rank, experts: 1, hasConfiguredRank: config.hasConfiguredRank)
            guard (module.magnitude != nil) == config.usesDoRA else {
                throw refusal(part, module.magnitude?.name ?? module.a.name, "and use_dora contradict each other")
            }
            used.formUnion([module.a, module.b].map(\.name) + [module.bias, module.magnitude].compactMap { $0?.name })
            return [
                Module(
                    path: module.path, own: module.path, isEmbedding: module.isEmbedding, a: module.a, b: module.b, bias: module.bias,
                    magnitude: module.magnitude, rank: rank, alpha: config.alpha(for: module.path.text),
                    scale: config.scale(for: module.path.text), alphaDType: part.config?.moduleScales[module.path]?.alphaDType),
            ]
        }
        for key in part.keys where LoRA.isTrainingState(key) {
            setAside.append((key.stored, "it acts in training only"))
            notes.append("dropped \(key.stored.text.printable): it acts in training only")
            used.insert(key.stored)
        }
        for key in part.keys where try !used.contains(key.stored) && names.isCopy(key, of: part) {
            setAside.append((key.stored, "it is the base's own"))
            notes.append("left out \(key.stored.text.printable): it is the base's own")
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

    /// The wrapper of a parameter that the base holds as one tensor too.
    ///
    /// - Throws: `.refused` where PEFT holds its factors otherwise: from 0.19.1 on A has the outputs of experts held as (in, out), but for models
    ///   that transformers marks (``UpdateOrientation``).
    private static func wrapper(_ module: LoRAModule, at place: ParameterPlace, config: LoRAConfig, of part: Adapter) throws -> Module {
        let key = "\(module.path).\(place.parameter)"
        try module.checkRank(config.rank(for: key), experts: place.shape[0], hasConfiguredRank: config.hasConfiguredRank)
        guard part.dialect == nil || part.config?.peftVersion == Module.peftVersion else {
            throw refusal(
                part, module.a.name, "is of experts that the base holds as (in, out), whose factors PEFT has the other way round since 0.19.1",
                help: "merge it instead")
        }
        let path = ExactString(key)
        return Module(
            path: path, own: path, isEmbedding: false, a: module.a, b: module.b, rank: config.rank(for: key), alpha: config.alpha(for: key),
            scale: config.scale(for: key), isParameter: true)
    }

    private static func refusal(
        _ part: Adapter, _ tensor: ExactString?, _ message: String, help: String = "merge it instead, or keep the dialect that it is in"
    ) -> PeftfileError {
        PeftfileError(.refused, message, file: part.path, tensor: tensor, rule: "NotConvertible", help: help)
    }
}
