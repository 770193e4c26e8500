public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a GGUF file and what it is in the Hub's model.
public struct GGUFTensor: Sendable {
    /// The tensor under its name in the file.
    public let stored: StoredTensor
    /// The type of its elements in the file.
    public let type: GGUFType
    /// The shape of its elements in the file.
    public let shape: Shape
    /// The Hub's name; of a stack of experts one for each; none where the converter computed the tensor.
    public let names: [ExactString]
    /// Whether it is a stack of experts' matrices.
    public let isStack: Bool
    /// The order of its rows, where it is not the Hub's.
    public let order: Order?
    /// What the converter made of it beside; nil for a tensor that is stored as it is.
    public let form: GGUFForm?
    /// How it lies in the Hub's tensor, of which it may be one part of two; nil where it is that tensor, or a stack of such.
    public let cut: GGUFCut?
    /// The shape of each tensor that the Hub's model has in it, or has it in.
    public let modelShape: Shape
    /// What was added to the elements.
    public let shift: Double

    /// Rows that are stored in another order than the Hub's.
    public struct Order: Sendable, Hashable {
        /// Which order it is.
        public let kind: GGUFRowOrder
        /// The heads that it depends on.
        public let heads: GGUFHeads
        /// For each row of the Hub's the stored one.
        public let storedRows: [Int]
        /// So many rows lie in the same place, in another order among themselves.
        public let groupSize: Int
        /// So many rows stay together, wherever they lie; 1 where each moves by itself.
        public let runLength: Int
    }

    /// Whether its elements are the real numbers that a merge computes with, in blocks or not.
    public var isNumbers: Bool { type.dtype?.isMergeable ?? true }

    /// Whether a merge into a GGUF file leaves it in its type, whatever it is told to write: ggml computes with vectors, with parameters
    /// that are no weights and with the filters of convolutions in F32.
    ///
    /// Source: `prepare_tensors` of `ModelBase` in conversion/base.py of ggml-org/llama.cpp.
    public var keepsType: Bool {
        switch form {
        case .vector, .filters, .exponential: true
        default: shape.count < 2 || !isNumbers || !stored.name.text.hasSuffix(".weight")
        }
    }

    /// Whether more is to be done than to rename it. Vectors are read as weights too, so that `--dtype` reaches them.
    func needsReader(isQuantised: Bool) -> Bool {
        if case .exponential = form { return true }
        return isStack || cut != nil || isNumbers && (isQuantised || order != nil || shift != 0 || shape.count < 2)
    }

    /// The tensors of the Hub's model in it.
    ///
    /// - Parameter others: the other parts of the one that it is a part of.
    func weights(plainDType: DType?, others: [GGUFTensor] = []) -> [GGUFWeight] {
        let part = modelShape
        var isLogarithm = false
        if case .exponential = form { isLogarithm = true }
        let parts = ([self] + others).compactMap { tensor in
            tensor.cut.map { GGUFWeight.Part(codes: tensor.stored, type: tensor.type, cut: $0) }
        }
        return names.enumerated().map { number, name in
            GGUFWeight(
                name: name, shape: part, codes: stored, type: type, order: order, first: number * (part.elementCount ?? 0),
                parts: parts, isLogarithm: isLogarithm, shift: shift, plainDType: plainDType)
        }
    }
}
