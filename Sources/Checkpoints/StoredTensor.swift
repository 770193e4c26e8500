public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a checkpoint and the shard it is in.
public struct StoredTensor: Sendable, Hashable {
    /// Name, dtype, shape and byte range in its file.
    public var info: TensorInfo
    /// The shard, counted in `Checkpoint.shards`.
    public var shard: Int
    /// The weight among `Checkpoint.quantisation`'s that this tensor is computed from; nil where it is stored as it is.
    public internal(set) var quantised: Int?

    /// The name, byte for byte.
    public var name: ExactString { info.name }
    /// The dtype of the elements.
    public var dtype: DType { info.dtype }
    /// The shape, outermost dimension first.
    public var shape: Shape { info.shape }
    /// Bytes of all elements.
    public var byteCount: UInt64 { info.byteCount }

    public init(info: TensorInfo, shard: Int) {
        self.info = info
        self.shard = shard
    }
}

/// A file of a checkpoint.
public struct Shard: Sendable {
    /// The name in the checkpoint's directory.
    public let fileName: String
    /// The open container.
    public let file: any TensorFile

    /// The name of the file that a rewrite writes for this one.
    public var outputName: String {
        file.kind == .torch ? TorchFileNames.safetensorsName(fileName) : fileName
    }

    /// The metadata that a rewrite gives it: the file's own, and for a torch file what transformers asks for.
    public var outputMetadata: [(key: ExactString, value: String)]? {
        file.kind == .torch ? [("format", "pt")] : file.metadata
    }
}
