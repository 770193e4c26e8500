public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a checkpoint and the shard it is in.
public struct StoredTensor: Sendable, Hashable {
    /// Name, dtype, shape and byte range in its file.
    public var info: TensorInfo
    /// The shard, counted in `Checkpoint.shards`.
    public var shard: Int {
        get { Int(shardNumber) }
        set { shardNumber = Int32(newValue) }
    }
    /// The weight among `Checkpoint.quantisation`'s that this tensor is computed from; nil where it is stored as it is.
    public internal(set) var quantised: Int? {
        get { weightNumber < 0 ? nil : Int(weightNumber) }
        set { weightNumber = newValue.map { Int32($0) } ?? -1 }
    }

    // Half as wide as an `Int`: models of a hundred thousand tensors have as many of these, and no number of them is near 2³¹.
    private var shardNumber: Int32
    private var weightNumber: Int32 = -1

    /// The name, byte for byte.
    public var name: ExactString { info.name }
    /// The dtype of the elements.
    public var dtype: DType { info.dtype }
    /// The shape, outermost dimension first.
    public var shape: Shape { info.shape }
    /// Bytes of all elements.
    public var byteCount: UInt64 { info.byteCount }

    /// A tensor that is stored as it is in one of the shards.
    public init(info: TensorInfo, shard: Int) {
        self.info = info
        shardNumber = Int32(shard)
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
        switch file.kind {
        // What was called pytorch_model.bin and holds safetensors is called for what it holds.
        case .safetensors: TorchFileNames.safetensorsName(fileName)
        case .gguf: GGUFFileNames.safetensorsName(fileName)
        default: TorchFileNames.safetensorsName(fileName)
        }
    }

    /// The metadata that a rewrite gives it: the file's own, and for another container what transformers asks for.
    public var outputMetadata: [(key: ExactString, value: String)]? {
        file.kind == .safetensors ? file.metadata : [("format", "pt")]
    }
}
