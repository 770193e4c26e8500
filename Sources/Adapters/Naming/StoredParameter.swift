import ByteAccess
import Tensors

/// An in-memory parameter as found in the files: its shape in memory and the pieces that make it up.
struct StoredParameter: Sendable, Hashable {
    var shape: Shape
    var pieces: [ParameterPiece]
    /// See `ParameterPlace.untiedName`.
    var untiedName: ExactString?

    init(shape: Shape, pieces: [ParameterPiece], untiedName: ExactString? = nil) {
        self.shape = shape
        self.pieces = pieces
        self.untiedName = untiedName
    }

    /// One stored tensor, taken whole.
    init(whole tensor: ExactString, shape: Shape) {
        self.init(shape: shape, pieces: [ParameterPiece(rows: 0..<(shape.first ?? 1), tensor: tensor)])
    }

    /// A 3-D tensor taken whole becomes one piece an expert; anything else stays as it is.
    var splitByExpert: StoredParameter {
        guard shape.count == 3, pieces.count == 1, pieces[0].expert == nil else { return self }
        var copy = self
        copy.pieces = (0..<shape[0]).map { expert in
            ParameterPiece(
                expert: expert, rows: 0..<shape[1], tensor: pieces[0].tensor, storedExpert: expert)
        }
        return copy
    }

    /// Whether the pieces are experts of a stack.
    var isStack: Bool { pieces.first?.expert != nil }
}
