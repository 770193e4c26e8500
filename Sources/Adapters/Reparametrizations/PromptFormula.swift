public import ByteAccess

/// How a prompt comes out of stored tensors, as a value: what is read, in which shapes, and what is computed.
///
/// Everything is float64 from the widened stored numbers, in the order that the cases state; the result is rounded once.
/// `PromptEvaluator` computes it for writing, `PromptRecomputation` by other arithmetic for verification.
public indirect enum PromptFormula: Sendable, Hashable {
    /// The numbers as they are stored.
    case stored(ExactString)
    /// Stored tensors of `tokens` rows side by side, each `width` wide.
    case slots([ExactString], tokens: Int, width: Int)
    /// Some columns of a prompt that is `of` numbers wide.
    case columns(PromptFormula, Range<Int>, of: Int)
    /// Linear layers with a function between them.
    case perceptron(PromptPerceptron)
    /// An LSTM with linear layers on top.
    case recurrent(PromptRecurrence)
    /// One task of a multitask prompt.
    case task(TaskPrompt)

    /// The formula for people: E is the embedding.
    public var text: String {
        switch self {
        case .stored, .slots: "as stored"
        case .columns(let whole, _, _): whole.text
        case .perceptron(let value): value.text
        case .recurrent(let value): value.text
        case .task(let value): "E * (cols rows) of task \(value.task)"
        }
    }

    /// The tensors that are read.
    public var tensors: [ExactString] {
        switch self {
        case .stored(let name): [name]
        case .slots(let names, _, _): names
        case .columns(let whole, _, _): whole.tensors
        case .perceptron(let value): [value.embedding] + value.layers.flatMap { [$0.weight, $0.bias] }
        case .recurrent(let value):
            [value.embedding]
                + value.layers.flatMap { [$0.forward, $0.reverse] }
                .flatMap { [$0.inputWeight, $0.hiddenWeight, $0.inputBias, $0.hiddenBias] }
                + value.head.flatMap { [$0.weight, $0.bias] }
        case .task(let value): [value.embedding, value.columns, value.rows]
        }
    }

    /// The weights of layers, which are read in panels of rows; all other tensors are read whole.
    public var layerWeights: [ExactString] {
        switch self {
        case .stored, .slots, .task: []
        case .columns(let whole, _, _): whole.layerWeights
        case .perceptron(let value): value.layers.map(\.weight)
        case .recurrent(let value):
            value.layers.flatMap { [$0.forward.inputWeight, $0.reverse.inputWeight] } + value.head.map(\.weight)
        }
    }
}

extension PromptFormula {
    /// The prompt that this is columns of, or the formula itself: what is computed once for all of its parts.
    public var whole: PromptFormula { if case .columns(let whole, _, _) = self { whole } else { self } }

    /// The numbers of this formula among those of `whole`.
    public func part(of numbers: [Double]) -> [Double] {
        guard case .columns(_, let columns, let width) = self, width > 0 else { return numbers }
        return stride(from: 0, to: numbers.count, by: width).flatMap {
            numbers[($0 + columns.lowerBound)..<($0 + columns.upperBound)]
        }
    }

    /// The rows of a prompt made of its slots.
    public static func sideBySide(_ slots: [[Double]], tokens: Int, width: Int) -> [Double] {
        (0..<tokens).flatMap { token in slots.flatMap { $0[(token * width)..<((token + 1) * width)] } }
    }
}

/// An embedding through linear layers with one function between each two:
///
///     y = W_n f(... f(W_1 e + b_1) ...) + b_n     for each row e of the embedding
///
/// Each layer as ``PromptLayer`` defines it.
public struct PromptPerceptron: Sendable, Hashable {
    /// The embedding's tensor, (tokens, width).
    public let embedding: ExactString
    /// Rows of the embedding: virtual tokens.
    public let tokens: Int
    /// The linear layers, first to last.
    public let layers: [PromptLayer]
    /// The function between two layers.
    public let activation: PromptActivation

    var text: String {
        layers.indices.reversed().map { "W\($0 + 1)" + ($0 > 0 ? " \(activation.rawValue)(" : " E + b1") }.joined()
            + layers.indices.dropFirst().map { ") + b\($0 + 1)" }.joined()
    }
}

/// An embedding through a bidirectional LSTM of any number of layers, and then linear layers with ReLU between them.
///
/// For each direction, with h and c zero before the first token, gates in the order i, f, g, o of the rows of W:
///
///     p = (b_ih + b_hh) + W_ih x + W_hh h       each product by fma from zero, added in this order
///     c = σ(p_f)·c + σ(p_i)·tanh(p_g);   h = σ(p_o)·tanh(c)
///
/// c is the sum of its two products, each rounded. A layer's output for a token is forward h then reverse h. Dropout between layers is for training alone.
/// Source: torch.nn.LSTM's documentation.
public struct PromptRecurrence: Sendable, Hashable {
    /// One direction of a layer: its four tensors.
    public struct Direction: Sendable, Hashable {
        /// (4·hidden, inputs)
        public let inputWeight: ExactString
        /// (4·hidden, hidden)
        public let hiddenWeight: ExactString
        /// (4·hidden)
        public let inputBias: ExactString
        /// (4·hidden)
        public let hiddenBias: ExactString
    }
    /// One layer in both directions.
    public struct Layer: Sendable, Hashable {
        /// The width of what goes in.
        public let inputs: Int
        /// First token to last.
        public let forward: Direction
        /// Last token to first.
        public let reverse: Direction
    }
    /// The embedding's tensor, (tokens, inputs of the first layer).
    public let embedding: ExactString
    /// Virtual tokens.
    public let tokens: Int
    /// The width of h and c in one direction.
    public let hidden: Int
    /// The layers, first to last.
    public let layers: [Layer]
    /// The linear layers on top, ReLU between them.
    public let head: [PromptLayer]

    var text: String { "W2 relu(W1 LSTM(E) + b1) + b2, \(layers.count) bidirectional layers of \(hidden)" }
}

/// One task's prompt of multitask prompt tuning: `prompt ⊙ (cols_t · rows_t)`, the product by fma from zero over ranks.
public struct TaskPrompt: Sendable, Hashable {
    /// (tokens, width)
    public let embedding: ExactString
    /// (tasks, tokens, ranks)
    public let columns: ExactString
    /// (tasks, ranks, width)
    public let rows: ExactString
    /// The task, from 0.
    public let task: Int
    /// Virtual tokens.
    public let tokens: Int
    /// The rank of the task's factors.
    public let ranks: Int
    /// The width of a token's embedding.
    public let width: Int
}
