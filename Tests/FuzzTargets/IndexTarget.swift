public import ByteAccess
import Checkpoints
import TestSupport

/// The index of a sharded checkpoint.
public struct IndexTarget: FuzzTarget {
    public let name = "index"
    public init() {}

    private static let words = JSONPieces.words + [
        "\"weight_map\"", "\"metadata\"", "\"total_size\"", "\"model-00001-of-00002.safetensors\"", "\"..\"", "\".\"", "\"/etc/passwd\"",
        "\"a\\u0000b\"", "\"c:\\\\x\"", "\"model.embed_tokens.weight\":\"model-00001-of-00002.safetensors\",", "\"weight_map\":{",
    ].map { Array($0.utf8) }

    public func seeds() throws -> [[UInt8]] {
        try Seeds.found(named: ".safetensors.index.json", below: 4000) + [
            #"{"metadata":{"total_size":8},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s1.safetensors"}}"#,
            #"{"weight_map":{}}"#,
        ].map { Array($0.utf8) }
    }

    public func pieces(of file: [UInt8]) -> Pieces { Pieces(JSONPieces.of(file[...]), dictionary: Self.words) }

    public func read(_ reader: FileReader) throws {
        let index = try ShardIndex.parse(try reader.allBytes(limit: ShardIndex.sizeLimit), file: reader.path)
        for shard in index.shardNames {
            // Nothing that is named leads out of the directory.
            guard !shard.isEmpty, shard != ".", shard != "..", !shard.utf8.contains(UInt8(ascii: "/")), !shard.utf8.contains(0) else {
                throw FuzzFailure("an unsafe shard name")
            }
        }
        for entry in index.weightMap where !index.shardNames.indices.contains(entry.shard) {
            throw FuzzFailure("a tensor in no shard")
        }
    }
}
