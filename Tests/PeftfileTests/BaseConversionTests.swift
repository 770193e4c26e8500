import Peftfile
import TestSupport
import Testing

/// Conversions with a base: an adapter is bound to it as a merge binds it, and what is written merges onto it to the same bytes.
@Suite struct BaseConversionTests {
    /// What becomes of a case: the rule of the refusal, or nil where the merges are the same.
    private func roundTrip(_ adapter: String, _ base: String, _ target: ConversionTarget, _ options: BindingOptions) throws -> String? {
        let directory = try TemporaryDirectory()
        let checkpoint = try Checkpoint.open(base)
        let own = try Adapter(path: adapter)
        let out = directory.path("converted")
        do {
            let conversion = try AdapterConversion(own, to: target, base: checkpoint)
            _ = try ConversionExecutor(conversion: conversion, target: out).run()
        } catch let error as PeftfileError {
            #expect(!FileSystem.exists(out))
            return error.rule ?? error.message
        }
        let converted = try Adapter(path: out)
        let (expected, result) = (
            try merged(own, checkpoint, options, directory.path("m1")), try merged(converted, checkpoint, options, directory.path("m2")))
        #expect(Set(expected.tensors.map(\.name)) == Set(result.tensors.map(\.name)))
        // LyCORIS and PEFT add another number to the norm of a weight decomposition, and the conversion says so.
        let isDecomposed = adapter.contains("dora") && (target == .kohya || own.dialectName != nil)
        for tensor in expected.tensors {
            let other = try #require(result[tensor.name])
            if try result.read(other) == expected.read(tensor) { continue }
            #expect(isDecomposed, "\(target) \(tensor.name)")
            let pairs = zip(try expected.numbers(tensor.name), try result.numbers(tensor.name))
            #expect(pairs.allSatisfy { abs($0 - $1) <= 0x1p-7 * max(abs($0), 0x1p-10) })
        }
        return nil
    }

    private func merged(_ adapter: Adapter, _ base: Checkpoint, _ options: BindingOptions, _ target: String) throws -> Checkpoint {
        _ = try PlanExecutor(plan: .merge(Binding(base: base, adapters: [adapter], options: options)), target: target).run()
        return try Checkpoint.open(target)
    }

    /// Adapters whose names are not the base's: another class, another version, another front, a tied head.
    private static let architectures = [
        "arch-bloom", "arch-gemma3", "arch-gemma3-adapter4", "arch-gpt2", "arch-llava", "arch-llava-adapter449", "arch-llava-base449",
        "arch-qwen2_vl", "arch-roberta_on_mlm", "arch-siglip_vision_model", "arch-swin", "lora-vit-patch",
    ]
    private static let refusals: Set<String> = ["NotConvertible", "ScaleNotExact", "ArchitectureUnknown"]

    @Test(arguments: MergeCase.names.filter { $0.hasPrefix("lora-") || $0.hasPrefix("arch-") || $0.hasPrefix("dora-") || $0.hasPrefix("lo") })
    func whatIsConvertedMergesAlike(_ name: String) throws {
        let merge = try MergeCase(name)
        guard (try? merge.binding()) != nil else { return }
        for target in [ConversionTarget.kohya, .diffusers, .mlx, .gguf, .peft] {
            let rule = try roundTrip(merge.adapter, merge.base, target, merge.options)
            if let rule { #expect(Self.refusals.contains(rule), "\(target): \(rule)") }
            if Self.architectures.contains(name), target == .kohya || target == .diffusers { #expect(rule == nil, "\(target)") }
            if target == .peft { #expect(rule == nil) }
        }
    }

    @Test(arguments: DialectCase.names) func dialectsMergeAlike(_ name: String) throws {
        for target in [ConversionTarget.kohya, .diffusers, .mlx, .gguf, .peft] {
            let rule = try roundTrip(
                Fixtures.path("dialects/\(name)/adapter"), Fixtures.path("dialects/\(name)/base"), target, BindingOptions())
            if let rule { #expect(Self.refusals.contains(rule), "\(target): \(rule)") }
        }
    }

    /// Experts of version 4 in a base of version 5 are slices, for which kohya's and diffusers' names have no word.
    @Test(arguments: [ConversionTarget.kohya, .diffusers]) func whatHasNoModuleInTheBaseIsRefusedByName(_ target: ConversionTarget) throws {
        let merge = try MergeCase("arch-mixtral-fused-adapter4")
        let error = #expect(throws: PeftfileError.self) {
            _ = try AdapterConversion(Adapter(path: merge.adapter), to: target, base: .open(merge.base))
        }
        #expect(error?.rule == "NotConvertible" && error?.message.contains("is expert") == true)
    }

    @Test(arguments: ConversionTarget.allCases) func anotherBaseIsRefusedAsAMergeRefusesIt(_ target: ConversionTarget) throws {
        let (own, other) = (try MergeCase("lora-linear-bf16"), try MergeCase("lora-t5"))
        let directory = try TemporaryDirectory()
        let out = directory.path(target == .gguf ? "out.gguf" : "out")
        let merge = try Tool.run(["merge", other.base, own.adapter, "-o", directory.path("merged")])
        let result = try Tool.run(["convert", own.adapter, "--to", target.rawValue, "--base", other.base, "-o", out])
        #expect(result.status == 2 && result.errors == merge.errors, "\(result.errors)")
        #expect(try FileSystem.list(directory.path).isEmpty)
    }

    /// The names of the base, and another width.
    @Test(arguments: ConversionTarget.allCases) func anotherWidthIsRefused(_ target: ConversionTarget) throws {
        let model = try SmallModel()
        try model.base(
            [SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [6, 6], seed: 1)],
            config: #"{"model_type": "llama", "hidden_size": 6, "num_attention_heads": 2}"#)
        try model.adapter([
            SmallModel.tensor("model.layers.0.self_attn.q_proj.lora_A.weight", [2, 4], seed: 2),
            SmallModel.tensor("model.layers.0.self_attn.q_proj.lora_B.weight", [4, 2], seed: 3),
        ])
        let (adapter, out) = (model.directory.path("adapter"), model.directory.path(target == .gguf ? "out.gguf" : "out"))
        let whole = try Tool.run(["convert", adapter, "--to", target.rawValue, "--base", model.directory.path("base"), "-o", out])
        #expect(whole.status == 2 && whole.errors.contains("[ShapeMismatch]"), "\(whole.errors)")
        // llama.cpp's names need the config alone, which says the width as well.
        if target == .gguf {
            let config = model.directory.path("base/config.json")
            let alone = try Tool.run(["convert", adapter, "--to", "gguf", "--base", config, "-o", out])
            #expect(alone.status == 2 && alone.errors.contains("[ShapeMismatch]"), "\(alone.errors)")
        }
        #expect(!FileSystem.exists(out))
    }

    // MARK: Experts

    /// Stacks of `target_parameters`, and experts one by one: MLX and llama.cpp have one tensor for all of a layer.
    @Test(arguments: ["arch-mixtral-adapter4", "lora-mixtral-target-params", "lora-moe-target-params", "lora-moe-target-params-gate"])
    func expertsAreConvertedWithTheirBase(_ name: String) throws {
        let merge = try MergeCase(name)
        for target in [ConversionTarget.kohya, .diffusers, .mlx, .gguf] {
            let rule = try roundTrip(merge.adapter, merge.base, target, merge.options)
            // llama.cpp's table has no expert of qwen2_moe under another name than the Hub's.
            #expect(rule == nil, "\(target) \(rule ?? "")")
        }
    }

    @Test func aSwitchLinearHoldsEveryExpert() throws {
        let merge = try MergeCase("lora-mixtral-target-params")
        let directory = try TemporaryDirectory()
        let conversion = try AdapterConversion(Adapter(path: merge.adapter), to: .mlx, base: .open(merge.base))
        _ = try ConversionExecutor(conversion: conversion, target: directory.path("mlx")).run()
        let (before, after) = (try Checkpoint.open(merge.adapter + "/adapter_model.safetensors"), try Checkpoint.open(directory.path("mlx/adapters.safetensors")))
        let name = "model.layers.0.block_sparse_moe.switch_mlp.down_proj"
        // A is (E·r, in) and lora_a (E, r, in); B is (out, r·E), the expert fastest, and lora_b (E, out, r).
        let a = try before.numbers("base_model.model.model.layers.0.mlp.experts.lora_A.weight")
        #expect(try after.numbers(ExactString("\(name).lora_a")) == a)
        let (b, c) = (try before.numbers("base_model.model.model.layers.0.mlp.experts.lora_B.weight"), try after.numbers(ExactString("\(name).lora_b")))
        let shape = try #require(after[ExactString("\(name).lora_b")]?.shape)
        let (experts, rows, rank) = (shape[0], shape[1], shape[2])
        #expect(b.count == c.count && experts * rank * rows == b.count)
        for e in 0..<experts {
            for row in 0..<rows {
                for k in 0..<rank { #expect(c[(e * rows + row) * rank + k] == b[row * rank * experts + k * experts + e]) }
            }
        }
    }

    // MARK: Square matrices

    @Test(arguments: ["kohya", "mlx", "diffusers"]) func whatSettledASquareMatrixGoesWithTheFile(_ target: String) throws {
        for orientation in [BindingOptions.Orientation.inOut, .outIn] {
            let model = try SmallModel()
            let names = model.directory
            try model.base([SmallModel.tensor("h.0.attn.c_proj.weight", [6, 6], seed: 1)], config: "{}")
            try model.adapter(
                [
                    SmallModel.tensor("h.0.attn.c_proj.lora_A.weight", [2, 6], seed: 2),
                    SmallModel.tensor("h.0.attn.c_proj.lora_B.weight", [6, 2], seed: 3),
                ], config: #""fan_in_fan_out": true"#)
            let option = ["--square-orientation", orientation.rawValue]
            let update = Plain.product(SmallTensor.numbers(12, seed: 3), SmallTensor.numbers(12, seed: 2), 6, 2, 6)
            let own = orientation == .inOut ? Plain.transposed(update, 6, 6) : update
            let expected = Plain.sum(SmallTensor.numbers(36, seed: 1), own, scale: 3)
            for (number, base) in [[], ["--base", names.path("base")]].enumerated() {
                let (out, back) = (names.path("c\(number)"), names.path("p\(number)"))
                let result = try Tool.run(["convert", names.path("adapter"), "--to", target, "-o", out] + base + option)
                #expect(result.status == 0, "\(result.errors)")
                let merge = try Tool.run(["merge", names.path("base"), out, "-o", names.path("m\(number)")])
                #expect(merge.status == 0, "\(merge.errors)")
                #expect(try Checkpoint.open(names.path("m\(number)")).numbers("h.0.attn.c_proj.weight") == expected)
                #expect(try Tool.run(["verify", out]).status == 0)
                // Back in PEFT's dialect the flag says again that something must be said.
                #expect(try Tool.run(["convert", out, "--to", "peft", "--base", names.path("base"), "-o", back]).status == 0)
                let again = try Adapter(path: back).config?["fan_in_fan_out"]?.boolValue
                #expect(again == (orientation == .inOut))
            }
        }
    }

    /// Bare factors are turned where the base is built of Conv1D, and a file of another dialect says so to whoever merges it.
    @Test func bareFactorsLieAsTheBaseSays() throws {
        let model = try SmallModel()
        let names = model.directory
        try model.base([SmallModel.tensor("h.0.attn.c_proj.weight", [6, 6], seed: 1)], config: #"{"model_type": "gpt2"}"#)
        try SmallTensor.write(
            [
                SmallModel.tensor("h.0.attn.c_proj.lora_A", [2, 6], seed: 2), SmallModel.tensor("h.0.attn.c_proj.lora_B", [6, 2], seed: 3),
            ], to: names.path("bare.safetensors"))
        let update = Plain.product(SmallTensor.numbers(12, seed: 3), SmallTensor.numbers(12, seed: 2), 6, 2, 6)
        let expected = Plain.sum(SmallTensor.numbers(36, seed: 1), Plain.transposed(update, 6, 6), scale: 1)
        let convert = try Tool.run([
            "convert", names.path("bare.safetensors"), "--scale", "1", "--to", "kohya", "--base", names.path("base"), "-o", names.path("out"),
        ])
        #expect(convert.status == 0, "\(convert.errors)")
        for (adapter, options) in [("bare.safetensors", ["--scale", "1"]), ("out", [])] as [(String, [String])] {
            let merge = try Tool.run(["merge", names.path("base"), names.path(adapter), "-o", names.path("m-\(adapter)")] + options)
            #expect(merge.status == 0, "\(merge.errors)")
            guard merge.status == 0 else { continue }
            #expect(try Checkpoint.open(names.path("m-\(adapter)")).numbers("h.0.attn.c_proj.weight") == expected, "\(adapter)")
        }
    }
}
