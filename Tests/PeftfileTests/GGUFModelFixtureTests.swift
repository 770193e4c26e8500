import Peftfile
import TestSupport
import Testing

/// Models that llama.cpp's own converter wrote from transformers' (`Fixtures/gguf-models`): each becomes the checkpoint that it was
/// made from, and a merge into one writes what the converter makes of the model that PEFT merged.
@Suite struct GGUFModelFixtureTests {
    static let folder = Fixtures.path("gguf-models")
    /// Files, and directories of a file with the config.json that it is needed for.
    static let names = ((try? FileSystem.list(folder)) ?? []).compactMap { name in
        name.hasSuffix(".gguf") ? String(name.dropLast(5)) : FileSystem.exists("\(folder)/\(name)/model.gguf") ? name : nil
    }.sorted()
    static let merged = ((try? FileSystem.list(folder + "/merged")) ?? []).sorted()

    private static func expected() throws -> JSONObject {
        try #require(try JSONValue.parse(TestFile.bytes(folder + "/expected.json"), file: "expected.json").objectValue)
    }

    @Test func allAreThere() throws {
        #expect(Self.names.count == 116 && Self.merged.count == 43)
        #expect(try Self.expected().members.map(\.key.text).sorted() == Self.names)
    }

    private static func file(_ name: String) -> String {
        FileSystem.exists("\(folder)/\(name).gguf") ? "\(folder)/\(name).gguf" : "\(folder)/\(name)/model.gguf"
    }

    /// Names, shapes and every number are the checkpoint's.
    @Test(arguments: names) func theTensorsAreTheHubs(_ name: String) throws {
        let expected = try #require(Self.expected()[ExactString(name)]?["tensors"]?.objectValue)
        let model = try Checkpoint.open(Self.file(name))
        _ = try model.requireReadableWeights()
        #expect(Set(model.tensors.map(\.name)) == Set(expected.members.map(\.key)))
        for (key, value) in expected.members {
            guard let tensor = model[key] else { continue }
            #expect(tensor.shape == value["shape"]?.arrayValue?.compactMap(\.intValue), "\(key)")
            var numbers = try Conversion.widened(model.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            // A logarithm of what float32 has left of an exponential: in BF16 it is the number that it was made from.
            if key.text.hasSuffix("A_log") { numbers = try Conversion.widened(Conversion.narrowed(numbers, to: .bf16), as: .bf16, count: numbers.count) }
            #expect(try SHA256.hex(SHA256.hash(Conversion.narrowed(numbers, to: .f32))) == value["sha256"]?.stringValue, "\(key)")
        }
    }

    /// The config of the checkpoint leads to the same architecture as the file, and the Hub's names to its tensors.
    @Test(arguments: names) func theNamesLeadBack(_ name: String) throws {
        let facts = try #require(Self.expected()[ExactString(name)])
        let model = try #require(try Checkpoint.open(Self.file(name)).gguf)
        let config: JSONObject = ["model_type": facts["model_type"] ?? .null]
        // What a file's metadata tell from others of its architecture has no kind of its own.
        if !model.architecture.modelTypes.isEmpty { #expect(GGUFArchitecture.of(config)?.name == model.architecture.name) }
        for tensor in model.tensors {
            // What an option of the converter joined has the names of its parts, which the file has not.
            let own = tensor.stored.name.text
            let joined = [("attn_qkv", ["attn_q", "attn_k", "attn_v"]), ("ffn_gate_up_exps", ["ffn_gate_exps", "ffn_up_exps"])].filter { own.contains(".\($0.0).") }
                .flatMap { pair in pair.1.map { part in own.split(separator: ".").map { $0 == pair.0 ? part : String($0) }.joined(separator: ".") } }
            for name in tensor.names {
                let places = model.architecture.parts(ofHub: name.text).map(\.gguf)
                #expect(places.contains(own) || tensor.pieces.count > 1 && places.contains { joined.contains($0) }, "\(name)")
            }
        }
    }

    /// Every tensor byte for byte, and `verify` says the same; as F16 and BF16 it verifies too.
    @Test(arguments: merged) func aMergeIsTheConvertersOfTheMergedModel(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let binding = try Binding(
            base: .open("\(Self.folder)/\(name).gguf"), adapters: [Adapter(path: "\(Self.folder)/merged/\(name)/adapter")])
        for dtype in [nil, DType.f16, .bf16] as [DType?] {
            var settings = MergeSettings(dtype: dtype)
            settings.form = .gguf
            let target = directory.path("\(dtype?.rawValue ?? "as-it-is").gguf")
            _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: target, settings: .init(jobs: 2, panelElements: 16)).run()
            #expect(try Verifier(binding: binding, result: .open(target), dtype: dtype).run().isEquivalent, "\(String(describing: dtype))")
        }
        let (result, truth) = (try Checkpoint.open(directory.path("as-it-is.gguf"), entire: true), try Checkpoint.open("\(Self.folder)/merged/\(name)/merged.gguf", entire: true))
        let base = try Checkpoint.open("\(Self.folder)/\(name).gguf", entire: true)
        #expect(Set(result.tensors.map(\.name)) == Set(truth.tensors.map(\.name)))
        var changed = 0
        for tensor in truth.tensors {
            let found = try #require(result[tensor.name])
            #expect(try found.shape == tensor.shape && result.read(found) == truth.read(tensor), "\(tensor.name)")
            if try base[tensor.name].map({ try base.read($0) != truth.read(tensor) }) ?? false { changed += 1 }
        }
        // A Mamba has no more: PEFT leaves its out_proj out. Three of what is joined are one.
        #expect(changed >= (name == "mamba2" ? 1 : name == "mamba" ? 3 : name.hasSuffix("-fused") ? 2 : 4))
    }

    /// One flipped bit in any tensor is seen, where rows move and where a matrix is turned.
    @Test(arguments: ["gpt2", "bloom", "falcon40", "deepseek2", "gptoss", "llama4", "granitemoe", "qwen3next", "qwen35", "smollm3-fused"]) func flippedBitsAreSeen(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let binding = try Binding(
            base: .open("\(Self.folder)/\(name).gguf"), adapters: [Adapter(path: "\(Self.folder)/merged/\(name)/adapter")])
        var settings = MergeSettings()
        settings.form = .gguf
        let target = directory.path("out.gguf")
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: target).run()
        let right = try TestFile.bytes(target)
        var random = SplitMix64(seed: 4)
        for tensor in try Checkpoint.open(target, entire: true).storedTensors {
            var wrong = right
            wrong[Int.random(in: Int(tensor.info.begin)..<Int(tensor.info.end), using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            let report = try Verifier(binding: binding, result: .open(directory.write(wrong, to: "wrong.gguf")), jobs: 1).run()
            #expect(report.tensors.filter { !$0.isEquivalent }.map(\.name) == [tensor.name], "\(tensor.name)")
        }
    }

    /// An adapter of PEFT's becomes llama.cpp's: its pairs, multiplied in the file's order, are what the converter's merged model has
    /// more than its base.
    @Test(arguments: ["falcon7", "falcon40", "falconrw", "mpt"]) func pairsOfAnAdapterLieAsTheModelDoes(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let path = "\(Self.folder)/merged/\(name)/adapter"
        let base = try Checkpoint.open("\(Self.folder)/\(name).gguf")
        let (before, after) = (
            try Checkpoint.open("\(Self.folder)/\(name).gguf", entire: true), try Checkpoint.open("\(Self.folder)/merged/\(name)/merged.gguf", entire: true)
        )
        let conversion = try AdapterConversion(Adapter(path: path), to: .gguf, base: base)
        let target = directory.path("lora.gguf")
        _ = try ConversionExecutor(conversion: conversion, target: target).run()
        let pairs = try Checkpoint.open(target, entire: true)
        func numbers(_ checkpoint: Checkpoint, _ name: String) throws -> (values: [Double], shape: Shape) {
            let tensor = try #require(checkpoint[ExactString(name)])
            return (try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount), tensor.shape)
        }
        let adapted = before.tensors.filter { pairs[ExactString($0.name.text + ".lora_a")] != nil }
        #expect(adapted.count == 4)
        for tensor in adapted {
            let (a, b) = (try numbers(pairs, tensor.name.text + ".lora_a"), try numbers(pairs, tensor.name.text + ".lora_b"))
            // alpha / r is 4 / 2.
            let sum = Plain.sum(
                try numbers(before, tensor.name.text).values, Plain.product(b.values, a.values, b.shape[0], 2, a.shape[1]), scale: 2)
            #expect(try sum == numbers(after, tensor.name.text).values, "\(tensor.name)")
        }
        // And it is read as it was written.
        let binding = try Binding(base: base, adapters: [Adapter(path: target)])
        var settings = MergeSettings()
        settings.form = .gguf
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: directory.path("out.gguf")).run()
        let merged = try Checkpoint.open(directory.path("out.gguf"), entire: true)
        for tensor in after.tensors { #expect(try numbers(merged, tensor.name.text).values == numbers(after, tensor.name.text).values, "\(tensor.name)") }
    }

    /// Blocks of a turned matrix lie along its other side: dequantised as ggml has them, and written as Q8_0 by its rule.
    @Test func aTurnedMatrixOfBlocksMerges() throws {
        let model = try SmallModel()
        let (inputs, outputs) = (64, 96)
        // The file's rows are outputs, 64 numbers each; every 32 have a code of 127.
        let stored = SmallTensor.numbers(outputs * inputs, seed: 3).enumerated().map { $0.offset % 32 == 5 ? 63.5 : $0.element * 0.5 }
        let (a, b) = (SmallTensor.numbers(2 * inputs, seed: 7).map { $0 / 16 }, SmallTensor.numbers(outputs * 2, seed: 8).map { $0 / 8 })
        func file(_ values: [Double]) -> [UInt8] {
            var builder = GGUFBuilder()
            builder.add("general.architecture", "gpt2")
            builder.add("gpt2.attention.head_count", 2 as UInt32)
            builder.tensors = [.init("blk.0.attn_qkv.weight", [UInt64(inputs), UInt64(outputs)], type: 8, GGUFMergeTests.q8(values))]
            return builder.file()
        }
        let base = try Checkpoint.open(model.directory.write(file(stored), to: "base.gguf"))
        let name: ExactString = "transformer.h.0.attn.c_attn.weight"
        #expect(base[name]?.shape == [inputs, outputs])
        let turned = (0..<(inputs * outputs)).map { stored[$0 % outputs * inputs + $0 / outputs] }
        #expect(try base.numbers(name) == turned)
        try model.adapter([
            .init(name: "transformer.h.0.attn.c_attn.lora_A.weight", shape: [2, inputs], values: a),
            .init(name: "transformer.h.0.attn.c_attn.lora_B.weight", shape: [outputs, 2], values: b),
        ])
        try GGUFMergeTests.expectMerge(of: model, onto: base, writes: file(Plain.sum(stored, Plain.product(b, a, outputs, 2, inputs), scale: 3)))
    }

    /// What llama.cpp does not run is said to be that, and what it reorders in a way of its own is not taken for the usual.
    @Test func whatIsNotReadIsNamed() throws {
        let directory = try TemporaryDirectory()
        var builder = Self.glm
        #expect(try Checkpoint.open(directory.write(builder.file(), to: "a.gguf")).gguf != nil)
        builder.add("glm4.rope.dimension_sections", numbers: [8, 8, 8, 0])
        let error = #expect(throws: PeftfileError.self) { _ = try Checkpoint.open(directory.write(builder.file(), to: "b.gguf")).requireReadableWeights() }
        #expect(error?.rule == "GGUFArchitecture" && error?.message.contains("rope.dimension_sections") == true)
        for kind in ["opt", "gptj"] {
            try directory.write(#"{"model_type": "\#(kind)"}"#, to: "config.json")
            let result = try Tool.run([
                "convert", MergeCase("lora-linear-bf16").adapter, "--base", directory.path("config.json"), "--to", "gguf", "-o", directory.path("out.gguf"),
            ])
            #expect(result.status == 2 && result.errors.contains("\"\(kind)\", which llama.cpp does not run"), "\(result.errors)")
        }
    }

    private static var glm: GGUFBuilder {
        var builder = GGUFBuilder()
        builder.add("general.architecture", "glm4")
        builder.tensors = [.init("token_embd.weight", [2, 2], GGUFBuilder.bytes([1, 2, 3, 4]))]
        return builder
    }
}
