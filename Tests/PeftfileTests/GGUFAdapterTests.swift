import Peftfile
import TestSupport
import Testing

/// llama.cpp's adapters, read and written.
@Suite struct GGUFAdapterTests {
    private func convert(_ adapter: String, to target: ConversionTarget, base: String?, as output: String, rounds: Bool = false) throws
        -> AdapterConversion
    {
        let checkpoint = try base.map { try Checkpoint.open($0) }
        let conversion = try AdapterConversion(
            Adapter(path: adapter), to: target, base: checkpoint,
            gguf: .init(facts: checkpoint.map { GGUFFacts($0) } ?? GGUFFacts(), roundsScale: rounds))
        _ = try ConversionExecutor(conversion: conversion, target: output).run()
        return conversion
    }

    private func rule(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? PeftfileError)?.rule ?? "\(error)"
        }
    }

    // MARK: Against files of gguf-py and PEFT

    /// The fixture's as_peft.safetensors is the same adapter, written by the program that made the fixture.
    @Test(arguments: ["gguf-lora", "gguf-lora-f16"]) func intoPEFTIsWhatItWasMadeOf(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let folder = Fixtures.path("dialects/\(name)")
        _ = try convert("\(folder)/adapter", to: .peft, base: "\(folder)/base", as: directory.path("peft"))
        let wanted = try Checkpoint.open("\(folder)/expected/as_peft.safetensors")
        let found = try Adapter(path: directory.path("peft"))
        #expect(Set(found.checkpoint.tensors.map(\.name)) == Set(wanted.tensors.map(\.name)))
        for tensor in wanted.tensors {
            #expect(try found.checkpoint.numbers(tensor.name) == wanted.numbers(tensor.name), "\(tensor.name)")
        }
        #expect(found.config?["r"]?.intValue == 4 && found.config?["lora_alpha"]?.doubleValue == 8)
    }

    /// And from as_peft.safetensors the tensors of the fixture's GGUF file come out, byte for byte.
    @Test func fromPEFTIsWhatGGUFPyWrote() throws {
        let directory = try TemporaryDirectory()
        let folder = Fixtures.path("dialects/gguf-lora")
        try FileSystem.makeDirectory(directory.path("peft"))
        try directory.write(TestFile.bytes("\(folder)/expected/as_peft.safetensors"), to: "peft/adapter_model.safetensors")
        try directory.write(#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ".*"}"#, to: "peft/adapter_config.json")
        _ = try convert(directory.path("peft"), to: .gguf, base: "\(folder)/base", as: directory.path("out.gguf"))
        let (wanted, found) = (
            try GGUFFile.open("\(folder)/adapter/adapter.gguf"), try GGUFFile.open(directory.path("out.gguf"))
        )
        #expect(Set(found.tensors.map(\.name)) == Set(wanted.tensors.map(\.name)))
        for tensor in wanted.tensors {
            let own = try #require(found.tensors.first { $0.name == tensor.name })
            #expect(own.shape == tensor.shape && own.dtype == tensor.dtype)
            #expect(
                try found.reader.bytes(at: own.begin, count: Int(own.byteCount))
                    == wanted.reader.bytes(at: tensor.begin, count: Int(tensor.byteCount)), "\(tensor.name)")
        }
        for key: ExactString in ["general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"] {
            #expect(found.value(key) == wanted.value(key))
        }
    }

    // MARK: There and back

    @Test(arguments: [
        "lora-linear-bf16", "lora-linear-bf16-abf16", "lora-linear-f16-af16", "lora-r1", "lora-r64", "lora-gpt2", "lora-neox",
        "lora-sharded-bf16",
    ]) func throughGGUFAndBackIsExact(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        _ = try convert(merge.adapter, to: .gguf, base: merge.base, as: directory.path("a.gguf"))
        #expect(try Adapter(path: directory.path("a.gguf")).dialectName == "gguf")
        _ = try convert(directory.path("a.gguf"), to: .peft, base: merge.base, as: directory.path("peft"))
        let diff = try Tool.run(["diff", merge.adapter, directory.path("peft"), "--json"])
        #expect(diff.status == 0, "\(diff.output)\(diff.errors)")
        // As a file beside a base it merges to the same bytes as what it was made of.
        let outputs = try ["a.gguf", "peft"].map { source in
            let binding = try Binding(base: .open(merge.base), adapters: [Adapter(path: directory.path(source))], options: merge.options)
            _ = try PlanExecutor(plan: .merge(binding), target: directory.path("merged-\(source)")).run()
            return try Checkpoint.open(directory.path("merged-\(source)"))
        }
        for tensor in outputs[0].tensors {
            #expect(try outputs[0].read(tensor) == outputs[1].read(#require(outputs[1][tensor.name])), "\(tensor.name)")
        }
    }

    // MARK: Scales

    /// One alpha for all: what it leaves over is in the factors, and the products are the same.
    @Test func otherScalesGoIntoTheFactors() throws {
        let model = try model(alphas: #""alpha_pattern": {"q_proj": 24, "o_proj": 9}"#)
        let conversion = try convert(
            model.directory.path("adapter"), to: .gguf, base: model.directory.path("base"), as: model.directory.path("a.gguf"))
        #expect(conversion.notes.contains { $0.contains("alpha is 6.0") && $0.contains("q_proj") && $0.contains("o_proj") })
        let file = try GGUFFile.open(model.directory.path("a.gguf"))
        #expect(file.value("adapter.lora.alpha") == .float32(6))
        let written = try Checkpoint.open(model.directory.path("a.gguf"))
        for (gguf, hub, alpha) in [("attn_v", "v_proj", 6.0), ("attn_output", "o_proj", 9)] {
            let own = try Checkpoint.open(model.directory.path("adapter/adapter_model.safetensors"))
            let b = try own.numbers(ExactString("base_model.model.model.layers.0.self_attn.\(hub).lora_B.weight"))
            let scaled = try written.numbers(ExactString("blk.0.\(gguf).weight.lora_b"))
            #expect(scaled.map { $0 * 6 } == b.map { $0 * alpha })
        }
        // 24 is four times 6, and 9 one and a half.
        for (hub, factor) in [("q_proj", 4.0), ("k_proj", 1), ("o_proj", 1.5)] {
            _ = try convert(
                model.directory.path("a.gguf"), to: .peft, base: model.directory.path("base"), as: model.directory.path("back-\(hub)"))
            let own = try Checkpoint.open(model.directory.path("adapter/adapter_model.safetensors"))
            let back = try Checkpoint.open(model.directory.path("back-\(hub)"))
            let name = ExactString("base_model.model.model.layers.0.self_attn.\(hub).lora_B.weight")
            #expect(try back.numbers(name) == own.numbers(name).map { $0 * factor })
        }
    }

    /// The alpha of most modules, where the rest has exact quotients by it. Where no alpha does for all, that of most stays all the
    /// same, and the module that does not fit is named, or rounded alone.
    @Test func theAlphaThatChangesFewestIsChosen() throws {
        // 2 / 6 is no number, and 6 / 2 is one.
        let exact = try model(alphas: #""alpha_pattern": {"q_proj": 2}"#)
        let out = exact.directory.path("a.gguf")
        let conversion = try convert(exact.directory.path("adapter"), to: .gguf, base: exact.directory.path("base"), as: out)
        #expect(try GGUFFile.open(out).value("adapter.lora.alpha") == .float32(2) && conversion.notes.contains { $0.contains("alpha is 2.0") })
        // 1 + 2⁻²² and 6 have no quotient, and five times the former takes more bits than F32 has; three times 6 stay as they are.
        let odd = try model(alphas: #""alpha_pattern": {"q_proj": 1.0000002384185791015625}"#)
        let (path, odds) = (odd.directory.path("a.gguf"), odd.directory.path("base"))
        do {
            _ = try convert(odd.directory.path("adapter"), to: .gguf, base: odds, as: path)
            Issue.record("it was written")
        } catch let error as PeftfileError {
            #expect(error.rule == "ScaleNotExact" && error.message.contains("q_proj\" has the alpha 1.0000002") && error.message.contains("6.0 for 3 of 4"), "\(error)")
        }
        let rounded = try convert(odd.directory.path("adapter"), to: .gguf, base: odds, as: path, rounds: true)
        #expect(try GGUFFile.open(path).value("adapter.lora.alpha") == .float32(6))
        #expect(rounded.notes.filter { $0.hasPrefix("rounded to F32") }.count == 1, "\(rounded.notes)")
        let (own, file) = (try Checkpoint.open(odd.directory.path("adapter/adapter_model.safetensors")), try Checkpoint.open(path))
        for (gguf, hub) in [("attn_v", "v_proj"), ("attn_output", "o_proj")] {
            #expect(try file.numbers(ExactString("blk.0.\(gguf).weight.lora_b")) == own.numbers(ExactString("base_model.model.model.layers.0.self_attn.\(hub).lora_B.weight")))
        }
    }

    /// Factors of 8 bits times 1 + 2⁻⁸ need more bits than bf16 has, and F32 has them.
    @Test func productsThatNeedMoreBitsAreF32() throws {
        let model = try model(alphas: #""alpha_pattern": {"o_proj": 6.0234375}"#, dtype: .bf16)
        _ = try convert(
            model.directory.path("adapter"), to: .gguf, base: model.directory.path("base"), as: model.directory.path("a.gguf"))
        let file = try Checkpoint.open(model.directory.path("a.gguf"))
        #expect(file["blk.0.attn_v.weight.lora_b"]?.dtype == .bf16)
        #expect(file["blk.0.attn_output.weight.lora_a"]?.dtype == .bf16)
        #expect(file["blk.0.attn_output.weight.lora_b"]?.dtype == .f32)
        let own = try Checkpoint.open(model.directory.path("adapter/adapter_model.safetensors"))
        #expect(
            try file.numbers("blk.0.attn_output.weight.lora_b")
                == own.numbers("base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight").map { $0 * 1.00390625 })
    }

    /// rsLoRA with r = 4 is alpha / 2: its root is folded. With r = 2 no F32 holds the scale.
    @Test func theRootOfRSLoRAIsFoldedOrRefused() throws {
        let exact = try model(alphas: #""use_rslora": true"#, rank: 4)
        _ = try convert(
            exact.directory.path("adapter"), to: .gguf, base: exact.directory.path("base"), as: exact.directory.path("a.gguf"))
        // 6 / √4 is 12 / 4.
        #expect(try GGUFFile.open(exact.directory.path("a.gguf")).value("adapter.lora.alpha") == .float32(12))
        let other = try model(alphas: #""use_rslora": true"#)
        let (adapter, base) = (other.directory.path("adapter"), other.directory.path("base"))
        #expect(rule { _ = try convert(adapter, to: .gguf, base: base, as: other.directory.path("a.gguf")) } == "ScaleNotExact")
        #expect(!FileSystem.exists(other.directory.path("a.gguf")))
        let rounded = try convert(adapter, to: .gguf, base: base, as: other.directory.path("a.gguf"), rounds: true)
        #expect(rounded.notes.contains { $0.contains("rounded to F32") })
        let alpha = try #require(try GGUFFile.open(other.directory.path("a.gguf")).value("adapter.lora.alpha")?.doubleValue)
        #expect(alpha == Double(Float(6 * 2.0.squareRoot())))
    }

    private static let projections = ["q_proj", "k_proj", "v_proj", "o_proj"]

    /// Four projections of one layer, two heads of four rows.
    private func model(alphas: String, rank: Int = 2, dtype: DType = .f32) throws -> SmallModel {
        let model = try SmallModel()
        try model.base(
            Self.projections.enumerated().map {
                SmallModel.tensor(ExactString("model.layers.0.self_attn.\($1).weight"), [8, 8], seed: $0)
            }, config: #"{"model_type": "llama", "num_attention_heads": 2, "tie_word_embeddings": false}"#)
        try model.adapter(
            Self.projections.enumerated().flatMap { number, name in
                [
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_A.weight"), [rank, 8], seed: 10 + number, dtype: dtype),
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_B.weight"), [8, rank], seed: 20 + number, dtype: dtype),
                ]
            }, config: alphas, shared: #""r": \#(rank), "lora_alpha": 6"#)
        return model
    }

    // MARK: Experts

    @Test func expertsAreStackedAndTakenApart() throws {
        let model = try SmallModel()
        let matrices = (0..<3).flatMap { expert in ["w1", "w2", "w3"].map { "model.layers.0.block_sparse_moe.experts.\(expert).\($0)" } }
        func shape(_ name: String) -> Shape { name.hasSuffix("w2") ? [4, 6] : [6, 4] }
        try model.base(
            matrices.enumerated().map { SmallModel.tensor(ExactString("\($1).weight"), shape($1), seed: $0) },
            config: #"{"model_type": "mixtral", "num_attention_heads": 2, "num_local_experts": 3, "tie_word_embeddings": false}"#)
        try model.adapter(
            matrices.enumerated().flatMap { number, name in
                [
                    SmallModel.tensor(ExactString("\(name).lora_A.weight"), [2, shape(name)[1]], seed: 40 + number),
                    SmallModel.tensor(ExactString("\(name).lora_B.weight"), [shape(name)[0], 2], seed: 80 + number),
                ]
            }, config: #""target_modules": ["w1", "w2", "w3"]"#)
        let base = model.directory.path("base")
        _ = try convert(model.directory.path("adapter"), to: .gguf, base: base, as: model.directory.path("a.gguf"))
        let file = try GGUFFile.open(model.directory.path("a.gguf"))
        #expect(file.tensors.count == 6)
        #expect(file.tensors.first { $0.name == "blk.0.ffn_down_exps.weight.lora_a" }?.shape == [3, 2, 6])
        #expect(file.tensors.first { $0.name == "blk.0.ffn_down_exps.weight.lora_b" }?.shape == [3, 4, 2])
        _ = try convert(model.directory.path("a.gguf"), to: .peft, base: base, as: model.directory.path("back"))
        // Back they are parts of the parameters that memory has for all experts, and the same update.
        let (direct, there) = (try model.merged(), try model.merged(["a.gguf"], as: "there"))
        let back = try model.merged(["back"], as: "merged-back")
        for tensor in direct.tensors {
            #expect(try direct.read(tensor) == there.read(#require(there[tensor.name])) && direct.read(tensor) == back.read(#require(back[tensor.name])))
        }
        // Of a stack no expert can be missing.
        try model.adapter(
            [
                SmallModel.tensor(ExactString("\(matrices[0]).lora_A.weight"), [2, 4], seed: 1),
                SmallModel.tensor(ExactString("\(matrices[0]).lora_B.weight"), [6, 2], seed: 2),
            ], name: "one")
        #expect(rule { _ = try convert(model.directory.path("one"), to: .gguf, base: base, as: model.directory.path("b.gguf")) } == "NotConvertible")
    }

    /// T5's `ffn_up` is `wi`, and `wi_1` where the model has a gate: the base tells, and the adapter itself where it has the gate too.
    @Test(arguments: [["wi_0", "wi_1", "wo"], ["wi", "wo"], ["wi_1"]]) func theGateOfT5IsTold(_ leaves: [String]) throws {
        let model = try SmallModel()
        let front = "encoder.block.0.layer.1.DenseReluDense"
        func shape(_ leaf: String) -> Shape { leaf == "wo" ? [4, 6] : [6, 4] }
        let stored = leaves.contains("wi") ? leaves : ["wi_0", "wi_1", "wo"]
        try model.base(
            stored.enumerated().map { SmallModel.tensor(ExactString("\(front).\($1).weight"), shape($1), seed: $0) },
            config: #"{"model_type": "t5", "num_heads": 2, "d_model": 4, "d_kv": 2, "tie_word_embeddings": false}"#)
        try model.adapter(
            leaves.enumerated().flatMap { number, leaf in
                [
                    SmallModel.tensor(ExactString("\(front).\(leaf).lora_A.weight"), [2, shape(leaf)[1]], seed: 40 + number),
                    SmallModel.tensor(ExactString("\(front).\(leaf).lora_B.weight"), [shape(leaf)[0], 2], seed: 80 + number),
                ]
            })
        let (base, there) = (model.directory.path("base"), model.directory.path("a.gguf"))
        _ = try convert(model.directory.path("adapter"), to: .gguf, base: base, as: there)
        for back in leaves.count > 1 ? [nil, base] : [base] {
            let output = model.directory.path(back == nil ? "alone" : "held")
            _ = try convert(there, to: .peft, base: back, as: output)
            let diff = try Tool.run(["diff", model.directory.path("adapter"), output])
            #expect(diff.status == 0, "\(diff.output)\(diff.errors)")
        }
        let (direct, merged) = (try model.merged(), try model.merged(["a.gguf"], as: "there"))
        for tensor in direct.tensors { #expect(try direct.read(tensor) == merged.read(#require(merged[tensor.name]))) }
    }

    // MARK: Files made by hand

    /// A pair for one weight, of ones.
    private func builder(
        _ name: String = "blk.0.attn_v.weight", a: [UInt64] = [4, 2], b: [UInt64] = [2, 3], alpha: Float? = 4, architecture: String = "llama"
    ) -> GGUFBuilder {
        var file = GGUFBuilder()
        file.add("general.architecture", architecture)
        file.add("general.type", "adapter")
        file.add("adapter.type", "lora")
        if let alpha { file.add("adapter.lora.alpha", alpha) }
        for (leaf, dimensions) in [("lora_a", a), ("lora_b", b)] {
            file.tensors.append(.init(
                "\(name).\(leaf)", dimensions, GGUFBuilder.bytes([Float](repeating: 1, count: Int(dimensions.reduce(1, *))))))
        }
        return file
    }

    private func targets(_ file: GGUFBuilder) throws -> Inspection {
        let directory = try TemporaryDirectory()
        try directory.write(file.file(), to: "adapter.gguf")
        return try Inspection(path: directory.path("adapter.gguf"))
    }

    @Test(arguments: [(4 as Float?, 2.0), (0, 1), (nil, 1)]) func alphaZeroMeansOne(_ alpha: Float?, _ scale: Double) throws {
        let inspection = try targets(builder(alpha: alpha))
        #expect(inspection.kind == .adapter && inspection.dialect == "gguf" && inspection.warnings.isEmpty)
        #expect(inspection.targets.map(\.module) == ["model.layers.0.self_attn.v_proj"])
        #expect(inspection.targets.first?.scale == scale && inspection.targets.first?.rank == 2)
    }

    @Test func anEmbeddingsFactorIsTransposed() throws {
        // (vocab 5, r 2) and (dim 3, r 2).
        let model = try SmallModel()
        try model.base([SmallModel.tensor("model.embed_tokens.weight", [5, 3], seed: 1)])
        var file = builder("token_embd.weight", a: [2, 5], b: [2, 3], alpha: 4)
        let a = (0..<10).map(Float.init), b = (0..<6).map { Float($0) - 2 }
        file.tensors[0].data = GGUFBuilder.bytes(a)
        file.tensors[1].data = GGUFBuilder.bytes(b)
        try model.directory.write(file.file(), to: "a.gguf")
        let base = try Checkpoint.open(model.directory.path("base")).numbers("model.embed_tokens.weight")
        let product = Plain.product(a.map(Double.init), Plain.transposed(b.map(Double.init), 3, 2), 5, 2, 3)
        #expect(try model.merged(["a.gguf"]).numbers("model.embed_tokens.weight") == Plain.sum(base, product, scale: 2))
        // PEFT's form of it, and from there the same file again.
        let path = model.directory.path("base")
        _ = try convert(model.directory.path("a.gguf"), to: .peft, base: path, as: model.directory.path("peft"))
        let peft = try Checkpoint.open(model.directory.path("peft"))
        #expect(try peft.numbers("base_model.model.model.embed_tokens.lora_embedding_A") == Plain.transposed(a.map(Double.init), 5, 2))
        _ = try convert(model.directory.path("peft"), to: .gguf, base: path, as: model.directory.path("b.gguf"))
        #expect(try TestFile.bytes(model.directory.path("b.gguf")) == TestFile.bytes(model.directory.path("a.gguf")))
    }

    /// `--outtype q8_0` of llama.cpp's converter: 32 integers times an f16.
    @Test func blocksAreReadAsTheirNumbers() throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("model.layers.0.self_attn.v_proj.weight", [3, 32], seed: 1)])
        var file = builder(a: [32, 1], b: [1, 3], alpha: 1)
        file.tensors[0].type = 8
        // 0.5 as an f16, and -16…15.
        file.tensors[0].data = [0x00, 0x38] + (0..<32).map { UInt8(bitPattern: Int8($0 - 16)) }
        file.tensors[1].data = GGUFBuilder.bytes([1, 2, 3])
        try model.directory.write(file.file(), to: "a.gguf")
        let base = try Checkpoint.open(model.directory.path("base")).numbers("model.layers.0.self_attn.v_proj.weight")
        let product = Plain.product([1, 2, 3], (0..<32).map { Double($0 - 16) / 2 }, 3, 1, 32)
        #expect(try model.merged(["a.gguf"]).numbers("model.layers.0.self_attn.v_proj.weight") == Plain.sum(base, product, scale: 1))
        _ = try convert(model.directory.path("a.gguf"), to: .peft, base: nil, as: model.directory.path("peft"))
        let peft = try Checkpoint.open(model.directory.path("peft"))
        let name: ExactString = "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight"
        #expect(peft[name]?.dtype == .f32)
        #expect(try peft.numbers(name) == (0..<32).map { Double($0 - 16) / 2 })
    }

    @Test func whatCannotBeReadIsRefusedByName() throws {
        var half = builder()
        half.tensors.removeLast()
        var type = builder()
        type.metadata[2].value = GGUFBuilder.little(8 as UInt32) + GGUFBuilder.string(Array("loha".utf8))
        var tokens = builder()
        tokens.add("adapter.alora.invocation_tokens", numbers: [1, 2, 3])
        var alpha = builder(alpha: .nan)
        alpha.tensors.removeAll()
        alpha.tensors = builder().tensors
        var text = builder()
        if let place = text.metadata.firstIndex(where: { $0.key == Array("adapter.lora.alpha".utf8) }) {
            text.metadata[place].value = GGUFBuilder.little(8 as UInt32) + GGUFBuilder.string(Array("4".utf8))
        }
        let cases: [(GGUFBuilder, String)] = [
            (half, "MissingPair"), (type, "MethodUnsupported"), (alpha, "ScalarNotFinite"), (text, "ScalarValue"),
            (builder(b: [3, 3]), "FactorShape"), (builder("blk.0.attn_kv_b.weight"), "GGUFName"),
            (builder("token_embd.weight", a: [5, 2], b: [2, 3]), "FactorShape"), (builder("blk.0.attn_v.bias"), "GGUFName"),
        ]
        for (file, rule) in cases {
            let inspection = try targets(file)
            #expect(inspection.warnings.contains { $0.contains("[\(rule)]") }, "\(rule): \(inspection.warnings)")
        }
        // Merging says the same, and names what no merge can hold.
        let model = try SmallModel()
        try model.base([SmallModel.tensor("model.layers.0.self_attn.v_proj.weight", [3, 4], seed: 1)])
        for (number, (file, rule)) in (cases + [(tokens, "ActivatedLoRA"), (builder(architecture: "brand-new"), "GGUFArchitecture")]).enumerated() {
            try model.directory.write(file.file(), to: "\(number).gguf")
            #expect(model.refusal(["\(number).gguf"]) == rule)
        }
    }

    /// Rows of q stand in llama.cpp's order, which only the heads undo.
    @Test func headsComeFromTheBaseOrTheCaller() throws {
        let model = try SmallModel()
        let query = builder("blk.0.attn_q.weight", a: [4, 2], b: [2, 8])
        try model.directory.write(query.file(), to: "a.gguf")
        let weight = SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [8, 4], seed: 1)
        try model.base([weight])
        #expect(model.refusal(["a.gguf"]) == "HeadsUnknown")
        let adapter = model.directory.path("a.gguf")
        #expect(rule { _ = try convert(adapter, to: .peft, base: nil, as: model.directory.path("p")) } == "HeadsUnknown")
        let conversion = try AdapterConversion(
            Adapter(path: adapter), to: .peft, gguf: .init(facts: GGUFFacts(heads: GGUFHeads(query: 2, key: 2))))
        #expect(conversion.outputs.count == 2)
        #expect(
            rule {
                _ = try AdapterConversion(
                    Adapter(path: adapter), to: .peft, gguf: .init(facts: GGUFFacts(heads: GGUFHeads(query: 3, key: 3))))
            } == "HeadsUnknown")
        // It can be looked at without them.
        let inspection = try Inspection(path: adapter)
        #expect(inspection.warnings.isEmpty && inspection.targets.count == 1)
    }

    @Test func normsAreReplacedAsTheyWereMeant() throws {
        let model = try SmallModel()
        try model.base([
            SmallModel.tensor("model.layers.0.self_attn.v_proj.weight", [3, 4], seed: 1),
            SmallModel.tensor("model.layers.0.input_layernorm.weight", [4], seed: 2),
        ])
        var file = builder()
        file.tensors.append(.init("blk.0.attn_norm.weight", [4], GGUFBuilder.bytes([1, 2, 3, 4])))
        try model.directory.write(file.file(), to: "a.gguf")
        #expect(try model.merged(["a.gguf"]).numbers("model.layers.0.input_layernorm.weight") == [1, 2, 3, 4])
        #expect(try model.binding(["a.gguf"]).warnings.contains { $0.contains("llama.cpp leaves them") })
        file.metadata[0].value = GGUFBuilder.little(8 as UInt32) + GGUFBuilder.string(Array("gemma2".utf8))
        try model.directory.write(file.file(), to: "b.gguf")
        // The rows of another architecture may lie in another order.
        #expect(model.refusal(["b.gguf"]) == "GGUFArchitecture")
        try model.directory.write(#"{"model_type": "gemma2", "tie_word_embeddings": false}"#, to: "base/config.json")
        #expect(model.refusal(["b.gguf"]) == "GGUFNorm")
        try model.directory.write(#"{"model_type": "llama", "tie_word_embeddings": false}"#, to: "base/config.json")
        var stray = builder()
        stray.tensors.append(.init("blk.0.attn_v.scale", [4], GGUFBuilder.bytes([1, 2, 3, 4])))
        try model.directory.write(stray.file(), to: "c.gguf")
        #expect(model.refusal(["c.gguf"]) == "UnclaimedTensor")
    }

    // MARK: What llama.cpp cannot hold

    @Test(arguments: [
        ("dora-linear-f32", "NotConvertible"), ("lora-mts", "NotConvertible"), ("lora-lora-bias", "NotConvertible"),
        ("lora-conv2d", "NotConvertible"), ("loha-linear", "NotConvertible"), ("lora-rank-pattern", nil),
        ("lora-alpha-pattern-rslora", nil),
    ]) func whatCannotBeHeldIsRefused(_ name: String, _ wanted: String?) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        let found = rule { _ = try convert(merge.adapter, to: .gguf, base: merge.base, as: directory.path("a.gguf")) }
        // Patterns are exact or refused, never dropped.
        #expect(found == wanted || wanted == nil && found == "ScaleNotExact")
        #expect(FileSystem.exists(directory.path("a.gguf")) == (found == nil))
    }

    /// What was named is not asked for.
    @Test func anArchitectureWithoutATableIsNamed() throws {
        let merge = try MergeCase("lora-linear-bf16")
        let opt = GGUFFacts(try #require(JSONValue.parse(Array(#"{"model_type": "opt"}"#.utf8)).objectValue))
        let error = #expect(throws: PeftfileError.self) { try AdapterConversion(Adapter(path: merge.adapter), to: .gguf, gguf: .init(facts: opt)) }
        #expect(error?.rule == "ArchitectureUnknown" && error?.message.contains("\"opt\"") == true && error?.help?.contains("--base") == false)
    }

    @Test func namesNeedAnArchitecture() throws {
        let merge = try MergeCase("lora-linear-bf16")
        #expect(rule { _ = try AdapterConversion(Adapter(path: merge.adapter), to: .gguf) } == "ArchitectureUnknown")
        let llama = GGUFFacts(architecture: .named("llama"))
        #expect(rule { _ = try AdapterConversion(Adapter(path: merge.adapter), to: .gguf, gguf: .init(facts: llama)) } == "HeadsUnknown")
    }
}
