import Peftfile
import TestSupport
import Testing

/// Checkpoints of any container written as safetensors, against the tensors that they were made of.
@Suite struct CheckpointConversionTests {
    private static func convert(
        _ source: String, to target: String, _ settings: ConvertSettings = ConvertSettings(), hashing: Bool = true
    ) throws -> RewritePlan {
        var settings = settings
        settings.isSingleFile = ConvertOutput.isSingleFile(target)
        let plan = try RewritePlan.convert(RewritePlan.openForConversion(source, settings), settings: settings)
        _ = try PlanExecutor(plan: plan, target: target, settings: .init(hashing: hashing)).run()
        return plan
    }

    private func expectSame(_ result: Checkpoint, _ expected: Checkpoint, under prefix: String = "") throws {
        for tensor in expected.tensors {
            let own = try #require(result[ExactString(prefix + tensor.name.text)], "\(tensor.name)")
            #expect(own.dtype == tensor.dtype && own.shape == tensor.shape, "\(tensor.name)")
            #expect(try result.read(own) == expected.read(tensor), "\(tensor.name)")
        }
    }

    @Test(arguments: TorchInputTests.Form.allCases) func aTorchFileBecomesOneFile(_ form: TorchInputTests.Form) throws {
        let directory = try TemporaryDirectory()
        let source = Fixtures.path("merge/dora-gpt2/base/model.safetensors")
        try TorchInputTests.convert(source, to: directory.path("old.ckpt"), form)
        let original = try Checkpoint.open(source)
        for hashing in [true, false] {
            let target = directory.path("new-\(hashing).safetensors")
            _ = try Self.convert(directory.path("old.ckpt"), to: target, hashing: hashing)
            let result = try Checkpoint.open(target)
            let isNested = form == .nested
            try expectSame(result, original, under: isNested ? "state_dict." : "")
            #expect(result.tensors.count == original.tensors.count + (isNested ? 1 : 0))
            #expect((result["optimizer.step"] != nil) == isNested)
            #expect(result.shards[0].file.metadata?.map(\.value) == ["pt"])
            let verdict = try Tool.run(["verify", target])
            #expect(verdict.status == 0, "\(verdict.output)\(verdict.errors)")
        }
        // A bit of the result, flipped.
        let target = directory.path("new-true.safetensors")
        var bytes = try TestFile.bytes(target)
        bytes[bytes.count - 5] ^= 1
        try TestFile.write(bytes, to: target)
        #expect(try Tool.run(["verify", target]).status == 1)
    }

    @Test func aShardedTorchDirectoryKeepsItsShardsAndFiles() throws {
        let merge = try MergeCase("lora-sharded-bf16")
        let directory = try TemporaryDirectory()
        let (base, _) = try TorchInputTests.torchCopy(of: merge, .plain, in: directory)
        for name in ["tokenizer.json", "README.md"] { try TestFile.write("{\"of\": \"\(name)\"}\n", to: base + "/" + name) }
        let target = directory.path("out")
        _ = try Self.convert(base, to: target)
        let result = try Checkpoint.open(target)
        let original = try Checkpoint.open(merge.base)
        #expect(result.shards.map(\.fileName) == original.shards.map(\.fileName) && result.shards.count > 1)
        #expect(result.indexFileName == "model.safetensors.index.json")
        #expect(result.tensors.count == original.tensors.count)
        try expectSame(result, original)
        for name in ["tokenizer.json", "README.md", "config.json"] {
            #expect(try TestFile.bytes(base + "/" + name) == TestFile.bytes(target + "/" + name), "\(name)")
        }
        #expect(try FileSystem.list(target).allSatisfy { !$0.hasSuffix(".bin") && !$0.contains(".bin.") })
        #expect(try Tool.run(["verify", target]).status == 0)
        #expect(try Tool.run(["diff", base, target]).status == 0)
    }

    /// A shard that is given alone has no index: it becomes a file that every command reads, and a note says what it is.
    @Test(arguments: ["model-00001-of-00002.safetensors", "pytorch_model-00002-of-00002.bin"]) func aLoneShardIsOneFile(_ name: String) throws {
        let directory = try TemporaryDirectory()
        try SmallTensor.write([SmallModel.tensor("model.layers.0.mlp.gate_proj.weight", [4, 4], seed: 1)], to: directory.path(name))
        let target = directory.path("out")
        let result = try Tool.run(["convert", directory.path(name), "-o", target])
        #expect(result.status == 0 && result.errors.contains("\(name) is one of 2 shards"), "\(result.errors)")
        #expect(try FileSystem.list(target).filter { $0.hasSuffix(".safetensors") } == ["model.safetensors"])
        for words in [["inspect", target], ["verify", target], ["diff", directory.path(name), target]] {
            let run = try Tool.run(words)
            #expect(run.status == 0, "\(words): \(run.errors)\(run.output)")
        }
    }

    /// `--dtype` reaches no codes, with `--dtype-all` neither, and says so; they are as they were.
    @Test(arguments: ["convert", "merge"]) func floatsOfEightBitsStayAndAreSaid(_ verb: String) throws {
        let model = try SmallModel()
        let directory = model.directory
        let weight = SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [4, 4], seed: 1)
        let codes = [DType.f8E4M3, .f8E5M2].enumerated().map { number, dtype in
            SmallTensor(name: ExactString("model.layers.0.extra_\(number).weight"), shape: [4, 4], values: (0..<16).map { Double(7 * $0) }, dtype: dtype)
        }
        try model.base([weight] + codes)
        try model.adapter([
            SmallModel.tensor("model.layers.0.self_attn.q_proj.lora_A.weight", [2, 4], seed: 4),
            SmallModel.tensor("model.layers.0.self_attn.q_proj.lora_B.weight", [4, 2], seed: 5),
        ])
        let inputs = [directory.path("base")] + (verb == "merge" ? [directory.path("adapter")] : [])
        let run = try Tool.run([verb] + inputs + ["--dtype", "bf16", "--dtype-all", "-o", directory.path("out")])
        #expect(run.status == 0 && run.errors.contains("2 tensors of F8_E5M2, F8_E4M3 are copied: --dtype BF16"), "\(run.errors)")
        let (source, result) = (try Checkpoint.open(directory.path("base")), try Checkpoint.open(directory.path("out")))
        #expect(result[weight.name]?.dtype == .bf16)
        for code in codes {
            let own = try #require(result[code.name])
            #expect(try own.dtype == code.dtype && result.read(own) == source.read(#require(source[code.name])))
        }
        #expect(try Tool.run(["verify", directory.path("out")]).status == 0)
        let plain = try Tool.run([verb] + inputs + ["-o", directory.path("plain")])
        #expect(plain.status == 0 && !plain.errors.contains("are copied"), "\(plain.errors)")
    }

    /// Two elements in a byte: shape and bytes are those that safetensors itself writes.
    @Test func fourBitsAreWrittenAsSafetensorsDoes() throws {
        let directory = try TemporaryDirectory()
        let folder = Fixtures.path("containers/torch/loaded")
        _ = try Self.convert("\(folder)/halves.pt", to: directory.path("out.safetensors"), ConvertSettings(keepsShared: true))
        let (result, truth) = (try Checkpoint.open(directory.path("out.safetensors")), try Checkpoint.open("\(folder)/halves.safetensors"))
        try expectSame(result, truth)
        #expect(result.tensors.count == truth.tensors.count)
        #expect(try Tool.run(["verify", directory.path("out.safetensors")]).status == 0)
        #expect(try Tool.run(["diff", "\(folder)/halves.pt", "\(folder)/halves.safetensors"]).status == 0)
    }

    /// Into shards of a size and back into one file.
    /// safetensors under torch's names, which transformers would unpickle: what is written is named for what it holds.
    @Test(arguments: [false, true]) func aNameSaysWhatTheFileHolds(_ isSharded: Bool) throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try directory.write(#"{"model_type": "llama", "tie_word_embeddings": false}"#, to: "base/config.json")
        let weight = SmallModel.tensor("model.layers.0.mlp.gate_proj.weight", [4, 4], seed: 1)
        let stem = isSharded ? "pytorch_model-00001-of-00001" : "pytorch_model"
        try SmallTensor.write([weight], to: directory.path("base/\(stem).bin"))
        if isSharded {
            try directory.write(
                #"{"metadata": {"total_size": 64}, "weight_map": {"\#(weight.name)": "\#(stem).bin"}}"#, to: "base/pytorch_model.bin.index.json")
        }
        try FileSystem.makeDirectory(directory.path("lora"))
        try directory.write(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["gate_proj"]}"#, to: "lora/adapter_config.json")
        try SmallTensor.write(
            [
                SmallModel.tensor("base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight", [2, 4], seed: 2),
                SmallModel.tensor("base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight", [4, 2], seed: 3),
            ], to: directory.path("lora/adapter_model.safetensors"))
        for command in [["merge", directory.path("base"), directory.path("lora")], ["convert", directory.path("base")]] {
            let out = directory.path("out-\(command[0])")
            #expect(try Tool.run(command + ["-o", out]).status == 0)
            let names = try FileSystem.list(out).filter { $0.contains("model") }.sorted()
            #expect(names == (isSharded ? ["model-00001-of-00001.safetensors", "model.safetensors.index.json"] : ["model.safetensors"]))
            #expect(try Checkpoint.open(out).tensors.map(\.name) == [weight.name])
            #expect(try Tool.run(["verify", out]).status == 0)
        }
    }

    @Test func shardsAreMadeAnewAndJoined() throws {
        let directory = try TemporaryDirectory()
        let source = Fixtures.path("merge/dora-gpt2/base")
        let original = try Checkpoint.open(source)
        let limit: UInt64 = original.tensorBytes / 4
        _ = try Self.convert(source, to: directory.path("out"), ConvertSettings(maximumShardSize: limit))
        let sharded = try Checkpoint.open(directory.path("out"))
        #expect(sharded.shards.count >= 4)
        #expect(sharded.shards.allSatisfy { shard in
            shard.file.tensors.count == 1 || shard.file.tensors.reduce(0) { $0 + $1.byteCount } <= limit
        })
        #expect(sharded.tensors.count == original.tensors.count)
        try expectSame(sharded, original)
        _ = try Self.convert(directory.path("out"), to: directory.path("one.safetensors"))
        let joined = try Checkpoint.open(directory.path("one.safetensors"))
        #expect(joined.isSingleFile && joined.tensors.count == original.tensors.count)
        try expectSame(joined, original)
    }

    /// Rounded once, to nearest, ties to even: by integer arithmetic on the bits.
    @Test func anotherDTypeIsRoundedOnce() throws {
        let directory = try TemporaryDirectory()
        let bits: [UInt32] = [
            0x3F80_0000, 0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF, 0x8000_0001, 0x7F7F_FFFF, 0x0000_8000, 0xBF99_999A,
            0x7F80_0000,
        ]
        // 40 bytes of w, 8 of n.
        let header = #"{"w":{"dtype":"F32","shape":[2,5],"data_offsets":[0,40]},"n":{"dtype":"I64","shape":[1],"data_offsets":[40,48]}}"#
        let file = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian, Array.init) + Array(header.utf8)
            + bits.flatMap { bits in (0..<4).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) } } + [7, 0, 0, 0, 0, 0, 0, 0]
        try TestFile.write(file, to: directory.path("a.safetensors"))
        _ = try Self.convert(directory.path("a.safetensors"), to: directory.path("b.safetensors"), ConvertSettings(dtype: .bf16))
        let result = try Checkpoint.open(directory.path("b.safetensors"))
        let expected = bits.flatMap { bits -> [UInt8] in
            let rounded = (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16
            return [UInt8(rounded & 0xFF), UInt8(rounded >> 8)]
        }
        #expect(try result.read(#require(result["w"])) == expected)
        #expect(result["w"]?.dtype == .bf16 && result["n"]?.dtype == .i64)
        #expect(try Tool.run(["verify", directory.path("b.safetensors")]).status == 0)
    }

    /// GGUF's blocks have no place in safetensors: they become numbers unasked, under the Hub's names.
    @Test(arguments: QuantisedMergeTests.merged.filter { $0.hasPrefix("gguf") })
    func blocksBecomeNumbers(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let source = Fixtures.path("quantised/\(name)/base")
        _ = try Self.convert(source, to: directory.path("plain"), ConvertSettings(dtype: .f32))
        let result = try Checkpoint.open(directory.path("plain"))
        let blocks = try Checkpoint.open(source)
        #expect(result.tensors.count == blocks.tensors.count && blocks.tensors.contains { $0.quantised != nil })
        for tensor in blocks.tensors {
            let values = try Conversion.widened(blocks.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            let own = try #require(result[tensor.name], "\(tensor.name)")
            #expect(tensor.quantised == nil || own.dtype == .f32)
            #expect(try result.read(own) == Conversion.narrowed(values, to: own.dtype), "\(tensor.name)")
        }
        #expect(result["model.embed_tokens.weight"] != nil && result["token_embd.weight"] == nil)
        #expect(try Tool.run(["verify", directory.path("plain")]).status == 0)
    }

    @Test(arguments: QuantisedMergeTests.merged.filter { !$0.hasPrefix("qlora") && !$0.hasPrefix("gguf") })
    func codesStayOrBecomeNumbers(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let source = Fixtures.path("quantised/\(name)/base")
        // As they are: the same tensors, and the same config.
        _ = try Self.convert(source, to: directory.path("codes"))
        try expectSame(.openStored(directory.path("codes")), .openStored(source))
        let config = try TestFile.bytes(source + "/config.json")
        #expect(try TestFile.bytes(directory.path("codes/config.json")) == config)
        // As numbers: the expected ones of the fixture, and a config without codes.
        _ = try Self.convert(source, to: directory.path("plain"), ConvertSettings(dtype: .f32, dequantises: true))
        let result = try Checkpoint.openStored(directory.path("plain"))
        let expected = try Checkpoint.open(Fixtures.path("quantised/\(name)/expected/dequantised.safetensors"))
        #expect(!expected.tensors.isEmpty)
        for tensor in expected.tensors {
            let own = try #require(result[tensor.name], "\(tensor.name)")
            #expect(own.dtype == .f32 && own.shape == tensor.shape)
            // The reference is the float64 value, rounded to F32 once.
            #expect(try result.read(own) == expected.read(tensor), "\(tensor.name)")
        }
        let plain = try Checkpoint.open(directory.path("plain"))
        #expect(plain.quantisation == nil)
        #expect(plain.config?["quantization_config"] == nil && plain.config?["quantization"] == nil)
        #expect(Set(plain.tensors.map(\.name)) == Set(try Checkpoint.open(source).tensors.map(\.name)))
        for target in ["codes", "plain"] {
            let verdict = try Tool.run(["verify", directory.path(target)])
            #expect(verdict.status == 0, "\(target): \(verdict.output)\(verdict.errors)")
        }
    }

    @Test(arguments: ["numpy", "numpy-compressed", "mlx", "mlx-compressed"]) func npzArchivesToo(_ name: String) throws {
        let directory = try TemporaryDirectory()
        _ = try Self.convert(Fixtures.path("containers/npz/\(name).npz"), to: directory.path("out"))
        let result = try Checkpoint.open(directory.path("out/\(name).safetensors"))
        let library = String(name.split(separator: "-")[0])
        let expected = try SafetensorsFile.open(Fixtures.path("containers/npz/\(library).safetensors"))
        #expect(result.tensors.count == expected.tensors.count)
        for tensor in expected.tensors where !tensor.name.text.hasSuffix(" as F32") {
            let own = try #require(result[tensor.name])
            #expect(own.dtype == tensor.dtype && own.shape == tensor.shape)
            #expect(try result.read(own) == expected.reader.bytes(at: tensor.begin, count: Int(tensor.byteCount)))
        }
    }

    // MARK: Shared tensors

    private static func tied(_ names: [String], in directory: TemporaryDirectory, config: String? = nil) throws -> String {
        let path = directory.path("tied")
        try FileSystem.makeDirectory(path)
        let views = names.map { TorchBuilder.View(name: $0, key: "0", count: 6, shape: [2, 3], strides: [3, 1]) }
        let other = TorchBuilder.View(name: "other", key: "1", count: 2, shape: [2], strides: [1])
        try TestFile.write(
            TorchBuilder.file(
                pickle: TorchBuilder.pickle(views + [other]),
                storages: [("0", (1...24).map { UInt8($0) }), ("1", [UInt8](repeating: 9, count: 8))]),
            to: path + "/pytorch_model.bin")
        if let config { try TestFile.write(config, to: path + "/config.json") }
        return path
    }

    @Test(arguments: [
        (["lm_head.weight", "model.embed_tokens.weight"], "model.embed_tokens.weight"),
        (["transformer.wte.weight", "lm_head.weight"], "transformer.wte.weight"),
        (["decoder.embed_tokens.weight", "encoder.embed_tokens.weight", "lm_head.weight", "shared.weight"], "shared.weight"),
        (["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"], "bert.embeddings.word_embeddings.weight"),
        (["b.weight", "a.weight"], "a.weight"),
    ]) func aTiedTensorIsWrittenOnce(_ names: [String], _ name: String) throws {
        let kept = ExactString(name)
        let directory = try TemporaryDirectory()
        let source = try Self.tied(names, in: directory)
        let plan = try Self.convert(source, to: directory.path("out"))
        let result = try Checkpoint.open(directory.path("out"))
        #expect(Set(result.tensors.map(\.name)) == [kept, "other"])
        #expect(try result.read(#require(result[kept])) == (1...24).map { UInt8($0) })
        #expect(Set(plan.dropped.map(\.tensor.text)) == Set(names).subtracting([kept.text]))
        #expect(plan.dropped.allSatisfy { pair in plan.warnings.contains { $0.contains(pair.tensor.text) } })
        // The file says which names it lacks, as safetensors' own writer has it.
        for pair in plan.dropped {
            #expect(result.shards[0].file.metadata?.first { $0.key == pair.tensor }?.value == kept.text)
        }
        #expect(try Tool.run(["verify", directory.path("out")]).status == 0)
        let all = try Self.convert(source, to: directory.path("all"), ConvertSettings(keepsShared: true))
        #expect(all.dropped.isEmpty)
        #expect(try Checkpoint.open(directory.path("all")).tensors.count == names.count + 1)
    }

    @Test func whatTheConfigUntiesIsWrittenTwice() throws {
        let directory = try TemporaryDirectory()
        let source = try Self.tied(
            ["lm_head.weight", "model.embed_tokens.weight"], in: directory, config: #"{"tie_word_embeddings": false}"#)
        let plan = try Self.convert(source, to: directory.path("out"))
        #expect(plan.dropped.isEmpty && plan.warnings.contains { $0.contains("lm_head.weight") })
        #expect(try Checkpoint.open(directory.path("out")).tensors.count == 3)
    }

    @Test func viewsThatOverlapAreWrittenWhole() throws {
        let directory = try TemporaryDirectory()
        let storage = (0..<48).map { UInt8($0) }
        let views = [
            TorchBuilder.View(name: "all", key: "0", count: 12, shape: [4, 3], strides: [3, 1]),
            TorchBuilder.View(name: "middle", key: "0", count: 12, offset: 3, shape: [2, 3], strides: [3, 1]),
            TorchBuilder.View(name: "turned", key: "0", count: 12, shape: [3, 4], strides: [1, 3]),
        ]
        let path = try directory.write(TorchBuilder.file(pickle: TorchBuilder.pickle(views), storages: [("0", storage)]), to: "f.pt")
        let plan = try Self.convert(path, to: directory.path("out.safetensors"))
        #expect(plan.dropped.isEmpty)
        #expect(plan.warnings.contains { $0.contains("all, middle, turned share bytes") }, "\(plan.warnings)")
        let result = try Checkpoint.open(directory.path("out.safetensors"))
        for view in views {
            #expect(
                try result.read(#require(result[ExactString(view.name)])) == Self.elements(view, of: storage), "\(view.name)")
        }
    }

    /// Element i of a view of four-byte elements stands at offset + Σ iₖ·strideₖ.
    private static func elements(_ view: TorchBuilder.View, of storage: [UInt8]) -> [UInt8] {
        (0..<view.shape[0]).flatMap { row in
            (0..<view.shape[1]).flatMap { column -> ArraySlice<UInt8> in
                let place = (view.offset + row * view.strides[0] + column * view.strides[1]) * 4
                return storage[place..<(place + 4)]
            }
        }
    }

    /// Disjoint parts of one storage are tensors of their own, and nothing is said of them.
    @Test func partsOfOneStorageAreNotShared() throws {
        let directory = try TemporaryDirectory()
        try TorchInputTests.convert(
            Fixtures.path("merge/dora-gpt2/base/model.safetensors"), to: directory.path("f.bin"), .shared)
        #expect(try ContainerKind.open(directory.path("f.bin")).shared.isEmpty)
    }

    // MARK: Wherever safetensors is accepted

    @Test(arguments: [TorchInputTests.Form.plain, .deflated]) func everyCommandTakesShardedTorchFiles(
        _ form: TorchInputTests.Form
    ) throws {
        let merge = try MergeCase("lora-sharded-bf16")
        let directory = try TemporaryDirectory()
        let (base, adapter) = try TorchInputTests.torchCopy(of: merge, form, in: directory)
        let out = directory.path("merged")
        let commands: [([String], Int32)] = [
            (["inspect", "--json", base, adapter], 0), (["diff", merge.base, base], 0), (["diff", merge.adapter, adapter], 0),
            (["merge", base, adapter, "-o", out], 0), (["verify", out, "--base", base, "--adapter", adapter], 0),
            (["verify", out], 0), (["inspect", "--json", base + "/pytorch_model.bin.index.json"], 0),
            (["convert", base, "-o", directory.path("plain")], 0), (["diff", base, directory.path("plain")], 0),
            (["convert", adapter, "-o", directory.path("adapter.safetensors")], 0),
            // A pickle is an error to the gate, and everything else about it is found too.
            (["check", adapter, "--base", base], 1),
        ]
        for (command, status) in commands {
            let result = try Tool.run(command)
            #expect(result.status == status, "\(command): \(result.output)\(result.errors)")
        }
        let checked = try Tool.run(["check", adapter, "--base", base, "--json"])
        let findings = try JSONValue.parse(Array(checked.output.utf8), file: nil)["findings"]?.arrayValue ?? []
        let errors = findings.filter { $0["severity"]?.stringValue == "error" }.compactMap { $0["rule"]?.stringValue }
        #expect(errors == ["pickle"], "\(errors)")
    }

    @Test func refusalsWriteNothing() throws {
        let directory = try TemporaryDirectory()
        let base = Fixtures.path("merge/dora-gpt2/base")
        let codes = Fixtures.path("quantised/gptq-4bit-g128/base")
        let refused: [([String], String)] = [
            ([base, "-o", directory.path("x.bin")], "TorchOutput"), ([base, "-o", directory.path("x.ckpt")], "TorchOutput"),
            ([base, "-o", directory.path("x.npz")], "NPZOutput"),
            ([base, "-o", directory.path("x"), "--dequantise"], "NothingToDequantise"),
            ([codes, "-o", directory.path("x"), "--dtype", "f32"], "QuantisedDType"),
            ([base, "-o", directory.path("x.safetensors"), "--max-shard-size", "1MB"], "ShardSize"),
            ([base, "-o", directory.path("x"), "--dtype", "i64"], "OutputDType"),
            ([base, "-o", directory.path("x"), "--dtype-all"], "OutputDType"),
            ([base, "-o", directory.path("x"), "--to", "bin"], "ConvertTo"),
            ([base, "-o", directory.path("x"), "--for", "vllm"], "ConvertOption"),
            ([base, "-o", directory.path("x"), "--to", "peft", "--dtype", "f32"], "ConvertOption"),
        ]
        for (words, rule) in refused {
            let result = try Tool.run(["convert"] + words)
            #expect(result.status == 2 && result.errors.contains("[\(rule)]"), "\(words): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1)
        }
        #expect(try FileSystem.list(directory.path).isEmpty)
    }
}

/// The benign torch files of the corpus, converted: every tensor that torch 2.15.0 saw, by the SHA-256 of its bytes.
@Suite struct CorpusConversionTests {
    @Test func everyTensorThatTorchSeesIsWritten() throws {
        let directory = try TemporaryDirectory()
        var converted = 0
        for line in try TestFile.text(Fixtures.path("containers/torch/manifest.jsonl")).split(separator: "\n").dropFirst() {
            let item = try JSONValue.parse(Array(line.utf8))
            guard item["class"]?.stringValue == "benign", item["tier"]?.intValue == 1, item["stored"] == nil,
                let name = item["file"]?.stringValue, let tensors = item["tensors"]?.arrayValue, !tensors.isEmpty
            else { continue }
            // A tensor that is the whole object has no name, and no file of tensors.
            if tensors.contains(where: { $0["path"]?.arrayValue?.isEmpty ?? true }) { continue }
            let target = directory.path("out.safetensors")
            let run = try Tool.run(["convert", Fixtures.path("containers/torch/files/\(name)"), "--keep-shared", "-f", "-o", target])
            try #require(run.status == 0, "\(name): \(run.errors)")
            let result = try Checkpoint.open(target, entire: true)
            #expect(result.tensors.count == tensors.count, "\(name)")
            for tensor in tensors {
                let path = (tensor["path"]?.arrayValue ?? []).map { $0.stringValue ?? $0.intValue.map { "\($0)" } ?? "" }
                let own = try #require(result[ExactString(path.joined(separator: "."))], "\(name): \(path)")
                #expect(own.dtype.rawValue == tensor["dtype"]?.stringValue && own.shape == tensor["shape"]?.arrayValue?.compactMap(\.intValue))
                #expect(SHA256.hex(SHA256.hash(try result.read(own))) == tensor["sha256"]?.stringValue, "\(name): \(path)")
            }
            converted += 1
        }
        #expect(converted >= 20, "\(converted)")
    }
}
