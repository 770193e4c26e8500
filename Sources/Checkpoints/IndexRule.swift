/// The rules of a shard index; the raw value is the `rule` of the error, and the heading of the rule in
/// `Formats/safetensors-index.md`.
public enum IndexRule: String, Sendable, Hashable, CaseIterable {
    /// The index is UTF-8.
    case invalidUTF8 = "InvalidUTF8"
    /// The index is a JSON object with the object `weight_map`, and `metadata`, if any, an object.
    case invalidIndex = "InvalidIndex"
    /// No key stands in the index twice.
    case duplicateKey = "DuplicateKey"
    /// A shard's name is a plain file name.
    case unsafeShardName = "UnsafeShardName"
    /// Every shard that is named is there.
    case missingShard = "MissingShard"
    /// No tensor is in two shards.
    case duplicateTensor = "DuplicateTensor"
    /// Every tensor of `weight_map` is in the shard that is named for it.
    case missingTensor = "MissingTensor"
    /// Every tensor of a shard is in `weight_map`, under that shard.
    case unlistedTensor = "UnlistedTensor"
    /// Files whose names say that they are shards have an index (directories).
    case missingIndex = "MissingIndex"
    /// A directory holds one checkpoint (directories).
    case ambiguousCheckpoint = "AmbiguousCheckpoint"
}
