import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Genuine adapters with one thing changed: what is found, and by which rule.
@Suite struct AlteredAdapterTests {
    private func errors(
        _ fixture: String, hasBase: Bool = true, weights: String = "adapter_model.safetensors",
        _ change: (inout AlteredAdapter) throws -> Void
    ) throws -> [Finding] {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("\(fixture)/adapter"), in: folder.path("adapter"), weights: weights)
        try change(&adapter)
        try adapter.write()
        let base = hasBase ? try Checkpoint.open(Fixtures.path("\(fixture)/base")) : nil
        return try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path).findings.filter { $0.severity == .error }
    }

    /// Keys that decide a tensor's size are held against it without a base as well.
    @Test(arguments: [
        ("merge/adalora", "init_r"), ("merge/hira", "r"), ("merge/loha-linear", "r"), ("merge/lokr-both", "r"), ("merge/vera", "r"),
        ("merge/fourierft", "n_frequency"), ("merge/c3a", "block_size"), ("merge/vblora", "num_vectors"), ("merge/gralora", "r"),
    ])
    func aSizeOfTheConfigIsHeldAgainstTheTensors(_ fixture: String, _ key: String) throws {
        for hasBase in [false, true] {
            let found = try errors(fixture, hasBase: hasBase) { adapter in
                let value = try #require(adapter.config[key] as? Int)
                adapter.config[key] = 2 * value
            }
            #expect(found.contains { ["rank-mismatch", "shape-mismatch", "config-invalid"].contains($0.rule) }, "\(fixture) \(hasBase)")
        }
    }

    @Test(arguments: ["merge/loha-linear", "merge/hira", "merge/delora", "merge/lora-linear-f32"])
    func transposedTensorsAreCalledSo(_ fixture: String) throws {
        let found = try errors(fixture) { adapter in
            for index in adapter.tensors.indices { adapter.tensors[index] = adapter.tensors[index].transposed }
        }
        #expect(Set(found.map(\.rule)) == ["transposed"], "\(found)")
    }

    /// One tensor in half precision among those of its kind, in any method and dialect, is a file put together from two; a genuine one has
    /// none.
    @Test(arguments: [
        ("merge/vera", "vera_lambda_b"), ("merge/boft", "boft_R"), ("merge/oft-block", "oft_R.weight"), ("merge/ia3-llama", "ia3_l"),
        ("merge/adalora", "lora_E"), ("merge/deft", "deft_P"), ("merge/road1", "road_theta"), ("merge/tinylora", "tinylora_A"),
        ("merge/psoft", "psoft_R.weight"), ("merge/refuse-multitask", "prefix_task_rows"), ("merge/lora-bias-all", "dense.bias"),
        ("dialects/kohya-lora", "lora_up.weight"), ("dialects/lycoris-loha", "hada_w1_a"), ("dialects/lycoris-dylora", "lora_down.weight"),
        ("dialects/diffusers-lora-old", "up.weight"),
    ])
    func oneOfAnotherType(_ fixture: String, _ ending: String) throws {
        let folder = try TemporaryDirectory()
        let source = Fixtures.path("\(fixture)/adapter")
        let file = try #require(try FileManager.default.contentsOfDirectory(atPath: source).first { $0.hasSuffix(".safetensors") })
        var adapter = try AlteredAdapter(source, in: folder.path("adapter"), weights: file)
        func warnings() throws -> [Finding] { try Checker().check(adapter.path).findings.filter { $0.rule == "dtype-mismatch" } }
        #expect(try warnings() == [])
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(ending) && $0.dtype == "F32" })
        adapter.tensors[index].dtype = "F16"
        adapter.tensors[index].bytes = Data(count: adapter.tensors[index].bytes.count / 2)
        try adapter.write()
        let found = try warnings()
        #expect(found.count == 1 && found[0].severity == .warning && found[0].tensor?.text == adapter.tensors[index].name, "\(found)")
    }

    /// An update beyond half precision is seen in every dialect; a genuine one is none.
    @Test(arguments: [
        ("kohya-lora", "lora_up.weight"), ("kohya-dora", "lora_up.weight"), ("lycoris-loha", "hada_w1_a"), ("lycoris-lokr", "lokr_w1"),
        ("lycoris-locon-cp", "lora_mid.weight"), ("mlx-lora", "lora_b"), ("diffusers-lora-old", "up.weight"),
    ])
    func numbersBeyondHalfPrecision(_ fixture: String, _ ending: String) throws {
        let folder = try TemporaryDirectory()
        let source = Fixtures.path("dialects/\(fixture)/adapter")
        let file = try #require(try FileManager.default.contentsOfDirectory(atPath: source).first { $0.hasSuffix(".safetensors") })
        var adapter = try AlteredAdapter(source, in: folder.path("adapter"), weights: file)
        func found() throws -> [Finding] { try Checker().check(adapter.path).findings.filter { $0.rule == "suspicious-scale" } }
        #expect(try found() == [])
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(ending) && $0.dtype == "F32" })
        // 2¹⁰⁰ as little-endian float32.
        for place in 0..<(adapter.tensors[index].bytes.count / 4) {
            adapter.tensors[index].bytes.replaceSubrange((4 * place)..<(4 * place + 4), with: [0, 0, 0x80, 0x71])
        }
        try adapter.write()
        let large = try found()
        #expect(large.count == 1 && large[0].tensor?.text == adapter.tensors[index].name, "\(large)")
    }

    /// sd-scripts makes the lora_up of a convolution over the whole rank (`LoRAModule.__init__` in networks/lora.py): a part of it is no
    /// convolution in groups.
    @Test func aCutRankIsNoGroupedConvolution() throws {
        let folder = try TemporaryDirectory()
        let source = Fixtures.path("dialects/kohya-lora/adapter")
        let file = try #require(try FileManager.default.contentsOfDirectory(atPath: source).first { $0.hasSuffix(".safetensors") })
        var adapter = try AlteredAdapter(source, in: folder.path("adapter"), weights: file)
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix("lora_up.weight") && $0.shape.count == 4 && $0.shape[1] > 1 })
        let tensor = adapter.tensors[index]
        adapter.tensors[index].shape[1] = 1
        adapter.tensors[index].bytes = Data(tensor.bytes.prefix(tensor.bytes.count / tensor.shape[1]))
        try adapter.write()
        let base = try Checkpoint.open(Fixtures.path("dialects/kohya-lora/base"))
        for base in [nil, base] {
            let found = try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path).findings.filter { $0.severity == .error }
            #expect(found.map(\.rule) == ["rank-mismatch"], "\(found)")
        }
    }

    @Test func anAdapterOfZerosIsLost() throws {
        let found = try errors("merge/ln-tuning") { adapter in
            for index in adapter.tensors.indices { adapter.tensors[index] = adapter.tensors[index].zeroed }
        }
        #expect(Set(found.map(\.rule)) == ["zeroed-weight"])
    }

    @Test(arguments: ["merge/lora-mixtral-target-params", "merge/arch-qwen3_moe"]) func aLostStackOfExpertsIsMissed(_ fixture: String) throws {
        let found = try errors(fixture) { adapter in adapter.tensors.removeAll { $0.name.contains("experts") } }
        #expect(found.contains { $0.rule == "missing-module" || $0.rule == "not-an-adapter" }, "\(found)")
    }

    /// Parameters that target_parameters names, in a model of two layers: those of one layer are lost with the module's only wrapper, of
    /// stacked experts as of a router.
    @Test(arguments: ["experts", "gate", ""]) func aLostParameterOfOneLayerIsMissed(_ lost: String) throws {
        let folder = try TemporaryDirectory()
        let source = Fixtures.path("merge/lora-mixtral-target-params")
        func second(_ tensors: [AlteredAdapter.Tensor]) -> [AlteredAdapter.Tensor] {
            tensors.filter { $0.name.contains("layers.0.") }.map {
                .init(name: $0.name.replacing("layers.0.", with: "layers.1."), dtype: $0.dtype, shape: $0.shape, bytes: $0.bytes)
            }
        }
        var model = try AlteredAdapter("\(source)/base", in: folder.path("base"), weights: "model.safetensors")
        model.tensors += second(model.tensors)
        try model.write()
        let config = try String(contentsOfFile: folder.path("base/config.json"), encoding: .utf8)
        try config.replacing(#""num_hidden_layers": 1"#, with: #""num_hidden_layers": 2"#)
            .write(toFile: folder.path("base/config.json"), atomically: true, encoding: .utf8)
        var adapter = try AlteredAdapter("\(source)/adapter", in: folder.path("adapter"))
        let experts = try #require(model.tensors.first { $0.name.hasSuffix("layers.0.block_sparse_moe.gate.weight") }).shape[0]
        for (half, rows) in [("lora_A", nil), ("lora_B", experts)] as [(String, Int?)] {
            let query = try #require(adapter.tensors.first { $0.name.hasSuffix("q_proj.\(half).weight") })
            var gate = rows.map(query.rows) ?? query
            gate.name = query.name.replacing("self_attn.q_proj", with: "mlp.gate")
            adapter.tensors.append(gate)
        }
        adapter.config["target_parameters"] = ["experts.down_proj", "mlp.gate.weight"]
        adapter.tensors += second(adapter.tensors)
        if !lost.isEmpty { adapter.tensors.removeAll { $0.name.contains("layers.1.mlp.\(lost).") } }
        try adapter.write()
        let base = try Checkpoint.open(folder.path("base"))
        let found = try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path).findings.filter { $0.severity == .error }
        #expect(found.map(\.rule) == (lost.isEmpty ? [] : ["missing-module"]), "\(found)")
        #expect(lost.isEmpty || found.first?.message.contains("layers.1.mlp.\(lost)") == true, "\(found)")
    }

    /// A parameter that target_parameters names twice, in full and bare, is one.
    @Test func aParameterNamedTwiceIsOne() throws {
        for hasBase in [false, true] {
            let found = try errors("merge/lora-moe-target-params", hasBase: hasBase) { adapter in
                adapter.config["target_parameters"] = ["mlp.experts.gate_up_proj", "experts.down_proj", "gate_up_proj", "down_proj"]
            }
            #expect(found.isEmpty, "\(found)")
        }
    }

    @Test(arguments: ["bert.embeddings.LayerNorm.bias", "classifier.bias"]) func oneLostBiasIsMissed(_ name: String) throws {
        let found = try errors("merge/lora-bias-all") { adapter in adapter.tensors.removeAll { $0.name.hasSuffix(name) } }
        #expect(!found.isEmpty)
    }
}
