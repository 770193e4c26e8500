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
    /// What the Hub's model has of it: one tensor; of a stack of experts one for each; of what the converter joined one for each part; none
    /// where the converter computed it.
    public let pieces: [Piece]
    /// Whether it is a stack of experts' matrices.
    public let isStack: Bool
    /// What the converter made of it beside; nil for a tensor that is stored as it is.
    public let form: GGUFForm?
    /// How it lies in the Hub's tensor, of which it may be one part of two; nil where it is that tensor, or a stack of such.
    public let cut: GGUFCut?
    /// What was added to the elements.
    public let shift: Double

    /// The Hub's names.
    public var names: [ExactString] { pieces.map(\.name) }

    /// A tensor of the Hub's in a stored one, or of which the stored one is a part.
    public struct Piece: Sendable, Hashable {
        /// The Hub's name.
        public let name: ExactString
        /// The Hub's shape.
        public let shape: Shape
        /// The stored element at which it begins; a whole number of rows.
        public let first: Int
        /// The order of its rows, where it is not the Hub's.
        public let order: Order?
    }

    /// The bytes of a piece, counted from the tensor's first, where its elements are written in a type. A tensor in one piece has them all.
    public func bytes(of piece: Piece, as type: GGUFType) -> Range<UInt64> {
        func place(_ element: Int) -> UInt64 { UInt64(element / type.blockElements * type.blockBytes) }
        guard pieces.count > 1 else { return 0..<place(shape.elementCount ?? 0) }
        return place(piece.first)..<place(piece.first + (piece.shape.elementCount ?? 0))
    }

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
        case .vector, .filters, .exponential, .valueVector, .valueFilters, .valueExponential, .lengthened: true
        default: shape.count < 2 || !isNumbers || !stored.name.text.hasSuffix(".weight")
        }
    }

    /// The type in which a merge into a GGUF file writes it, which need not be one that can be written.
    ///
    /// - Parameters:
    ///   - isChanged: whether an update reaches it.
    ///   - dtype: what all matrices are written in.
    ///   - blocks: the blocks that those are written in which an update reaches. F32 and F64 stay: llama.cpp has them where it needs them, in
    ///     routers; so does what has no whole number of blocks in a row.
    public func type(isChanged: Bool, dtype: DType?, blocks: GGUFType?) -> GGUFType {
        guard !keepsType else { return type }
        if let asked = dtype.flatMap({ GGUFType($0) }) { return asked }
        guard let blocks, isChanged, type != .f32, type != .f64, (shape.last ?? 1) % blocks.blockElements == 0 else { return type }
        return blocks
    }

    /// Whether more is to be done than to rename it. Vectors are read as weights too, so that `--dtype` reaches them.
    func needsReader(isQuantised: Bool) -> Bool {
        if form?.isExponential == true || form == .lengthened { return true }
        return isStack || pieces.count > 1 || cut != nil
            || isNumbers && (isQuantised || pieces.first?.order != nil || shift != 0 || shape.count < 2)
    }

    /// The tensors of the Hub's model in it.
    ///
    /// - Parameter others: the other parts of the one that it is a part of.
    func weights(plainDType: DType?, others: [GGUFTensor] = []) -> [GGUFWeight] {
        let parts = ([self] + others).compactMap { tensor in
            tensor.cut.map { GGUFWeight.Part(codes: tensor.stored, type: tensor.type, cut: $0) }
        }
        return pieces.map { piece in
            GGUFWeight(
                name: piece.name, shape: piece.shape, codes: stored, type: type, order: piece.order, first: piece.first, parts: parts,
                isLogarithm: form?.isExponential == true, shift: shift, plainDType: plainDType)
        }
    }
}
