import Peftfile
import TestSupport
import Testing

/// What the options of a merge change, and what they must not change.
@Suite struct MergeOptionTests {
    private func merge(
        _ name: String, options: BindingOptions = BindingOptions(), settings: MergeSettings = MergeSettings(),
        adapters: [String]? = nil, jobs: Int = 2, into directory: TemporaryDirectory, as output: String = "out"
    ) throws -> (Checkpoint, Receipt) {
        let merge = try MergeCase(name)
        let binding = try Binding(
            base: Checkpoint.open(merge.base), adapters: try (adapters ?? [merge.adapter]).map(Adapter.init(path:)),
            options: options)
        let target = directory.path(output)
        let receipt = try PlanExecutor(
            plan: .merge(binding, settings: settings), target: target, settings: .init(jobs: jobs)
        ).run()
        return (try Checkpoint.open(target), receipt)
    }

    private func numbers(_ checkpoint: Checkpoint, _ name: ExactString) throws -> [Double] {
        let tensor = try #require(checkpoint[name])
        return try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    @Test func breakingATieWritesBothSidesAndSaysSoInTheConfig() throws {
        let directory = try TemporaryDirectory()
        let (result, receipt) = try merge("lora-embedding-tied", into: directory)
        let base = try Checkpoint.open(MergeCase("lora-embedding-tied").base)
        // The unmerged model's head is the base's embedding: an update of the embedding does not reach it.
        let head = try #require(result["lm_head.weight"])
        let embedding = try #require(base["model.embed_tokens.weight"])
        #expect(try result.read(head) == base.read(embedding))
        #expect(try result.read(#require(result["model.embed_tokens.weight"])) != base.read(embedding))
        #expect(result.config?["tie_word_embeddings"]?.boolValue == false)
        #expect(receipt.warnings.contains { $0.contains("tied") })
    }

    @Test func bytesDoNotDependOnTheNumberOfWorkers() throws {
        let directory = try TemporaryDirectory()
        for name in ["lora-sharded-bf16", "dora-gpt2", "lora-pissa", "arch-qwen3_moe"] {
            let (one, _) = try merge(name, jobs: 1, into: directory, as: "\(name)-1")
            let (four, _) = try merge(name, jobs: 4, into: directory, as: "\(name)-4")
            for (left, right) in zip(one.shards, four.shards) {
                #expect(try TestFile.bytes(left.file.path) == TestFile.bytes(right.file.path))
            }
        }
    }

    @Test func shardsAreSplitAndNamedAsTransformersDoes() throws {
        let directory = try TemporaryDirectory()
        let (result, _) = try merge(
            "lora-linear-bf16", settings: MergeSettings(maximumShardSize: 4000), into: directory)
        let whole = try merge("lora-linear-bf16", into: directory, as: "whole").0
        #expect(result.shards.count > 1)
        #expect(result.shards.first?.fileName == "model-0000\(1)-of-0000\(result.shards.count).safetensors")
        #expect(result.index?.metadata?["total_size"]?.intValue == Int(result.tensorBytes))
        #expect(result.index?.metadata?["total_parameters"]?.intValue == Int(result.parameterCount))
        for tensor in whole.tensors {
            #expect(try result.read(#require(result[tensor.name])) == whole.read(tensor))
        }
    }

    @Test func baseLayoutIsKept() throws {
        let directory = try TemporaryDirectory()
        let (result, _) = try merge("lora-sharded-bf16", into: directory)
        let base = try Checkpoint.open(MergeCase("lora-sharded-bf16").base)
        #expect(result.shards.map(\.fileName) == base.shards.map(\.fileName))
        #expect(result.tensors.map(\.name) == base.tensors.map(\.name))
        #expect(result.tensors.map(\.shard) == base.tensors.map(\.shard))
    }

    @Test func weightsScaleEachUpdateAgainstTheOriginalBase() throws {
        let directory = try TemporaryDirectory()
        let name = "lora-linear-f32"
        let adapter = try MergeCase(name).adapter
        let base = try Checkpoint.open(MergeCase(name).base)
        let (half, _) = try merge(
            name, options: BindingOptions(weights: [0.25, 0.25]), adapters: [adapter, adapter], into: directory)
        let (full, _) = try merge(name, into: directory, as: "full")
        let tensor: ExactString = "model.layers.0.self_attn.q_proj.weight"
        // W + ¼Δ + ¼Δ = W + ½Δ, up to the one rounding of either side to F32.
        for ((w, x), y) in zip(zip(try numbers(base, tensor), try numbers(half, tensor)), try numbers(full, tensor)) {
            let bound = Ulp.spacing(at: max(x.magnitude, y.magnitude, w.magnitude), in: .f32)
            #expect((x - (w + (y - w) / 2)).magnitude <= bound)
        }
    }

    @Test func dtypeConvertsTheWeightsOnce() throws {
        let directory = try TemporaryDirectory()
        let (narrow, _) = try merge("lora-linear-f32", settings: MergeSettings(dtype: .bf16), into: directory)
        let (wide, _) = try merge("lora-linear-f32", settings: MergeSettings(dtype: .f64), into: directory, as: "wide")
        for tensor in narrow.tensors {
            #expect(tensor.dtype == .bf16)
            let exact = try numbers(wide, tensor.name)
            #expect(try narrow.read(tensor) == Conversion.narrowed(exact, to: .bf16))
        }
        #expect(narrow.config?["dtype"]?.stringValue == "bfloat16")
    }

    @Test func anExistingTargetIsRefusedWithoutForce() throws {
        let directory = try TemporaryDirectory()
        _ = try merge("lora-r1", into: directory)
        let before = try TestFile.bytes(directory.path("out/model.safetensors"))
        let error = #expect(throws: PeftfileError.self) { _ = try self.merge("lora-r64", into: directory) }
        #expect(error?.code == .exists)
        #expect(try TestFile.bytes(directory.path("out/model.safetensors")) == before)
        #expect(try directory.names() == ["out"])
    }

    @Test func aBareBaseGivesAFileWithItsReceiptBeside() throws {
        let directory = try TemporaryDirectory()
        let name = try MergeCase("lora-linear-bf16")
        let binding = try Binding(
            base: Checkpoint.open(name.base + "/model.safetensors"), adapters: [Adapter(path: name.adapter)])
        let target = directory.path("merged.safetensors")
        _ = try PlanExecutor(plan: .merge(binding), target: target).run()
        #expect(try directory.names() == ["merged.safetensors", "merged.safetensors.receipt.json"])
        let result = try Checkpoint.open(target)
        let expected = try name.expected()
        for tensor in expected.tensors {
            #expect(try result.read(#require(result[tensor.name])) == expected.read(tensor))
        }
    }

    @Test func theReceiptNamesEveryFileByItsHash() throws {
        let directory = try TemporaryDirectory()
        let (_, receipt) = try merge("lora-sharded-bf16", into: directory)
        let document = receipt.document(target: directory.path("out"))
        let subjects = try #require(document["subject"]?.arrayValue)
        var named: Set<String> = []
        for subject in subjects {
            let file = try #require(subject["name"]?.stringValue)
            named.insert(file)
            let digest = SHA256.hex(SHA256.hash(try TestFile.bytes(directory.path("out/\(file)"))))
            #expect(subject["digest"]?["sha256"]?.stringValue == digest)
        }
        let files = try FileSystem.list(directory.path("out"))
        #expect(named == Set(files).subtracting([Receipt.fileName]))
    }
}
