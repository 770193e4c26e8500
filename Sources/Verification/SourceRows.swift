import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The stored tensor that a recipe starts from, read by rows.
struct SourceRows: Sendable {
    let recipe: TensorRecipe
    private let checkpoint: Checkpoint
    private let tensor: StoredTensor

    /// - Throws: `.malformed` where the tensor is not in its checkpoint, or has another size than the recipe says.
    init(_ recipe: TensorRecipe, base: Checkpoint, adapters: [Adapter]) throws {
        self.recipe = recipe
        let name: ExactString
        switch recipe.source {
        case .base(let stored): (checkpoint, name) = (base, stored)
        case .adapter(let index, let stored):
            guard adapters.indices.contains(index) else {
                throw PeftfileError(.malformed, "is of an adapter that is not given", tensor: stored, rule: "TensorMissing")
            }
            (checkpoint, name) = (adapters[index].checkpoint, stored)
        }
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(
                .malformed, "is not in the checkpoint", file: checkpoint.path, tensor: name, rule: "TensorMissing")
        }
        guard tensor.dtype == recipe.sourceDType, tensor.shape == recipe.shape else {
            throw PeftfileError(
                .malformed, "is \(tensor.dtype.rawValue) \(tensor.shape), and \(recipe.sourceDType.rawValue) "
                    + "\(recipe.shape) is expected", file: checkpoint.path, tensor: name, rule: "ShapeMismatch")
        }
        self.tensor = tensor
    }

    /// Bytes of the whole tensor.
    var byteCount: UInt64 { tensor.byteCount }

    /// Bytes of the tensor as stored; `range` counts from its first.
    func bytes(_ range: Range<UInt64>) throws -> [UInt8] { try checkpoint.read(tensor, bytes: range) }

    /// The bytes of matrix rows. Only for types of whole bytes, which are all that are computed with.
    func bytes(rows: Range<Int>) throws -> [UInt8] {
        let row = UInt64(recipe.columns) * UInt64(recipe.sourceDType.bits / 8)
        return try bytes((UInt64(rows.lowerBound) * row)..<(UInt64(rows.upperBound) * row))
    }

    /// The elements of matrix rows, widened.
    func values(rows: Range<Int>) throws -> [Double] {
        try Conversion.widened(try bytes(rows: rows), as: recipe.sourceDType, count: rows.count * recipe.columns)
    }
}
