public import ByteAccess
public import Tensors

/// A prompt found among stored tensors: what it is for, how it comes out of them, and what it is called when stripped.
public struct PromptModule: Sendable {
    /// The form's name, for people: `PEFT prefix MLP`.
    public var form: String
    /// What the prompt does: key and value slots, or virtual tokens of the input.
    public var kind: SoftPrompt
    /// The convention of the names: `peft`, `adapterhub`.
    public var dialect = "peft"
    /// Whether names and config are PEFT's.
    public var isPEFT: Bool
    /// The path of the encoder's module, without wrappers.
    public var root: String
    /// What tells encoders of one root apart: `_enc`, `2`; mostly empty.
    public var variant: String
    /// How the prompt is computed.
    public var formula: PromptFormula
    /// The tensors that the form accounts for: those of the formula, and those that fall away with it.
    public var tensors: [ExactString]
    /// Rows of the result; nil for a flat vector whose config does not tell.
    public var tokens: Int?
    /// Elements of the result.
    public var elements: Int
    /// The dtype of the embedding, which a stripped prompt keeps.
    public var dtype: DType
    /// What the source itself calls the prompt where it has no reparametrization, and in which shape.
    public var sourceName: ExactString
    /// The shape under that name.
    public var sourceShape: Shape
    /// The names of its parts, where the source keeps the keys and values of each layer apart.
    public var slots: PromptSlots?
    /// Whether `hidden_size` of the config is the embedding's width alone, and that of a key or value only as a rule.
    public var hiddenIsEmbedding = false
    /// Why PEFT cannot hold it, where it cannot.
    public var noPEFTLayout: String?
    /// The factors of multitask prompt tuning.
    public var factors: TaskFactors?
    /// The config section that speaks of this prompt.
    public var config: AdapterConfig?

    /// `prefix_task_cols` (tasks, tokens, ranks) and `prefix_task_rows` (tasks, ranks, width).
    public struct TaskFactors: Sendable {
        /// `prefix_task_cols`, (tasks, tokens, ranks).
        public var columns: ExactString
        /// `prefix_task_rows`, (tasks, ranks, width).
        public var rows: ExactString
        /// How many tasks there are.
        public var tasks: Int
        /// The rank of each task's factors.
        public var ranks: Int
    }

    /// Whether there is a reparametrization to take away.
    public var isReparametrized: Bool {
        switch formula {
        case .stored, .slots: false
        default: true
        }
    }

    /// The tensors of the source's own layout: the prompt under one name, or its slots.
    ///
    /// - Parameters:
    ///   - layers: how many layers there are slots for, where their names follow from it.
    ///   - formula: the prompt's formula, or that of the task that is baked.
    /// - Throws: `.refused` with rule `OptionMissing` where slots are to be cut and `layers` is nil, with rule `PrefixWidth` where the
    ///   width is not that of keys and values of so many layers, and with rule `NoSourceLayout` where the slots' names are unknown.
    public func sourceTensors(
        layers: Int?, formula: PromptFormula
    ) throws -> [(name: ExactString, shape: Shape, formula: PromptFormula)] {
        guard let slots, let tokens, let width else { return [(sourceName, sourceShape, formula)] }
        if case .slots(let stored, _, let part) = formula {
            return zip(try slots.names(layers: stored.count / 2), stored).map { ($0, [tokens, part], .stored($1)) }
        }
        guard let layers, layers > 0, width % 2 == 0, width / 2 % layers == 0 else {
            throw PeftfileError(
                .refused, "makes \(width) numbers a token"
                    + (layers.map { ", which are no keys and values of \($0) layers" } ?? ", and nothing tells for how many layers"),
                tensor: sourceName, rule: layers == nil ? "OptionMissing" : "PrefixWidth",
                help: "strip with --num-layers or --token-dim, or strip with --base, the base model's directory")
        }
        let part = width / 2 / layers
        return try slots.names(layers: layers).enumerated().map { index, name in
            (name, [tokens, part], .columns(formula, index * part..<(index + 1) * part, of: width))
        }
    }

    /// Width of a row of the result.
    public var width: Int? { tokens.map { elements / $0 } }

    init(
        form: String, kind: SoftPrompt, isPEFT: Bool, group: PromptGroup, formula: PromptFormula, embedding: PromptTensor,
        tokens: Int?, elements: Int, sourceName: String, flat: Bool = false, config: AdapterConfig?
    ) {
        self.form = form
        self.kind = kind
        self.isPEFT = isPEFT
        root = group.root
        variant = group.variant
        self.formula = formula
        tensors = group.leaves.compactMap { group.tensors[$0]?.stored }
        self.tokens = tokens
        self.elements = elements
        dtype = embedding.dtype
        self.sourceName = ExactString(group.root.isEmpty ? sourceName : "\(group.root).\(sourceName)")
        sourceShape = if !flat, let tokens { [tokens, elements / tokens] } else { [elements] }
        self.config = config
    }

    /// tokens · width, refused where it does not fit.
    static func elements(_ tokens: Int, _ width: Int, _ tensor: PromptTensor) throws -> Int {
        let (count, overflow) = tokens.multipliedReportingOverflow(by: width)
        guard !overflow, count <= Int.max / 16 else {
            throw PeftfileError(
                .refused, "makes a prompt of \(tokens) × \(width) numbers, which does not fit memory",
                tensor: tensor.stored, rule: "PromptShape")
        }
        return count
    }
}
