import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The stored tensor that a recipe starts from, read by rows.
struct SourceRows: Sendable {
    let recipe: TensorRecipe
    private let checkpoint: Checkpoint
    private let tensor: StoredTensor
    /// Where the tensor is stored as codes: its own loops, and not the merge's.
    private let plain: PlainDequantisation?

    /// - Throws: `.malformed` where the tensor is not in its checkpoint, or has another size than the recipe says.
    init(_ recipe: TensorRecipe, base: Checkpoint, adapters: [Adapter]) throws {
        self.recipe = recipe
        let name: ExactString
        switch recipe.source {
        case .base(let stored): (checkpoint, name) = (base, stored)
        case .adapter(let index, let stored):
            guard adapters.indices.contains(index) else {
                throw PeftfileError(
                    .malformed, "is of an adapter that is not given", tensor: stored, rule: "TensorMissing")
            }
            (checkpoint, name) = (adapters[index].checkpoint, stored)
        }
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(
                .malformed, "is not in the checkpoint", file: checkpoint.path, tensor: name, rule: "TensorMissing")
        }
        guard tensor.dtype == recipe.sourceDType, tensor.shape == recipe.shape else {
            throw PeftfileError(
                .malformed,
                "is \(tensor.dtype.rawValue) \(tensor.shape), and \(recipe.sourceDType.rawValue) "
                    + "\(recipe.shape) is expected", file: checkpoint.path, tensor: name, rule: "ShapeMismatch")
        }
        self.tensor = tensor
        if let weight = tensor.quantised, let quantisation = checkpoint.quantisation, let components = quantisation.components {
            plain = PlainDequantisation(quantisation.weights[weight], components: components)
        } else {
            plain = nil
        }
    }

    /// Bytes of the whole tensor.
    var byteCount: UInt64 { tensor.byteCount }

    /// Bytes of the tensor as stored; `range` counts from its first.
    func bytes(_ range: Range<UInt64>) throws -> [UInt8] { try checkpoint.read(tensor, bytes: range) }

    /// Reads the bytes of matrix rows and widens them. Only for types of whole bytes, which are all that are computed
    /// with.
    func read(rows: Range<Int>, raw: inout [UInt8], values: inout [Double]) throws {
        if let plain {
            values = try plain.values((rows.lowerBound * recipe.columns)..<(rows.upperBound * recipe.columns))
            PanelBuffers.resize(&raw, values.count * 8)
            raw.withUnsafeMutableBytes { raw in values.withUnsafeBytes { raw.copyMemory(from: $0) } }
            return
        }
        let row = UInt64(recipe.columns) * UInt64(recipe.sourceDType.bits / 8)
        PanelBuffers.resize(&raw, rows.count * Int(row))
        try raw.withUnsafeMutableBytes { try checkpoint.read(tensor, at: UInt64(rows.lowerBound) * row, into: $0) }
        PanelBuffers.resize(&values, rows.count * recipe.columns)
        try raw.withUnsafeBytes { raw in
            try values.withUnsafeMutableBufferPointer { try Conversion.widen(raw, as: recipe.sourceDType, into: $0) }
        }
    }

    /// The elements of matrix rows, widened.
    func values(rows: Range<Int>) throws -> [Double] {
        var raw: [UInt8] = []
        var values: [Double] = []
        try read(rows: rows, raw: &raw, values: &values)
        return values
    }
}
