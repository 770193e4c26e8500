public import ByteAccess
public import Tensors

/// What an adapter asks of the base: one parameter of a module under its in-memory name.
public struct ParameterRequest: Sendable, Hashable {
    /// Which parameter of the module is meant.
    public enum Parameter: Sendable, Hashable {
        /// The module's matrix or kernel: `weight`, or what stands for it (`in_proj_weight` of an
        /// nn.MultiheadAttention).
        case weight
        /// The module's `bias`.
        case bias
        /// A parameter by its own name, as `modules_to_save` and `bias=all` store it.
        case named(String)
        /// A `target_parameters` wrapper: `level` counts `.base_layer` infixes (0 is the outermost wrapper) out of
        /// `levels` wrappers on this module. The key does not name the parameter; registration order and shapes do.
        case wrapped(level: Int, levels: Int)
    }

    /// The module's path in memory, without `base_model.model.`, `.base_layer` and the LoRA suffix.
    public var module: ExactString
    /// Which parameter of the module.
    public var parameter: Parameter
    /// The dimensions (b, a) of the update B·A per expert or matrix: lora_B's rows and lora_A's columns. Nil where the
    /// request is no matrix update. For convolutions a is in·k….
    public var update: (rows: Int, columns: Int)? {
        get { updateShape.map { ($0[0], $0[1]) } }
        set { updateShape = newValue.map { [$0.rows, $0.columns] } }
    }
    private var updateShape: Shape?
    /// Whether the update is an embedding's (`lora_embedding_A/B`, rows = vocabulary, columns = width).
    public var isEmbedding: Bool
    /// Whether the module is a Linear or Conv1D of which `update` does not tell the sides, and `updateTransposed` of its
    /// place shall say whether it is held as (in, out).
    var asksOrientation = false

    /// Asks for a parameter. `update` is left out where no matrix update is meant, as for a bias or a parameter saved whole.
    public init(
        module: ExactString, parameter: Parameter, update: (rows: Int, columns: Int)? = nil, isEmbedding: Bool = false
    ) {
        self.module = module
        self.parameter = parameter
        self.isEmbedding = isEmbedding
        self.update = update
    }
}

/// One rectangular piece of an in-memory parameter, and where it lies on disk.
public struct ParameterPiece: Sendable, Hashable {
    /// Index along the expert axis of the in-memory parameter; nil where that is a plain matrix, kernel or vector.
    public var expert: Int?
    /// Rows (first dimension; for a vector its elements) of the in-memory matrix that this piece covers.
    public var rows: Range<Int>
    /// The stored tensor.
    public var tensor: ExactString
    /// Index along the leading axis of a stored 3-D stack of experts; nil otherwise.
    public var storedExpert: Int?
    /// Where `rows.lowerBound` lies in the stored matrix: a row, or a column if `transposed`.
    public var storedOffset: Int
    /// Whether the stored matrix is the transpose of the in-memory one.
    public var transposed: Bool

    /// Rows of a parameter and the tensor that holds them. The defaults mean a plain matrix or vector, stored as it is in memory from its
    /// first row on.
    public init(
        expert: Int? = nil, rows: Range<Int>, tensor: ExactString, storedExpert: Int? = nil, storedOffset: Int = 0,
        transposed: Bool = false
    ) {
        self.expert = expert
        self.rows = rows
        self.tensor = tensor
        self.storedExpert = storedExpert
        self.storedOffset = storedOffset
        self.transposed = transposed
    }
}

/// An in-memory parameter of the base, found in the files.
public struct ParameterPlace: Sendable, Hashable {
    /// The parameter's own name: `weight`, `bias`, `gate_up_proj`, `in_proj_weight`.
    public var parameter: String
    /// Its shape in memory.
    public var shape: Shape
    /// Its pieces on disk; together they cover it.
    public var pieces: [ParameterPiece]
    /// Whether the in-memory matrix (of each expert) is the transpose of the update B·A: Conv1D layers (GPT-2), which
    /// hold (in, out), and stacked experts held as (E, in, out).
    public var updateTransposed: Bool
    /// How often the model adds the update: 2 for the `out_proj` of an nn.MultiheadAttention, else 1.
    public var multiplicity: Int
    /// Set where the model ties this parameter to another and the file holds only that other (`pieces` point at it):
    /// the name under which this side would be stored on its own.
    public var untiedName: ExactString?

    /// A parameter whose pieces were found. The defaults mean that it is held as the update is, (out, in), added to once, and stored under
    /// a name of its own.
    public init(
        parameter: String, shape: Shape, pieces: [ParameterPiece], updateTransposed: Bool = false,
        multiplicity: Int = 1, untiedName: ExactString? = nil
    ) {
        self.parameter = parameter
        self.shape = shape
        self.pieces = pieces
        self.updateTransposed = updateTransposed
        self.multiplicity = multiplicity
        self.untiedName = untiedName
    }
}
