public import ByteAccess
import Containers
public import Tensors

/// Splits tensors into shards as transformers does, and names the files as it does.
///
/// Greedy, in the order given: a tensor that would lift the current shard over the limit begins the next one, and a
/// tensor that is larger than the limit alone gets a shard of its own, which is numbered before the current one.
///
/// Source: `split_state_dict_into_shards_factory` in huggingface_hub/serialization/_base.py, which transformers calls.
public struct ShardPlanner: Sendable {
    /// A file of the plan.
    public struct PlannedShard: Sendable, Hashable {
        /// `model-00001-of-00003.safetensors`.
        public let fileName: String
        /// The tensors in the order given, counted in the planner's input.
        public let tensors: [Int]
        /// Bytes of the tensors, without the header.
        public let byteCount: UInt64
    }

    /// The files, by their numbers.
    public let shards: [PlannedShard]
    /// The name of the index file; nil where one file holds all.
    public let indexFileName: String?
    /// The text of the index file; nil where one file holds all.
    public let indexText: String?

    /// Plans the files.
    ///
    /// - Parameters:
    ///   - maxShardBytes: the most bytes of tensors in one file; nil puts all in one.
    ///   - stem: what the file names begin with.
    ///
    /// Throws ValidationOverflow or MisalignedSlice where a tensor has no size that a file can hold.
    public init(
        tensors: [(name: ExactString, dtype: DType, shape: Shape)], maxShardBytes: UInt64?, stem: String = "model"
    ) throws {
        let limit = maxShardBytes ?? .max
        var groups: [(tensors: [Int], byteCount: UInt64)] = []
        var current: (tensors: [Int], byteCount: UInt64) = ([], 0)
        var totalSize: UInt64 = 0
        var totalParameters: UInt64 = 0
        for (number, tensor) in tensors.enumerated() {
            let size = try SafetensorsLayout.byteCount(of: tensor)
            totalSize = try Self.sum(totalSize, size, tensor.name)
            totalParameters = try Self.sum(totalParameters, size * 8 / UInt64(tensor.dtype.bits), tensor.name)
            if size > limit {
                groups.append(([number], size))
                continue
            }
            // `current.byteCount` is at most `limit`, so this does not wrap where the sum would.
            if size > limit - current.byteCount {
                groups.append(current)
                current = ([], 0)
            }
            current.tensors.append(number)
            current.byteCount += size
        }
        if !current.tensors.isEmpty || groups.isEmpty { groups.append(current) }

        let count = groups.count
        let shards = groups.enumerated().map { number, group in
            PlannedShard(
                fileName: Self.fileName(stem: stem, number: number + 1, count: count), tensors: group.tensors,
                byteCount: group.byteCount)
        }
        self.shards = shards
        guard count > 1 else {
            (indexFileName, indexText) = (nil, nil)
            return
        }
        indexFileName = "\(stem).safetensors.index.json"
        indexText = ShardIndex.text(
            weightMap: shards.flatMap { shard in
                shard.tensors.map { (tensor: tensors[$0].name, fileName: shard.fileName) }
            },
            totalSize: totalSize, totalParameters: totalParameters)
    }

    /// `STEM-00001-of-00004.safetensors`, counted from 1; `STEM.safetensors` where there is only one.
    public static func fileName(stem: String, number: Int, count: Int) -> String {
        func five(_ value: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
        }
        return count == 1 ? "\(stem).safetensors" : "\(stem)-\(five(number))-of-\(five(count)).safetensors"
    }

    private static func sum(_ left: UInt64, _ right: UInt64, _ name: ExactString) throws -> UInt64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        guard !overflow else {
            throw PeftfileError(
                .refused, "the tensors' size does not fit 64 bits", tensor: name,
                rule: SafetensorsRule.validationOverflow.rawValue)
        }
        return sum
    }
}
