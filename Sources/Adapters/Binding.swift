public import ByteAccess
public import Checkpoints
import Tensors

/// Adapters held against a base: which tensor each update changes, what is new, and that nothing is left over.
///
/// One binding serves many verbs: a merge plans from it, verification recomputes from it, checks judge it.
public struct Binding: Sendable {
    /// A target of an adapter with the stored tensor it found.
    public struct Target: Sendable, Hashable {
        /// The position of the adapter in ``Binding/adapters``.
        public var adapter: Int
        /// The module and what the adapter says of it.
        public var target: AdapterTarget
        /// The output tensors that it changes.
        public var tensors: [ExactString]
    }

    /// One tensor of the output, in output order.
    public struct Output: Sendable {
        /// How its elements come about.
        public var recipe: TensorRecipe
        /// The base's shard that the tensor belongs to.
        public var shard: Int
        /// Whether the base has no tensor of this name.
        public var isAdded: Bool
    }

    /// The base, as plain weights.
    public let base: Checkpoint
    /// The adapters as they were bound: in a dialect, with what each method's tensors are in terms of the stored ones.
    public let adapters: [Adapter]
    /// How the questions that the files leave open were answered.
    public let options: BindingOptions
    /// Every tensor of the output: the base's in their order, then the added ones by name.
    public internal(set) var outputs: [Output] = []
    /// Every module that is changed, adapter by adapter.
    public internal(set) var targets: [Target] = []
    /// What each adapter does to the parameters of the base, before it is placed in stored tensors; adapter by adapter, and empty where
    /// the binding was to keep ``outputs`` alone.
    public internal(set) var changes: [[ParameterUpdate]] = []
    /// Keys of config.json that must change with the weights; a path names nested objects.
    public internal(set) var configChanges: [ConfigChange] = []
    /// Keys of config.json that speak of codes which a plain checkpoint does not have.
    public var configRemovals: [ExactString] {
        base.quantisation.map { $0.isSimulated ? [] : ["quantization_config", "quantization", "compression_config"] } ?? []
    }
    /// Adapter tensors without a part in the merged weights, each with its reason.
    public internal(set) var setAside: [(tensor: ExactString, reason: String)] = []
    /// Adapter tensors for a component of a pipeline that the base is not: the one exception to full accounting.
    public internal(set) var leftOut: [(tensor: ExactString, component: String)] = []
    /// What a reader should know before the merge, in words.
    public internal(set) var warnings: [String] = []

    /// The same without ``outputs`` and ``changes``, for a plan that has its own of both.
    public var withoutOutputs: Binding {
        var copy = self
        (copy.outputs, copy.changes) = ([], [])
        return copy
    }

    /// A value to be set in config.json.
    public struct ConfigChange: Sendable {
        /// The keys that lead to the value, outermost first.
        public var path: [ExactString]
        /// The value to be written.
        public var value: JSONValue

        /// A value for the key at the end of `path`; a path of one key is a key of config.json itself.
        public init(path: [ExactString], value: JSONValue) {
            self.path = path
            self.value = value
        }
    }

    /// Binds adapters to a base.
    ///
    /// - Parameter keepsChanges: whether ``changes`` stand beside ``outputs``. A merge needs the outputs alone, and with tens of thousands
    ///   of targets twice of it is memory.
    /// - Throws: `.refused` where an adapter tensor or config key has no use, a target no place, or shapes disagree.
    public init(
        base: Checkpoint, adapters: [Adapter], options: BindingOptions = BindingOptions(), keepsChanges: Bool = true
    ) throws {
        try self.init(base: base, adapters: adapters, options: options, isAdvising: true, keepsChanges: keepsChanges)
    }

    /// - Parameter isAdvising: whether a refusal of names looks for the command that repairs them.
    init(base: Checkpoint, adapters: [Adapter], options: BindingOptions, isAdvising: Bool, keepsChanges: Bool = true) throws {
        self.base = base
        self.options = options
        guard options.weights.isEmpty || options.weights.count == adapters.count else {
            throw PeftfileError(
                .usage, "--weights has \(options.weights.count) value\(options.weights.count == 1 ? "" : "s") for \(adapters.count) "
                    + "adapter\(adapters.count == 1 ? "" : "s")", rule: "Weights", help: "give one number for each adapter")
        }
        if let task = options.task, try !adapters.contains(where: { try MethodRegistry.method(of: $0).takesTask }) {
            throw PeftfileError(
                .usage, "--task \(task): no adapter has a merged form for each task", rule: "TaskUnused", help: "leave it out")
        }
        warnings += try base.requireReadableWeights()
        let view = try BaseView(base: base, adapters: adapters)
        let adapters = try adapters.map { try FrozenComparison.settled($0, base: base, view: view, work: options.comparison) }
        let facts = GGUFFacts(base)
        for adapter in adapters { try GGUFLoRA.requireArchitecture(of: adapter, facts) }
        let bound = try adapters.map { try BoundAdapter($0, base: view.directory, heads: facts.heads, options: options) }
        self.adapters = bound.map(\.whole)
        configChanges += view.configChanges
        warnings += base.notes
        var assembly = RecipeAssembly(base: base, view: view, adapters: self.adapters)
        for (index, adapter) in self.adapters.enumerated() {
            warnings += adapter.warnings + [adapter.wholeState?.comparison?.note].compactMap { $0 } + bound[index].warnings
            leftOut += bound[index].leftOut
            do {
                let bound = try bind(bound[index].parts, index: index, view: view)
                if keepsChanges { changes.append(bound.changes) }
                targets += Binding.targets(bound, adapter: index)
                setAside += bound.setAside + adapter.copies.map { ($0, "the same values stand under another name") }
                warnings += bound.warnings
                try assembly.add(consume bound, adapter: index)
            } catch let error as PeftfileError {
                let repair = isAdvising ? RepairedAdapter.advice(error, adapters[index], base: base, options: options) : nil
                throw Advice.completed(repair ?? error).inFile(adapter.path)
            }
        }
        let names = NameResolver(base: view.directory)
        try assembly.resolveTies(names: names, tie: options.tie)
        try assembly.requireOneVocabulary()
        outputs = assembly.outputs()
        configChanges += assembly.configChanges
        warnings += assembly.warnings
    }

    /// All parts of an adapter, each by its own method.
    private func bind(_ parts: [Adapter], index: Int, view: BaseView) throws -> MethodUpdates {
        var result = MethodUpdates()
        for part in parts {
            let bound = try bind(part, index: index, view: view)
            try requireAllClaimed(of: part, index: index, by: bound)
            if parts.count == 1 { return bound }
            result.changes += bound.changes
            result.additions += bound.additions
            result.setAside += bound.setAside
            result.warnings += bound.warnings
        }
        return result
    }

    private func bind(_ adapter: Adapter, index: Int, view: BaseView) throws -> MethodUpdates {
        let method = try MethodRegistry.method(of: adapter)
        if let shard = adapter.checkpoint.shards.first, adapter.checkpoint.tensors.isEmpty {
            throw PeftfileError(
                .refused, "\(shard.fileName.printable) holds no tensors", file: adapter.path, rule: "NothingToMerge",
                help: "save the adapter after training it, gathered where ZeRO-3 or FSDP shard it, or fetch the file again")
        }
        if adapter.config != nil, adapter.dialect == nil, options.scale != nil || options.orientation != .outIn {
            throw PeftfileError(
                .usage, "has an adapter_config.json, which decides; --scale and --orientation are for files without one",
                file: adapter.path, rule: "ConfigDecides", help: "leave them out")
        }
        let isSilent = adapter.config == nil || adapter.dialect != nil
        let resolver = NameResolver(
            base: view.directory, peftVersion: adapter.config?.peftVersion,
            targetParameters: try adapter.config?.strings("target_parameters") ?? [],
            fanInFanOut: try adapter.config?.flag("fan_in_fan_out") ?? false,
            squareIsTransposed: try adapter.squareOrientation(options).map { $0 == .inOut },
            isSilent: try isSilent && options.orientation == .outIn && adapter.openQuestions().contains(.squareOrientation),
            isCallersWord: options.squareOrientation != nil && options.orientation == .outIn && !ConvertedConv1D.mayConcern(adapter.dialectFile),
            modelClass: adapter.config?.modelClass)
        let context = BindingContext(
            adapterIndex: index, weight: options.weights.isEmpty ? 1 : options.weights[index], options: options,
            base: view.directory,
            elements: { [base] name in
                guard let stored = view[name]?.stored, stored.dtype.isMergeable else {
                    throw PeftfileError(
                        .unsupported, "is not stored in F64, F32, F16 or BF16, which this method's formula needs", tensor: name,
                        rule: "BaseDType", help: "dequantise the base first")
                }
                return try Conversion.widened(
                    base.read(stored), as: stored.dtype, count: stored.info.elementCount)
            }, dtype: { [base] name in
                view[name].flatMap { Binding.layerType(of: $0.stored, in: base) }
            }
        ) { required, optional in
            try Binding.resolve(required, optional: optional, resolver)
        }
        var result = try method.updates(of: adapter, in: context)
        result.warnings += try LoadedModules.require(adapter, modelType: view.directory.modelType)
        if adapter.dialect == nil { result.warnings += LostModules.warnings(adapter, result.changes, base: base) }
        return result
    }

    /// The type that PEFT takes a layer to have, to which it moves what an adapter holds beside it: that of the weight, for bitsandbytes'
    /// four bits that of their computation, and none where the weight is of whole numbers. Weights that only other programs read
    /// were dequantised for the training.
    ///
    /// Source: `BaseTunerLayer._get_base_layer_device_and_dtype`, `_move_adapter_to_device_of_base_layer` in peft/tuners/tuners_utils.py.
    private static func layerType(of stored: StoredTensor, in base: Checkpoint) -> DType? {
        guard stored.quantised != nil, let config = base.config?["quantization_config"]?.objectValue else { return stored.dtype }
        switch config["quant_method"]?.stringValue {
        case "bitsandbytes":
            return config["load_in_8bit"]?.boolValue == true
                ? nil : config["bnb_4bit_compute_dtype"]?.stringValue.flatMap(DType.init(spelling:)) ?? .f32
        case "gptq", "awq": return nil
        case "fp8", "fbgemm_fp8": return .f8E4M3
        case "compressed-tensors":
            let groups = config["config_groups"]?.objectValue?.members.compactMap { $0.value["weights"]?["type"]?.stringValue } ?? []
            return groups.contains("float") ? .f8E4M3 : nil
        default: return stored.dtype
        }
    }

    /// Resolves all requests of an adapter together; only the optional ones may stay without a place.
    private static func resolve(
        _ required: [ParameterRequest], optional: [ParameterRequest], _ resolver: NameResolver
    ) throws -> [ParameterRequest: ParameterPlace] {
        let resolution = try resolver.survey(required + optional)
        let mayMiss = Set(optional)
        // A layer either has a bias or has none; a module saved whole may be new, if its name is no misspelling.
        let lost = resolution.missing.filter {
            !mayMiss.contains($0.request) || $0.request.parameter != .bias && !resolver.mayBeNew($0.storedName)
        }
        if lost.isEmpty { return resolution.places }
        // The refusal names what is missing and its nearest candidates.
        return try resolver.resolve(required + lost.map(\.request).filter(mayMiss.contains))
    }

    /// Every tensor of the adapter must have been used or set aside by name.
    private func requireAllClaimed(of adapter: Adapter, index: Int, by bound: MethodUpdates) throws {
        var claimed = Set(bound.setAside.map(\.tensor))
        claimed.formUnion(adapter.copies)
        claimed.formUnion(bound.additions.map(\.tensor))
        for change in bound.changes { claimed.formUnion(change.tensors) }
        let left = adapter.keys.map(\.stored).filter { !claimed.contains($0) }
        guard let first = left.first else { return }
        throw Binding.unclaimed(first, left.count, of: adapter)
    }

    /// The refusal of `count` tensors that have no part in an adapter's method.
    static func unclaimed(_ first: ExactString, _ count: Int, of adapter: Adapter) -> PeftfileError {
        PeftfileError(
            .refused,
            "\(count) of \(adapter.keys.count) adapter tensors have no part in this method"
                + (count > 1 ? ", the first is this" : ""),
            tensor: first, rule: "UnclaimedTensor",
            help: adapter.config == nil
                ? "a file without a config has <module>.lora_A and <module>.lora_B for each module, and nothing else"
                : "remove the tensor, or correct peft_type in adapter_config.json")
    }

    private static func targets(_ bound: MethodUpdates, adapter: Int) -> [Target] {
        var result: [Target] = []
        result.reserveCapacity(bound.changes.count)
        // A module has few targets.
        var positions: [ExactString: [Int]] = [:]
        for change in bound.changes {
            guard let target = change.target else { continue }
            var tensors: [ExactString] = []
            for piece in change.place.pieces {
                let name = change.place.untiedName ?? piece.tensor
                if !tensors.contains(name) { tensors.append(name) }
            }
            if let position = positions[target.module]?.first(where: { result[$0].target == target }) {
                for name in tensors where !result[position].tensors.contains(name) {
                    result[position].tensors.append(name)
                }
            } else {
                positions[target.module, default: []].append(result.count)
                result.append(Target(adapter: adapter, target: target, tensors: tensors))
            }
        }
        return result
    }
}

extension ParameterUpdate {
    var isReplacement: Bool {
        if case .replace = change { return true }
        return false
    }

    /// The adapter tensors that the change reads.
    var tensors: [ExactString] {
        switch change {
        case .lowRank(_, let left, let right, _, _):
            [left.tensor, right.tensor] + [left.diagonal, right.diagonal].compactMap { $0 }
        case .add(let values, _), .replaceRows(_, let values), .magnitude(let values, _): [values.tensor]
        case .replace(let tensor, _): [tensor]
        case .term(let expression, _), .transform(let expression):
            expression.factors.filter { $0.adapter != Factor.base }
                .flatMap { [$0.tensor] + ($0.diagonal.map { [$0] } ?? []) }
        case .decomposition: []
        case .bottleneck(let bottleneck, _): bottleneck.tensors
        }
    }
}
