public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a GGUF file and what it is in the Hub's model.
public struct GGUFTensor: Sendable {
    /// The tensor under its name in the file.
    public let stored: StoredTensor
    /// The type of its elements in the file.
    public let type: GGUFType
    /// The shape of its elements.
    public let shape: Shape
    /// The Hub's name; of a stack of experts one for each; none where the converter computed the tensor.
    public let names: [ExactString]
    /// Whether it is a stack of experts' matrices.
    public let isStack: Bool
    /// The order of its rows, where it is not the Hub's.
    public let order: Order?
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
    }

    /// Whether its elements are the real numbers that a merge computes with, in blocks or not.
    public var isNumbers: Bool { type.dtype?.isMergeable ?? true }

    /// Whether more is to be done than to rename it. Vectors are read as weights too, so that `--dtype` reaches them.
    func needsReader(isQuantised: Bool) -> Bool {
        isStack || isNumbers && (isQuantised || order != nil || shift != 0 || shape.count < 2)
    }

    /// The tensors of the Hub's model in it.
    func weights(plainDType: DType?) -> [GGUFWeight] {
        let part = isStack ? Array(shape.dropFirst()) : shape
        return names.enumerated().map { number, name in
            GGUFWeight(
                name: name, shape: part, codes: stored, type: type, order: order, first: number * (part.elementCount ?? 0),
                shift: shift, plainDType: plainDType)
        }
    }
}
