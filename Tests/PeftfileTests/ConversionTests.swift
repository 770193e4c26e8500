import Peftfile
import TestSupport
import Testing

/// Conversions there and back: the updates are the same, by the product comparison of `diff` and by the bytes.
@Suite struct ConversionTests {
    private func convert(
        _ path: String, to target: ConversionTarget, base: String? = nil, as output: String
    ) throws -> AdapterConversion {
        let conversion = try AdapterConversion(
            Adapter(path: path), to: target, base: try base.map { try Checkpoint.open($0) })
        _ = try ConversionExecutor(conversion: conversion, target: output).run()
        return conversion
    }

    private func refusal(_ path: String, to target: ConversionTarget, base: String? = nil) -> String? {
        do {
            _ = try AdapterConversion(Adapter(path: path), to: target, base: try base.map { try Checkpoint.open($0) })
            return nil
        } catch {
            return (error as? PeftfileError)?.rule ?? "\(error)"
        }
    }

    @Test(arguments: [
        "lora-linear-bf16", "lora-linear-f16-af16", "lora-rank-pattern", "lora-alpha-pattern-rslora", "lora-rslora",
        "lora-conv1d-whisper", "lora-gpt2", "lora-r64", "dora-linear-f32", "dora-conv2d", "lora-sharded-bf16", "lora-t5",
    ]) func throughKohyaAndBackIsExact(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        // GPT-2's square projection is held as (in, out), which its base says and its adapter does not.
        _ = try convert(merge.adapter, to: .kohya, base: name == "lora-gpt2" ? merge.base : nil, as: directory.path("kohya"))
        let there = try Adapter(path: directory.path("kohya"))
        #expect(["kohya", "lycoris"].contains(there.dialectName))
        _ = try convert(directory.path("kohya"), to: .peft, base: merge.base, as: directory.path("peft"))
        try expectSame(merge.adapter, directory.path("peft"))
    }

    @Test(arguments: ["lora-linear-bf16", "lora-linear-f16-af16", "dora-linear-f32", "lora-rslora"])
    func throughMLXAndBackIsExact(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        _ = try convert(merge.adapter, to: .mlx, as: directory.path("mlx"))
        #expect(try Adapter(path: directory.path("mlx")).dialectName == "mlx")
        _ = try convert(directory.path("mlx"), to: .peft, as: directory.path("peft"))
        try expectSame(merge.adapter, directory.path("peft"))
    }

    @Test(arguments: ["lora-linear-bf16", "lora-rank-pattern", "dora-conv2d"])
    func throughDiffusersAndBackIsExact(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        _ = try convert(merge.adapter, to: .diffusers, as: directory.path("diffusers"))
        #expect(try Adapter(path: directory.path("diffusers")).dialectName == "diffusers")
        _ = try convert(directory.path("diffusers"), to: .peft, base: merge.base, as: directory.path("peft"))
        try expectSame(merge.adapter, directory.path("peft"))
    }

    /// LoHa and LoKr keep every factor's bytes, their scales, and the form that PEFT makes from its config.
    @Test(arguments: [
        "loha-linear", "loha-linear-bf16", "loha-conv2d-cp", "lokr-both", "lokr-default", "lokr-default-bf16", "lokr-factor2",
    ]) func productsThroughLyCORISAndBackAreExact(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        let (there, back) = (directory.path("lycoris.safetensors"), directory.path("peft"))
        _ = try convert(merge.adapter, to: .kohya, as: there)
        _ = try convert(there, to: .peft, base: merge.base, as: back)
        let (before, after) = (try Adapter(path: merge.adapter), try Adapter(path: back))
        #expect(before.checkpoint.tensors.count == after.checkpoint.tensors.count)
        for tensor in before.checkpoint.tensors {
            let own = try #require(after.checkpoint[tensor.name], "\(tensor.name)")
            #expect(own.dtype == tensor.dtype && own.shape == tensor.shape)
            #expect(try after.checkpoint.read(own) == before.checkpoint.read(tensor), "\(tensor.name)")
        }
        // decompose_both is not told by a file whose ranks leave both factors as they are.
        let keys: [ExactString] = ["peft_type", "use_effective_conv2d", "decompose_factor"]
        for key in keys { #expect(before.config?[key] == after.config?[key], "\(key)") }
        // The update is the same in all three, by the bytes of the merge that the fixture expects.
        let expected = try merged(merge.binding(), directory.path("m0"))
        for (number, path) in [there, back].enumerated() {
            let binding = try Binding(base: .open(merge.base), adapters: [Adapter(path: path)])
            let result = try merged(binding, directory.path("m\(number + 1)"))
            for tensor in expected.tensors {
                #expect(try result.read(#require(result[tensor.name])) == expected.read(tensor), "\(path) \(tensor.name)")
            }
        }
    }

    /// torch.kron of (p, m) and (q, n, k) is (q, p·n, m·k), which PEFT reads as (p·q, m·n, k); LyCORIS gives w1 the third dimension first,
    /// and gets (p·q, m·n, k). So the same whole factors of a Conv1d are two updates, and `verify` sees them in a file that has them.
    @Test func wholeFactorsOfAConv1dAreAnotherUpdateThere() throws {
        let (w, w1, w2) = (SmallTensor.numbers(72, seed: 1), SmallTensor.numbers(4, seed: 2), SmallTensor.numbers(18, seed: 3))
        var inPEFT = w
        var inLycoris = w
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for (a, b, c) in (0..<18).map({ ($0 / 9, $0 / 3 % 3, $0 % 3) }) {
                let product = w1[2 * i + j] * w2[9 * a + 3 * b + c]
                inPEFT[(a * 6 + i * 3 + b) * 6 + j * 3 + c] += product
                inLycoris[((i * 2 + a) * 6 + j * 3 + b) * 3 + c] += product
            }
        }
        #expect(inPEFT != inLycoris)
        let model = try SmallModel()
        try model.base([SmallModel.tensor("conv.weight", [4, 6, 3], seed: 1)])
        let factors = [SmallModel.tensor("conv.lokr_w1", [2, 2], seed: 2), SmallModel.tensor("conv.lokr_w2", [2, 3, 3], seed: 3)]
        try model.adapter(factors, peftType: "LOKR", shared: #""r": 2, "alpha": 2"#)
        try FileSystem.makeDirectory(model.directory.path("lycoris"))
        let named = factors.map { SmallTensor(name: ExactString("lycoris_\($0.name)"), shape: $0.shape, values: $0.values) }
        try SmallTensor.write(
            named + [SmallTensor(name: "lycoris_conv.alpha", shape: [], values: [2])], to: model.directory.path("lycoris/a.safetensors"))
        let base = model.directory.path("base")
        let paths = (peft: model.directory.path("adapter"), lycoris: model.directory.path("lycoris/a.safetensors"))
        for (path, expected) in [(paths.peft, inPEFT), (paths.lycoris, inLycoris)] {
            let binding = try Binding(base: .open(base), adapters: [Adapter(path: path)])
            #expect(try merged(binding, model.directory.path("\(expected == inPEFT)")).numbers("conv.weight") == expected)
        }
        #expect(refusal(paths.peft, to: .kohya, base: base) == "NotConvertible" && refusal(paths.peft, to: .kohya) == "NotConvertible")
        #expect(refusal(paths.lycoris, to: .peft, base: base) == "NotConvertible")
        let (peft, lycoris) = (try Adapter(path: paths.peft), try Adapter(path: paths.lycoris))
        let bases = [PipelineBase(try Checkpoint.open(base))]
        for (source, result, names) in [(peft, lycoris, PortableAdapter.Names.underscored), (lycoris, peft, .inMemory)] {
            let comparison = try ConversionComparison(source: source, result: result, reading: .init(bases: bases, names: names))
            #expect(comparison.compared == 1 && comparison.faults.count == 1 && comparison.faults[0].reason.contains("product"))
        }
    }

    /// w2 as two matrices has no third dimension, and one product.
    @Test func takenApartFactorsOfAConv1dGoThrough() throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("conv.weight", [4, 6, 3], seed: 1)])
        try model.adapter(
            [
                SmallModel.tensor("conv.lokr_w1", [2, 2], seed: 2), SmallModel.tensor("conv.lokr_w2_a", [2, 1], seed: 3),
                SmallModel.tensor("conv.lokr_w2_b", [1, 9], seed: 4),
            ], peftType: "LOKR", shared: #""r": 1, "alpha": 2"#)
        let (base, there) = (model.directory.path("base"), model.directory.path("k.safetensors"))
        _ = try convert(model.directory.path("adapter"), to: .kohya, base: base, as: there)
        _ = try convert(there, to: .peft, base: base, as: model.directory.path("back"))
        var expected = SmallTensor.numbers(72, seed: 1)
        let (w1, a, b) = (SmallTensor.numbers(4, seed: 2), SmallTensor.numbers(2, seed: 3), SmallTensor.numbers(9, seed: 4))
        for (row, column) in (0..<72).map({ ($0 / 18, $0 % 18) }) {
            expected[row * 18 + column] += 2 * w1[row / 2 * 2 + column / 9] * a[row % 2] * b[column % 9]
        }
        for path in [there, model.directory.path("back")] {
            let binding = try Binding(base: .open(base), adapters: [Adapter(path: path)])
            #expect(try merged(binding, path + "-merged").numbers("conv.weight") == expected)
        }
    }

    // MARK: Copies of the base

    /// `save_embedding_layers="auto"` of PEFT 0.21 stores the embedding or head that a LoRA stands on, as the base has it. It is no change,
    /// which the base alone tells; one number more or less and it is.
    @Test(arguments: [("model.embed_tokens", true), ("lm_head", false)], [DType.f32, .bf16])
    func aCopyOfTheBasesParameterIsLeftOut(_ layer: (module: String, isEmbedding: Bool), _ dtype: DType) throws {
        let model = try SmallModel()
        let weight = SmallModel.tensor(ExactString("\(layer.module).weight"), [6, 4], seed: 1)
        try model.base([weight, SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [4, 4], seed: 2)])
        let factors = layer.isEmbedding
            ? [
                SmallModel.tensor(ExactString("\(layer.module).lora_embedding_A"), [2, 6], seed: 3),
                SmallModel.tensor(ExactString("\(layer.module).lora_embedding_B"), [4, 2], seed: 4),
            ]
            : [
                SmallModel.tensor(ExactString("\(layer.module).lora_A.weight"), [2, 4], seed: 3),
                SmallModel.tensor(ExactString("\(layer.module).lora_B.weight"), [6, 2], seed: 4),
            ]
        // Small whole numbers are the same in either dtype.
        var copy = SmallTensor(name: ExactString("\(layer.module).base_layer.weight"), shape: [6, 4], values: weight.values, dtype: dtype)
        try model.adapter(factors + [copy])
        try model.adapter(factors, name: "bare")
        let (path, base) = (model.directory.path("adapter"), model.directory.path("base"))
        for target in [ConversionTarget.gguf, .mlx] + (layer.isEmbedding ? [] : [.kohya, .diffusers]) {
            let (with, without) = (model.directory.path("with-\(target)"), model.directory.path("without-\(target)"))
            let conversion = try convert(path, to: target, base: base, as: with)
            #expect(conversion.setAside.map(\.tensor) == [ExactString("base_model.model.\(copy.name)")], "\(target)")
            #expect(conversion.notes.contains { $0.contains("left out") && $0.contains("base_layer") }, "\(target)")
            _ = try convert(model.directory.path("bare"), to: target, base: base, as: without)
            let name = conversion.fileName
            #expect(try TestFile.bytes("\(with)/\(name)") == TestFile.bytes("\(without)/\(name)"), "\(target)")
            #expect(try Tool.run(["verify", with]).status == 0, "\(target)")
        }
        #expect(try convert(path, to: .peft, base: base, as: model.directory.path("kept")).outputs.count == 3)
        let error = #expect(throws: PeftfileError.self) { _ = try AdapterConversion(Adapter(path: path), to: .mlx) }
        #expect(error?.rule == "NotConvertible" && error?.help?.contains("--base") == true, "\(error as Any)")
        copy.values[23] += 1
        try model.adapter(factors + [copy], name: "other")
        #expect(refusal(model.directory.path("other"), to: .mlx, base: base) == "NotConvertible")
    }

    /// LoHa on a head goes to LyCORIS in the same way.
    @Test func aCopyBesideAProductIsLeftOut() throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("lm_head.weight", [6, 4], seed: 1)])
        let factors = [("w1_a", [6, 2]), ("w1_b", [2, 4]), ("w2_a", [6, 2]), ("w2_b", [2, 4])].enumerated().map { seed, factor in
            SmallModel.tensor(ExactString("lm_head.hada_\(factor.0)"), factor.1, seed: seed + 2)
        }
        let copy = SmallModel.tensor("lm_head.base_layer.weight", [6, 4], seed: 1)
        try model.adapter(factors + [copy], peftType: "LOHA", shared: #""r": 2, "alpha": 4"#)
        let (path, base, there) = (model.directory.path("adapter"), model.directory.path("base"), model.directory.path("k.safetensors"))
        #expect(try convert(path, to: .kohya, base: base, as: there).outputs.count == 5)
        #expect(try Tool.run(["verify", there]).status == 0)
        #expect(refusal(path, to: .kohya) == "NotConvertible")
    }

    private func merged(_ binding: Binding, _ target: String) throws -> Checkpoint {
        _ = try PlanExecutor(plan: .merge(binding), target: target).run()
        return try Checkpoint.open(target)
    }

    /// PEFT and LyCORIS split a side alike; the examples are those of PEFT's own documentation, and one where the factor divides.
    @Test func sidesAreSplitAsPEFTSplitsThem() {
        let known: [(Int, Int, Int, Int)] = [
            (256, -1, 16, 16), (128, -1, 8, 16), (127, -1, 1, 127), (128, 4, 4, 32), (12, 8, 3, 4), (6, 6, 6, 1), (10, 3, 2, 5),
        ]
        for (side, factor, m, n) in known {
            #expect(PEFTFactorForm.factorization(side, factor) == (m, n), "\(side), \(factor)")
        }
    }

    /// Same tensors, and by `diff` the same updates: each scale, and each product of factors.
    private func expectSame(_ first: String, _ second: String) throws {
        let diff = try Tool.run(["diff", first, second, "--json"])
        #expect(diff.status == 0, "\(diff.output)\(diff.errors)")
        var settled = BindingOptions()
        settled.squareOrientation = .inOut
        let a = try PortableAdapter(Adapter(path: first), options: settled).modules
        let b = try PortableAdapter(Adapter(path: second), options: settled).modules
        #expect(Dictionary(uniqueKeysWithValues: a.map { ($0.path, $0.scale) })
            == Dictionary(uniqueKeysWithValues: b.map { ($0.path, $0.scale) }))
        #expect(!a.isEmpty)
    }

    @Test(arguments: ["kohya-lora", "kohya-lora-f16", "kohya-lora-noalpha", "diffusers-lora", "diffusers-lora-old", "mlx-lora", "mlx-dora", "mlx-lora-npz",
        "lycoris-loha", "lycoris-loha-cp", "lycoris-lokr", "lycoris-lokr-cp", "lycoris-lokr-full",
    ])
    func intoPEFTAndMergedIsTheMerge(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let base = Fixtures.path("dialects/\(name)/base")
        _ = try convert(Fixtures.path("dialects/\(name)/adapter"), to: .peft, base: base, as: directory.path("peft"))
        let binding = try Binding(base: .open(base), adapters: [Adapter(path: directory.path("peft"))])
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let expected = try Checkpoint.open(Fixtures.path("dialects/\(name)/expected/merged.safetensors"))
        for tensor in result.tensors {
            #expect(try result.read(tensor) == expected.read(#require(expected[tensor.name])), "\(tensor.name)")
        }
    }

    /// The names that PEFT gave the adapter, on bases whose files are of the bare model: `h.0` on disk, `transformer.h.0` in memory.
    @Test(arguments: ["arch-gpt2", "arch-bloom"]) func layersOfABareModelGetTheirNamesInMemory(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        _ = try convert(merge.adapter, to: .kohya, base: merge.base, as: directory.path("kohya"))
        #expect(try Checkpoint.open(directory.path("kohya")).tensors.allSatisfy { !$0.name.text.contains("transformer_h") })
        _ = try convert(directory.path("kohya"), to: .peft, base: merge.base, as: directory.path("peft"))
        func names(_ path: String) throws -> Set<ExactString> { try Set(Adapter(path: path).checkpoint.tensors.map(\.name)) }
        #expect(try names(directory.path("peft")) == names(merge.adapter))
    }

    @Test func namesWithUnderscoresNeedTheBase() {
        #expect(refusal(Fixtures.path("dialects/kohya-lora/adapter"), to: .peft) == "BaseNeeded")
    }

    @Test(arguments: [
        ("lora-mts", ConversionTarget.kohya), ("lora-pissa", .mlx), ("dora-embedding", .kohya), ("dora-conv2d", .mlx),
        ("lora-rank-pattern", .mlx), ("loha-linear", .diffusers), ("lora-lora-bias", .kohya),
    ]) func whatTheTargetCannotHoldIsRefused(_ name: String, _ target: ConversionTarget) throws {
        #expect(refusal(try MergeCase(name).adapter, to: target) == "NotConvertible")
    }

    // MARK: Repair

    @Test(arguments: [
        ("base_model.model.base_model.model.a.q.lora_A.weight", "base_model.model.a.q.lora_A.weight"),
        ("a.q.lora_A.weight", "base_model.model.a.q.lora_A.weight"),
        ("pretrained.base_model.model.a.q.lora_B.weight", "base_model.model.a.q.lora_B.weight"),
        ("module._orig_mod.base_model.model.a._fsdp_wrapped_module.q.lora_A.default.weight", "base_model.model.a.q.lora_A.weight"),
        ("base_model.model.e.lora_embedding_A.mine", "base_model.model.e.lora_embedding_A"),
        ("base_model.model.score.modules_to_save.default.weight", "base_model.model.score.weight"),
        ("base_model.vera_A", "base_model.vera_A"),
        ("prompt_embeddings", "prompt_embeddings"),
    ]) func keysAreRepaired(_ stored: ExactString, _ repaired: ExactString) {
        #expect(KeyRepair.name(of: AdapterKey(stored)) == repaired)
    }

    @Test func aRepairSaysWhatItChanged() throws {
        let model = try SmallModel()
        try model.adapter([
            SmallModel.tensor("base_model.model.a.q.lora_A.default.weight", [2, 4], seed: 1),
            SmallModel.tensor("base_model.model.a.q.lora_B.default.weight", [4, 2], seed: 2),
            SmallModel.tensor("score.original_module.weight", [2, 4], seed: 3),
            SmallModel.tensor("score.modules_to_save.default.weight", [2, 4], seed: 4),
        ], config: #""modules_to_save": ["score"]"#)
        let output = model.directory.path("repaired")
        let conversion = try convert(model.directory.path("adapter"), to: .peft, as: output)
        #expect(conversion.outputs.map(\.name) == [
            "base_model.model.a.q.lora_A.weight", "base_model.model.a.q.lora_B.weight", "base_model.model.score.weight",
        ])
        #expect(conversion.notes.count == 4)
        let repaired = try Adapter(path: output)
        #expect(repaired.warnings.isEmpty && repaired.keys.count == 3)
        #expect(try repaired.checkpoint.numbers("base_model.model.score.weight") == SmallTensor.numbers(8, seed: 4))
    }

    // MARK: Loaders

    @Test(arguments: [
        ("lora-linear-bf16", ConversionLoader.vllm, true), ("lora-linear-bf16", .llamaCpp, true), ("lora-rslora", .vllm, true),
        ("lora-rslora", .llamaCpp, false), ("dora-linear-f32", .vllm, false), ("dora-linear-f32", .llamaCpp, false),
        ("lora-rank-pattern", .vllm, false), ("lora-mts", .vllm, false), ("lora-conv2d", .llamaCpp, false),
        ("loha-linear", .vllm, false), ("lora-linear-bf16", .mlx, false), ("lora-moe-target-params", .llamaCpp, false),
    ]) func loadersGetWhatTheyCanServe(_ name: String, _ loader: ConversionLoader, _ isServable: Bool) throws {
        let conversion = try AdapterConversion(Adapter(path: MergeCase(name).adapter), to: .peft)
        if isServable {
            try conversion.requireServable(by: loader)
        } else {
            let error = #expect(throws: PeftfileError.self) { try conversion.requireServable(by: loader) }
            #expect(error?.rule == "LoaderCannot" && error?.help != nil)
        }
    }
}
