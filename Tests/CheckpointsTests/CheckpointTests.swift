import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@Suite struct CheckpointTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    /// Two shards and their index.
    func writeShards(_ index: [(String, String)]? = nil) throws {
        try directory.write(CheckpointFiles.file(["b", "a"]), to: "model-00001-of-00002.safetensors")
        try directory.write(CheckpointFiles.file(["c"]), to: "model-00002-of-00002.safetensors")
        try directory.write(
            CheckpointFiles.index(
                index ?? [
                    ("a", "model-00001-of-00002.safetensors"), ("c", "model-00002-of-00002.safetensors"),
                    ("b", "model-00001-of-00002.safetensors"),
                ]), to: "model.safetensors.index.json")
    }

    func refusal(_ path: String? = nil) -> PeftfileError? {
        #expect(throws: PeftfileError.self) { try Checkpoint.open(path ?? directory.path) }
    }

    @Test func aBareFile() throws {
        let path = try directory.write(CheckpointFiles.file(["b", "a"]), to: "weights.bin")
        let checkpoint = try Checkpoint.open(path)
        #expect(checkpoint.directory == nil)
        #expect(checkpoint.isSingleFile)
        #expect(checkpoint.tensors.map(\.name) == ["b", "a"])
        #expect(checkpoint.config == nil)
        #expect(checkpoint.parameterCount == 8)
        #expect(checkpoint.tensorBytes == 8)
        let tensor = try #require(checkpoint["a"])
        #expect(try checkpoint.read(tensor) == [1, 1, 1, 1])
        #expect(try checkpoint.read(tensor, bytes: 1..<3) == [1, 1])
        #expect(throws: PeftfileError.self) { try checkpoint.read(tensor, bytes: 1..<5) }
        #expect(throws: PeftfileError.self) { try checkpoint.read(tensor, bytes: 0..<UInt64.max) }
        var buffer: [UInt8] = [9, 9]
        try buffer.withUnsafeMutableBytes { try checkpoint.read(tensor, at: 2, into: $0) }
        #expect(buffer == [1, 1])
        #expect(throws: PeftfileError.self) {
            try buffer.withUnsafeMutableBytes { try checkpoint.read(tensor, at: 3, into: $0) }
        }
        #expect(throws: PeftfileError.self) {
            try buffer.withUnsafeMutableBytes { try checkpoint.read(tensor, at: .max, into: $0) }
        }
        #expect(checkpoint["d"] == nil)
    }

    @Test func aDirectoryOfShards() throws {
        try writeShards()
        try directory.write(#"{"model_type": "llama", "rope": Infinity}"#, to: "config.json")
        for path in [directory.path, directory.path("model.safetensors.index.json")] {
            let checkpoint = try Checkpoint.open(path)
            #expect(checkpoint.directory == directory.path)
            #expect(
                checkpoint.shards.map(\.fileName) == [
                    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                ])
            #expect(checkpoint.tensors.map(\.name) == ["b", "a", "c"])
            #expect(checkpoint.tensors.map(\.shard) == [0, 0, 1])
            #expect(checkpoint["c"]?.shard == 1)
            #expect(checkpoint.index?.metadata?["total_size"]?.intValue == 8)
            #expect(checkpoint.indexFileName == "model.safetensors.index.json")
            #expect(checkpoint.config?["model_type"]?.stringValue == "llama")
        }
    }

    @Test func aCheckpointOfTransformersOpens() throws {
        let checkpoint = try Checkpoint.open(Fixtures.path("checkpoints/transformers-sharded"))
        #expect(checkpoint.shards.count == 4)
        #expect(checkpoint.index?.metadata?["total_size"]?.intValue == Int(checkpoint.tensorBytes))
        #expect(checkpoint.index?.metadata?["total_parameters"]?.intValue == Int(checkpoint.parameterCount))
    }

    @Test(arguments: [
        (
            "MissingShard",
            [
                ("a", "model-00001-of-00002.safetensors"), ("b", "model-00001-of-00002.safetensors"),
                ("c", "other.safetensors"),
            ]
        ),
        ("UnlistedTensor", [("a", "model-00001-of-00002.safetensors"), ("c", "model-00002-of-00002.safetensors")]),
        (
            "MissingTensor",
            [
                ("a", "model-00001-of-00002.safetensors"), ("b", "model-00002-of-00002.safetensors"),
                ("c", "model-00002-of-00002.safetensors"),
            ]
        ),
        (
            "MissingTensor",
            [
                ("a", "model-00001-of-00002.safetensors"), ("b", "model-00001-of-00002.safetensors"),
                ("c", "model-00002-of-00002.safetensors"), ("d", "model-00002-of-00002.safetensors"),
            ]
        ),
        ("DuplicateKey", [("a", "model-00001-of-00002.safetensors"), ("\\u0061", "model-00001-of-00002.safetensors")]),
        ("UnsafeShardName", [("a", "../model-00001-of-00002.safetensors")]),
        ("UnsafeShardName", [("a", "/etc/passwd")]), ("UnsafeShardName", [("a", "sub\\\\x.safetensors")]),
        ("UnsafeShardName", [("a", "..")]), ("UnsafeShardName", [("a", "")]), ("UnsafeShardName", [("a", "a\\u0000b")]),
        ("InvalidIndex", [("a", "x\u{1}")]),
    ])
    func anIndexThatDisagreesIsRefused(rule: String, entries: [(String, String)]) throws {
        try writeShards(entries)
        let error = refusal()
        #expect(error?.rule == rule, "\(error?.description ?? "")")
        #expect(error?.file == directory.path("model.safetensors.index.json"))
    }

    @Test func aTensorInTwoShardsIsRefused() throws {
        try writeShards()
        try directory.write(CheckpointFiles.file(["c", "a"]), to: "model-00002-of-00002.safetensors")
        let error = refusal()
        #expect(error?.rule == "DuplicateTensor")
        #expect(error?.tensor == "a")
    }

    @Test(arguments: [
        "[]", "{}", #"{"weight_map": []}"#, #"{"weight_map": {"a": 1}}"#, #"{"metadata": 1, "weight_map": {}}"#,
        #"{"weight_map": {}, "weight_map": {}}"#, #"{"weight_map": {}} x"#, "",
    ])
    func whatIsNoIndexIsRefused(text: String) throws {
        try directory.write(text, to: "model.safetensors.index.json")
        let error = refusal()
        #expect(error?.rule == "InvalidIndex" || error?.rule == "DuplicateKey", "\(error?.description ?? "")")
    }

    @Test func theShardThatIsBrokenIsNamed() throws {
        try writeShards()
        try directory.write(
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
            to: "model-00002-of-00002.safetensors")
        let error = refusal()
        #expect(error?.rule == "GitLFSPointer")
        #expect(error?.file == directory.path("model-00002-of-00002.safetensors"))
    }

    @Test func aConfigThatIsNoJSONIsRefused() throws {
        try directory.write(CheckpointFiles.file(["a"]), to: "model.safetensors")
        for text in ["{", "[]", "1"] {
            try directory.write(text, to: "config.json")
            #expect(refusal()?.file == directory.path("config.json"))
        }
    }

    @Test func manyTensorsOpenInLinearTime() throws {
        func seconds(_ count: Int) throws -> Double {
            let directory = try TemporaryDirectory()
            let names = (0..<count).map { ExactString("model.layers.\($0).self_attn.q_proj.weight") }
            for (number, half) in [names[..<(count / 2)], names[(count / 2)...]].enumerated() {
                try directory.write(
                    CheckpointFiles.file(Array(half), count: 1), to: "model-0000\(number + 1)-of-00002.safetensors")
            }
            let entries = names.enumerated().map {
                ($1.text, "model-0000\($0 < count / 2 ? 1 : 2)-of-00002.safetensors")
            }
            try directory.write(CheckpointFiles.index(entries), to: "model.safetensors.index.json")
            return try ThreadTime.least {
                let opened = try Checkpoint.open(directory.path)
                #expect(opened.tensors.count == count)
            }
        }
        let (small, large) = (try seconds(12_500), try seconds(50_000))
        #expect(large < small * 8, "\(small) s for 12 500 tensors, \(large) s for 50 000")
    }
}
