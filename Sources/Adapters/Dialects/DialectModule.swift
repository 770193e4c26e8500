import ByteAccess
public import Tensors

/// One module of an adapter in a dialect: its tensors under the names of the method that computes it.
struct DialectModule: Sendable {
    /// The module as the file names it: a path with dots, or one with underscores in their place.
    var name: ExactString
    /// How the name stands for a module of the base.
    var naming: Naming
    /// The part of a pipeline that the name belongs to (`lora_te1`, `text_encoder`); nil where the file is of one model.
    var component: String?
    /// The path below the component, with its dots, where a base told it; `name` is then the base's own path.
    var own: ExactString?
    var form: DialectForm
    /// The tensors, by component and leaf of a canonical key.
    var tensors: [(component: String, leaf: String, view: TensorView)] = []
    var scale: ModuleScale?
    /// The same update on modules of other names, for a base that has no module of this one's.
    var elsewhere: [DialectModule] = []

    enum Naming: Sendable {
        /// The in-memory path.
        case path
        /// The path with `_` for `.`: only the base's own names can tell which `_` was a dot.
        case underscored
    }

    mutating func add(_ component: String, _ leaf: String = "", _ view: TensorView) {
        tensors.append((component, leaf, view))
    }
}

/// The scale of one module, where a dialect gives each its own.
public struct ModuleScale: Sendable, Hashable {
    /// r of the module's factors.
    public var rank: Int
    /// Nil where the dialect has no alpha and gives the whole factor.
    public var alpha: Double?
    /// The whole factor of the update.
    public var value: Double
    /// The dtype of the tensor that holds alpha, where one does.
    public var alphaDType: DType?

    /// alpha / rank.
    public init(rank: Int, alpha: Double, dtype: DType? = nil) {
        self.rank = rank
        alphaDType = dtype
        self.alpha = alpha
        value = alpha / Double(max(1, rank))
    }

    /// The whole factor, for dialects that have no alpha and do not divide by the rank.
    public init(rank: Int, value: Double) {
        self.rank = rank
        alpha = nil
        self.value = value
    }
}

/// The method that computes a module, with the config that says the same in its own terms.
struct DialectForm: Sendable {
    /// Modules of one name are bound together.
    let name: String
    let method: any AdapterMethod
    var settings: JSONObject = [:]

    static let lora = DialectForm(name: "lora", method: LoRA())
    /// Magnitudes by row of (out, in).
    static let dora = DialectForm(name: "dora", method: LoRA(), settings: ["use_dora": true])
    /// A parameter of all experts, whose wrapper is as that of a version of PEFT.
    static func wrapper(_ parameter: String, _ peftVersion: String) -> DialectForm {
        DialectForm(
            name: "lora of \(parameter)", method: LoRA(), settings: ["target_parameters": [.string(parameter)], "peft_version": .string(peftVersion)])
    }
    static let locon = DialectForm(name: "locon", method: LoCon())
    static let loha = DialectForm(name: "loha", method: LoHa())
    static let lokr = DialectForm(name: "lokr", method: LoKr())

    /// The same update inside a weight decomposition.
    static func decomposed(_ inner: some ModuleMethod, name: String) -> DialectForm {
        DialectForm(name: "\(name) decomposed", method: WeightDecomposition(inner: inner))
    }
}
