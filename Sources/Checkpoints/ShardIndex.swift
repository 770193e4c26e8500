public import ByteAccess
import Containers

/// A `*.safetensors.index.json`: which shard holds which tensor.
///
/// Source: `save_pretrained` of transformers and `split_state_dict_into_shards_factory` of huggingface_hub;
/// `Formats/safetensors-index.md` has the rules by number.
public struct ShardIndex: Sendable {
    /// The longest index that is read, in bytes; one with 10^6 tensors has about 10^8.
    public static let sizeLimit: UInt64 = 1 << 29

    /// The index's `metadata`, in file order; nil where there is none. `total_size` in it is what the writer believed
    /// and is not held against the shards (see the page's errata).
    public var metadata: JSONObject?
    /// The shards' file names, sorted by their bytes, each once.
    public var shardNames: [String]
    /// The `weight_map` in file order; `shard` counts in `shardNames`.
    public var weightMap: [(tensor: ExactString, shard: Int)]

    /// Reads an index file.
    ///
    /// - Throws: `.notFound` where there is no such file; `.refused` where it is no regular file or has more than `sizeLimit` bytes;
    ///   `.io` where it cannot be read; else as `parse(_:file:)`.
    public static func open(_ path: String) throws -> ShardIndex {
        try parse(FileReader(path: path).allBytes(limit: sizeLimit), file: path)
    }

    /// Reads an index from its bytes, in linear time and straight from the parser: an index of a large model has
    /// 100 000 entries.
    ///
    /// - Throws: `.malformed` with rule `InvalidUTF8`; `InvalidIndex` where the text is no JSON object with the object `weight_map` of
    ///   strings, or `metadata` is no object; `DuplicateKey` for a key or a tensor that stands there twice; `UnsafeShardName` for a
    ///   shard that is no plain file name.
    public static func parse(_ bytes: [UInt8], file: String? = nil) throws -> ShardIndex {
        try bytes.withUnsafeBytes { buffer in
            if let index = UTF8Validation.firstInvalidByte(in: buffer) {
                throw IndexRule.invalidUTF8.broken("the index is not UTF-8", file: file, offset: UInt64(index))
            }
            var reader = JSONReader(buffer, file: file, rule: IndexRule.invalidIndex.rawValue)
            return try ShardIndex(&reader, file: file)
        }
    }

    private init(_ reader: inout JSONReader, file: String?) throws {
        var metadata: JSONObject?
        var entries: [(tensor: ExactString, shard: Int)]?
        var shards = ShardNames()
        var keys: Set<ExactString> = []
        try reader.beginObject()
        while let text = try reader.nextKey() {
            let key = ExactString(reader.decoded(text))
            guard keys.insert(key).inserted else {
                throw IndexRule.duplicateKey.broken(
                    "the key \"\(key.text)\" stands in the index twice", file: file, offset: UInt64(reader.position))
            }
            switch key {
            case "weight_map": entries = try Self.parseWeightMap(&reader, &shards, file: file)
            case "metadata":
                guard try reader.peek() == .object else { throw reader.failure("metadata is not an object") }
                metadata = try reader.readObject()
            default: try reader.skipValue()
            }
        }
        try reader.finish()
        guard let entries else { throw IndexRule.invalidIndex.broken("the index has no weight_map", file: file) }
        // Shards are numbered as they came up; the order of the names is the order that people expect.
        let order = shards.names.indices.sorted { shards.names[$0] < shards.names[$1] }
        var rank = [Int](repeating: 0, count: order.count)
        for (position, shard) in order.enumerated() { rank[shard] = position }
        self.metadata = metadata
        shardNames = order.map { shards.names[$0].text }
        weightMap = entries.map { ($0.tensor, rank[$0.shard]) }
    }

    private static func parseWeightMap(
        _ reader: inout JSONReader, _ shards: inout ShardNames, file: String?
    ) throws -> [(tensor: ExactString, shard: Int)] {
        guard try reader.peek() == .object else { throw reader.failure("weight_map is not an object") }
        var entries: [(tensor: ExactString, shard: Int)] = []
        try reader.beginObject()
        while let text = try reader.nextKey() {
            let name = ExactString(reader.decoded(text))
            guard try reader.peek() == .string else {
                throw reader.failure("the shard of \"\(name.text)\" is not a string")
            }
            let shard = ExactString(try reader.readString())
            guard let number = shards.number(of: shard) else {
                throw IndexRule.unsafeShardName.broken(
                    "the shard \"\(shard.text)\" is not a plain file name", file: file, tensor: name,
                    offset: UInt64(reader.position))
            }
            entries.append((name, number))
        }
        var names = NameIndex(count: entries.count)
        for position in entries.indices where names.insert(position, name: { entries[$0].tensor }) != nil {
            throw IndexRule.duplicateKey.broken(
                "weight_map names this tensor twice", file: file, tensor: entries[position].tensor)
        }
        return entries
    }

    /// The text of an index file, as transformers writes it: `json.dumps(..., indent=2, sort_keys=True) + "\n"`.
    ///
    /// - Parameters:
    ///   - totalSize: bytes of all tensors.
    ///   - totalParameters: elements of all tensors.
    public static func text(
        weightMap: [(tensor: ExactString, fileName: String)], totalSize: UInt64, totalParameters: UInt64
    ) -> String {
        let index: JSONValue = [
            "metadata": [
                "total_parameters": .number(JSONNumber(totalParameters)), "total_size": .number(JSONNumber(totalSize)),
            ],
            "weight_map": .object(JSONObject(weightMap.map { (key: $0.tensor, value: .string($0.fileName)) })),
        ]
        return index.serialized(indent: 2, sortedKeys: true) + "\n"
    }
}

/// The shards that a weight map names, numbered as they come up.
private struct ShardNames {
    private(set) var names: [ExactString] = []
    private var numbers: [ExactString: Int] = [:]
    /// Neighbours in a weight map are mostly in one shard.
    private var latest = 0

    /// The number of the shard called `name`; nil where that is no safe name.
    mutating func number(of name: ExactString) -> Int? {
        if latest < names.count, names[latest] == name { return latest }
        if let number = numbers[name] {
            latest = number
            return number
        }
        guard Self.isSafe(name.text) else { return nil }
        latest = names.count
        numbers[name] = latest
        names.append(name)
        return latest
    }

    /// Whether `name` names a file in the index's own directory: not empty, no separator of any system, no NUL, and
    /// neither `.` nor `..`.
    private static func isSafe(_ name: String) -> Bool {
        let separators: [UInt8] = [UInt8(ascii: "/"), UInt8(ascii: "\\"), UInt8(ascii: ":"), 0]
        return !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { separators.contains($0) }
    }
}
