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
    /// Whether the Hub's matrix is the stored one, transposed: the Conv1D layers of GPT-2, (in, out).
    public let isTransposed: Bool
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

    /// The shape of each matrix that the Hub's model has in it.
    public var modelShape: Shape {
        let part = isStack ? Array(shape.dropFirst()) : shape
        return isTransposed ? part.reversed() : part
    }

    /// Whether its elements are the real numbers that a merge computes with, in blocks or not.
    public var isNumbers: Bool { type.dtype?.isMergeable ?? true }

    /// Whether more is to be done than to rename it. Vectors are read as weights too, so that `--dtype` reaches them.
    func needsReader(isQuantised: Bool) -> Bool {
        isStack || isTransposed || isNumbers && (isQuantised || order != nil || shift != 0 || shape.count < 2)
    }

    /// The tensors of the Hub's model in it.
    func weights(plainDType: DType?) -> [GGUFWeight] {
        let part = modelShape
        return names.enumerated().map { number, name in
            GGUFWeight(
                name: name, shape: part, codes: stored, type: type, order: order, first: number * (part.elementCount ?? 0),
                isTransposed: isTransposed, shift: shift, plainDType: plainDType)
        }
    }
}
