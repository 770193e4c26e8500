import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@Suite struct ShardPlannerTests {
    typealias Entry = (name: ExactString, dtype: DType, shape: Shape)

    /// The names of the tensors in each shard.
    static func split(_ sizes: [Int], _ limit: UInt64?) throws -> [[Int]] {
        let tensors: [Entry] = sizes.enumerated().map { (ExactString("t\($0)"), .u8, [$1]) }
        return try ShardPlanner(tensors: tensors, maxShardBytes: limit).shards.map { $0.tensors.map { sizes[$0] } }
    }

    @Test func splitsAsTheHubsLibrary() throws {
        // The example of the library's own documentation.
        #expect(try Self.split([6, 6, 2, 6, 2, 2], 10) == [[6], [6, 2], [6, 2, 2]])
        #expect(try Self.split([6, 4, 1], 10) == [[6, 4], [1]])
        // A tensor over the limit comes before the shard that is being filled.
        #expect(try Self.split([1, 20, 2], 10) == [[20], [1, 2]])
        #expect(try Self.split([1, 2, 3], nil) == [[1, 2, 3]])
        #expect(try Self.split([0, 0], 10) == [[0, 0]])
        #expect(try Self.split([], 10) == [[]])
    }

    @Test func namesAndIndexAreTransformers() throws {
        let tensors: [Entry] = [("b", .f32, [2]), ("a", .bf16, [2, 2]), ("c", .u8, [])]
        let plan = try ShardPlanner(tensors: tensors, maxShardBytes: 8)
        #expect(plan.shards.map(\.fileName) == [1, 2, 3].map { "model-0000\($0)-of-00003.safetensors" })
        #expect(plan.shards.map(\.byteCount) == [8, 8, 1])
        #expect(plan.indexFileName == "model.safetensors.index.json")
        // json.dumps(index, indent=2, sort_keys=True) + "\n"
        #expect(
            plan.indexText == """
                {
                  "metadata": {
                    "total_parameters": 7,
                    "total_size": 17
                  },
                  "weight_map": {
                    "a": "model-00002-of-00003.safetensors",
                    "b": "model-00001-of-00003.safetensors",
                    "c": "model-00003-of-00003.safetensors"
                  }
                }

                """)
        let index = try ShardIndex.parse(Array((plan.indexText ?? "").utf8))
        #expect(index.weightMap.map(\.shard) == [1, 0, 2])
        let single = try ShardPlanner(tensors: tensors, maxShardBytes: nil, stem: "adapter_model")
        #expect(single.shards.map(\.fileName) == ["adapter_model.safetensors"])
        #expect(single.indexFileName == nil && single.indexText == nil)
        #expect(
            ShardPlanner.fileName(stem: "model", number: 123_456, count: 123_456)
                == "model-123456-of-123456.safetensors")
    }

    @Test func theIndexOfARealModelIsWrittenByteForByte() throws {
        let path = Fixtures.path("checkpoints/transformers-sharded")
        let checkpoint = try Checkpoint.open(path)
        let index = try #require(checkpoint.index)
        let text = ShardIndex.text(
            weightMap: index.weightMap.map { ($0.tensor, index.shardNames[$0.shard]) },
            totalSize: checkpoint.tensorBytes, totalParameters: checkpoint.parameterCount)
        #expect(text == (try TestFile.text(path + "/model.safetensors.index.json")))
    }

    @Test func sizesThatNoFileHasAreRefused() {
        for tensor in [("a", .f4, [3]), ("a", .f64, [1 << 62])] as [Entry] {
            #expect(throws: PeftfileError.self) { try ShardPlanner(tensors: [tensor], maxShardBytes: 10) }
        }
        let large: [Entry] = (0..<9).map { (ExactString("t\($0)"), .u8, [1 << 60]) }
        #expect(throws: Never.self) { try ShardPlanner(tensors: large, maxShardBytes: .max) }
        #expect(throws: PeftfileError.self) {
            try ShardPlanner(tensors: large + large.map { ("x" + $0.name, $0.dtype, $0.shape) }, maxShardBytes: 1)
        }
    }

    @Test(
        arguments: [
            ("5GB", 5_000_000_000), ("1.5GB", 1_500_000_000), ("500mb", 500_000_000), ("2GiB", 2_147_483_648),
            ("4096", 4096),
            ("1KB", 1000), ("0.5KiB", 512), ("1TB", 1_000_000_000_000),
        ] as [(String, UInt64)])
    func shardSizesAreRead(text: String, bytes: UInt64) throws {
        #expect(try ShardSize.bytes(text) == bytes)
    }

    @Test(arguments: [
        "", "GB", "5B", "5 GB", "-1GB", "1e3MB", "0", "0GB", "1.5", "99999999999TB", "1..5GB", "nan", "5G",
    ])
    func otherSizesAreRefused(text: String) {
        let error = #expect(throws: PeftfileError.self) { try ShardSize.bytes(text) }
        #expect(error?.code == .usage)
    }
}

private func + (left: String, right: ExactString) -> ExactString { ExactString(left + right.text) }
