public import ByteAccess
public import Tensors

/// A fine-tuning method as adapter files store it: which keys it has, and what they do to the base's parameters.
///
/// A method is one file in `Methods/` and one line in ``MethodRegistry``; nothing else in the house knows its name.
public protocol AdapterMethod: Sendable {
    /// The values of `peft_type` that mean this method.
    var peftTypes: [String] { get }

    /// Config keys whose values the method uses. Keys that cannot change a merge are listed once, in
    /// ``AdapterConfig/keysWithoutEffect``.
    var configKeys: Set<String> { get }

    /// Those on which the numbers of the update depend, and which every version of PEFT that has the method writes: what the
    /// training had is not told by the library's default.
    var requiredKeys: Set<String> { get }

    /// Those of `requiredKeys` for which null is an answer.
    var nullableKeys: Set<String> { get }

    /// Whether a loaded adapter depends on a key of the config that has this value: false where PEFT reads it for the first values alone, which
    /// the file's take the place of, true where it reads it although ``AdapterConfig/keysWithoutEffect`` has the key; nil where the
    /// lists for all methods decide.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool?

    /// Whether PEFT finds the method's modules by `target_modules`, and by a list of its own for the model's type where there is none.
    var needsTargetModules: Bool { get }

    /// That list, by the model's type.
    var defaultTargets: DefaultTargets { get }

    /// Whether PEFT leaves a convolution without an update that `target_modules` names.
    var skipsKernels: Bool { get }

    /// Whether a tensor without elements is what the method stores, and no placeholder of a shard.
    func isEmptyByDesign(_ key: AdapterKey, of adapter: Adapter) -> Bool

    /// Whether the method has one merged form for each task, of which ``BindingOptions/task`` names one.
    var takesTask: Bool { get }

    /// The modules that the adapter changes, for a page about the adapter alone; no base is needed.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func targets(of adapter: Adapter) throws -> [AdapterTarget]

    /// Whether the method knows what a tensor of this key is for; the keys that it does not know are listed as unclaimed.
    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool

    /// What somebody who thinks of merging the adapter should know, as far as the adapter alone tells: that it has no
    /// merged form, or what in it will be refused.
    func remarks(on adapter: Adapter) -> [String]

    /// What the adapter does to the parameters of the base.
    ///
    /// - Throws: `.refused` with the reason where the method, or this use of it, has no merged form.
    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates

    /// The low-rank updates that the adapter makes, as far as the adapter alone tells; nil for methods whose updates are
    /// of another form.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func lowRankUpdates(of adapter: Adapter) throws -> LowRankUpdates?

    /// The updates that are products of thin factors, as far as the adapter alone tells, and the reason for every module whose
    /// update is not.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func thinUpdates(of adapter: Adapter) throws -> ThinUpdates

    /// The updates that the adapter makes, as far as the adapter alone tells; nil for methods that change no weights.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func standaloneUpdates(of adapter: Adapter) throws -> StandaloneUpdates?

    /// What the adapter does to each module, on a stand-in for the base where the formula needs one.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func effects(of adapter: Adapter) throws -> [ModuleEffect]

    /// Sets of components with a number each: a module whose tensors of one set are all that number leaves the base as it is.
    /// Only for formulas that cannot be stated without a base.
    var stillPoints: [[String: Double]] { get }

    /// How the values with which PEFT begins can be told from trained ones, module by module, where ``stillPoints`` and the formula do not
    /// tell.
    ///
    /// - Throws: `.malformed` or `.refused` where keys, shapes or settings are not the method's.
    func firstValues(of adapter: Adapter) throws -> [FirstValues]

    /// What a base says of the sizes of the method's tensors, by component, or by component and leaf, for adapters that are held against one without a
    /// merged form; a component that is not here cannot be checked.
    var baseSides: [String: BaseSide] { get }

    /// Whether an adapter's own subdirectories are parts of it, and no adapters that anybody loads alone.
    var hasInnerAdapters: Bool { get }
}

extension AdapterMethod {
    var takesTask: Bool { false }

    var requiredKeys: Set<String> { [] }

    var nullableKeys: Set<String> { [] }

    /// `init_weights` is read where a layer makes or resets its parameters, in every class of peft/tuners but MiSS.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? { key == "init_weights" ? false : nil }

    var needsTargetModules: Bool { true }

    var defaultTargets: DefaultTargets { .lora }

    var skipsKernels: Bool { false }

    func isEmptyByDesign(_ key: AdapterKey, of adapter: Adapter) -> Bool { false }

    var stillPoints: [[String: Double]] { [] }

    var baseSides: [String: BaseSide] { [:] }

    func firstValues(of adapter: Adapter) throws -> [FirstValues] { [] }

    var hasInnerAdapters: Bool { false }

    func lowRankUpdates(of adapter: Adapter) throws -> LowRankUpdates? { nil }

    func thinUpdates(of adapter: Adapter) throws -> ThinUpdates {
        if let updates = try lowRankUpdates(of: adapter) { return ThinUpdates(updates) }
        return ThinUpdates(skipped: try targets(of: adapter).map { ($0.pathName, ThinUpdates.noThinForm) })
    }

    func standaloneUpdates(of adapter: Adapter) throws -> StandaloneUpdates? {
        try lowRankUpdates(of: adapter).map { StandaloneUpdates(adapter, $0) }
    }
}

/// All that an adapter does to a base, with every one of its tensors accounted for.
public struct MethodUpdates: Sendable {
    /// The parameters of the base that change, each with its update.
    public var changes: [ParameterUpdate]
    /// Tensors for modules that the base does not have: new heads, stored under their in-memory name.
    public var additions: [(name: ExactString, tensor: ExactString)]
    /// Tensors that have no part in the merged weights, each with the reason: samplers and training state.
    public var setAside: [(tensor: ExactString, reason: String)]
    /// What a reader should know, in words.
    public var warnings: [String]

    /// The changes that a method gives back. Without arguments there are none yet, and the method appends as it goes through its modules.
    public init(
        changes: [ParameterUpdate] = [], additions: [(name: ExactString, tensor: ExactString)] = [],
        setAside: [(tensor: ExactString, reason: String)] = [],
        warnings: [String] = []
    ) {
        self.changes = changes
        self.additions = additions
        self.setAside = setAside
        self.warnings = warnings
    }
}

/// One module that an adapter changes, as far as the adapter alone tells.
public struct AdapterTarget: Sendable, Hashable {
    /// The in-memory path of the module.
    public var module: ExactString
    /// The parameter of the module: `weight`, or a name of its own (`gate_up_proj`).
    public var parameter: String
    /// The method's name with its variant: `LoRA`, `DoRA`, `rsLoRA`.
    public var method: String
    /// r of the module's factors; nil for methods without a rank.
    public var rank: Int?
    /// The numerator of the scale, `lora_alpha` in PEFT; nil where the method has none.
    public var alpha: Double?
    /// The factor that the update is multiplied with.
    public var scale: Double?
    /// What else decides the method's update: block sizes, modes, variants, by the name that the config gives them.
    public var details: [TargetDetail]

    /// A module of which no more than its name and method need be known: by default its `weight` changes, and without a rank, an alpha or
    /// a scale none is shown.
    public init(
        module: ExactString, parameter: String = "weight", method: String, rank: Int? = nil, alpha: Double? = nil,
        scale: Double? = nil, details: [TargetDetail] = []
    ) {
        self.module = module
        self.parameter = parameter
        self.method = method
        self.rank = rank
        self.alpha = alpha
        self.scale = scale
        self.details = details
    }
}

/// One parameter of a method beyond rank, alpha and scale, as `inspect` shows it.
public struct TargetDetail: Sendable, Hashable {
    /// The parameter's value, by its type.
    public enum Value: Sendable, Hashable {
        /// As the config has it.
        case text(String), count(Int), number(Double), flag(Bool)
    }

    /// The name that the config gives it.
    public let name: String
    /// What it is for this module.
    public let value: Value

    init(_ name: String, _ value: String) { (self.name, self.value) = (name, .text(value)) }
    init(_ name: String, _ value: Int) { (self.name, self.value) = (name, .count(value)) }
    init(_ name: String, _ value: Double) { (self.name, self.value) = (name, .number(value)) }
    init(_ name: String, _ value: Bool) { (self.name, self.value) = (name, .flag(value)) }

    /// The value as a document holds it; a number that is not finite has none there.
    public var json: JSONValue {
        switch value {
        case .text(let text): .string(text)
        case .count(let count): .number(JSONNumber(count))
        case .number(let number): number.isFinite ? .number(JSONNumber(number)) : .null
        case .flag(let flag): .bool(flag)
        }
    }

    /// `name value`, for a page.
    public var text: String {
        switch value {
        case .text(let text): "\(name) \(text)"
        case .count(let count): "\(name) \(count)"
        case .number(let number): "\(name) \(JSONNumber(number).text)"
        case .flag(let flag): "\(name) \(flag)"
        }
    }
}

extension AdapterTarget {
    /// The in-memory name of the parameter's tensor: `<module>.weight`.
    public var tensorName: String { "\(module).\(parameter)" }

    /// The module's path, with the parameter where that is not the weight.
    public var pathName: String { parameter == "weight" ? module.text : tensorName }
}

/// What a method is told when it binds an adapter to a base.
public struct BindingContext: Sendable {
    /// The position of the adapter among those being merged.
    public var adapterIndex: Int
    /// The weight given to this adapter, 1 unless `--weights` says otherwise.
    public var weight: Double
    /// How the caller answered the questions that the files leave open.
    public var options: BindingOptions
    /// The elements of a tensor of the base, widened to float64, for methods whose formula depends on a choice that they
    /// make.
    ///
    /// Throws `.unsupported` with rule `BaseDType` for a tensor that the base does not have or does not store in F64, F32, F16 or
    /// BF16, and what reading it throws.
    public var elements: @Sendable (ExactString) throws -> [Double]
    /// Finds in-memory parameters in the base's files; called once with all requests of an adapter, since all of its
    /// modules share one prefix form. A request in the second list may stay without a place: a head that the base
    /// lacks. Every other one that is missing or ambiguous throws.
    public var resolve: @Sendable ([ParameterRequest], [ParameterRequest]) throws -> [ParameterRequest: ParameterPlace]
    /// The base's tensors, for adapters whose files do not name their modules.
    public var base: BaseDirectory
    /// The type in which the base stores a tensor; nil where it has none of this name.
    public var dtype: @Sendable (ExactString) -> DType?

    /// What ``Binding`` tells a method of one adapter. Made by hand, it runs a method's `updates(of:in:)` alone, on places that `resolve`
    /// makes up. Nothing is thrown here: `elements` and `resolve` throw when the method calls them.
    public init(
        adapterIndex: Int, weight: Double, options: BindingOptions, base: BaseDirectory,
        elements: @escaping @Sendable (ExactString) throws -> [Double],
        dtype: @escaping @Sendable (ExactString) -> DType?,
        resolve: @escaping @Sendable ([ParameterRequest], [ParameterRequest]) throws -> [ParameterRequest: ParameterPlace]
    ) {
        self.adapterIndex = adapterIndex
        self.weight = weight
        self.options = options
        self.elements = elements
        self.base = base
        self.dtype = dtype
        self.resolve = resolve
    }
}

/// Answers to what the files leave open; the defaults are what PEFT does.
public struct BindingOptions: Sendable, Hashable {
    /// What is done when an update reaches one side of a tied pair of embeddings.
    public enum Tie: String, Sendable, Hashable, CaseIterable {
        /// Write both sides and set `tie_word_embeddings` to false: the merged model answers as the unmerged one.
        case `break`
        /// Keep one tensor and apply every update to it, as PEFT's own merge does.
        case keep
    }
    /// What the base given is, for adapters whose initialisation changed the base.
    public enum BaseRole: String, Sendable, Hashable, CaseIterable {
        /// The original model.
        case original
        /// The residual model that the initialisation left.
        case residual
    }
    /// The order of lora_B's columns in a stack of experts.
    public enum ExpertOrder: String, Sendable, Hashable, CaseIterable {
        /// PEFT: (out, r, E), the experts of one rank side by side.
        case rankMajor = "rank-major"
        /// (out, E, r), the ranks of one expert side by side.
        case expertMajor = "expert-major"
    }
    /// How the two factors of a bare file without a config are laid out.
    public enum Orientation: String, Sendable, Hashable, CaseIterable {
        /// PEFT: W (out, in), A (r, in), B (out, r), update B·A.
        case outIn = "out-in"
        /// Textbooks: W (in, out), A (in, r), B (r, out), update A·B.
        case inOut = "in-out"
    }

    /// What is done where an update reaches one side of tied embeddings.
    public var tie: Tie
    /// What the base is.
    public var baseRole: BaseRole
    /// How the factors of a file without a config lie.
    public var orientation: Orientation
    /// The whole factor of the update, for adapters without a config.
    public var scale: Double?
    /// One weight for each adapter; empty means 1 for all.
    public var weights: [Double]
    /// The task whose merged form is wanted, for methods that have one for each.
    public var task: Int?
    /// The component of a pipeline that the base is, where a file has several that fit.
    public var component: String?
    /// Which of the equal parts of a fused layer loralib's MergedLinear adapts; empty where it was not said.
    public var enableLoRA: [Bool] = []
    /// How the columns of a stacked expert's lora_B run, where its trainer has written both orders.
    public var expertOrder: ExpertOrder?
    /// How the base holds square matrices, where nothing in the files tells.
    public var squareOrientation: Orientation?
    /// Which values of the base were meant.
    public var baseValues: BaseValues = .unspecified
    /// How the frozen weights of training states are compared.
    public var comparison = ComparisonWork()

    /// The answers that most callers give; `component`, `enableLoRA`, `expertOrder`, `squareOrientation` and `baseValues` stay open until
    /// they are set. By default ties are broken, the base is the original model, and a bare file's factors lie as PEFT's do.
    ///
    /// - Parameters:
    ///   - scale: nil where the adapter's files tell it; one whose files do not is then refused.
    ///   - task: nil where no adapter has a merged form for each task.
    public init(
        tie: Tie = .break, baseRole: BaseRole = .original, orientation: Orientation = .outIn, scale: Double? = nil,
        weights: [Double] = [], task: Int? = nil
    ) {
        self.tie = tie
        self.baseRole = baseRole
        self.orientation = orientation
        self.scale = scale
        self.weights = weights
        self.task = task
    }
}
