public import Adapters
import ByteAccess
public import Checkpoints

/// One side of a comparison: a safetensors file, a shard set, a checkpoint directory or an adapter.
public struct DifferenceInput: Sendable {
    /// The path as it was given.
    public let path: String
    /// The tensors of one side.
    public let checkpoint: Checkpoint
    /// The adapter, where it is one.
    public let adapter: Adapter?

    /// Opens a path. What is an adapter is told as `inspect` tells it.
    ///
    /// - Throws: what opening throws: the file cannot be read, or breaks a rule of its format.
    public init(path: String) throws {
        self.path = path
        adapter = Inspection.looksLikeAdapter(path) ? try Adapter(path: path) : nil
        checkpoint = try adapter?.checkpoint ?? Checkpoint.open(path)
    }
}
