import Peftfile
import TestSupport
import Testing

/// GPT-2's Conv1D layers in llama.cpp adapters. `Fixtures/dialects/gguf-gpt2` is a whole one of llama.cpp's converter; here the
/// factors are small enough to say by hand which way round they are.
@Suite struct ConvertedConv1DTests {
    /// Factors of rank 1 by name: lora_a (1, a), lora_b (b, 1).
    private func adapter(_ pairs: [(name: String, a: [Float], b: [Float])], in directory: TemporaryDirectory) throws -> Adapter {
        var file = GGUFBuilder()
        file.add("general.type", "adapter")
        file.add("general.architecture", "gpt2")
        file.add("adapter.type", "lora")
        file.add("adapter.lora.alpha", 1 as Float)
        for (name, a, b) in pairs {
            file.tensors.append(.init("\(name).weight.lora_a", [UInt64(a.count), 1], GGUFBuilder.bytes(a)))
            file.tensors.append(.init("\(name).weight.lora_b", [1, UInt64(b.count)], GGUFBuilder.bytes(b)))
        }
        return try Adapter(path: directory.write(file.file(), to: "lora.gguf"))
    }

    /// GPT-2 of width 2 with zeros in it: what a merge gives is the update. Weights are (in, out).
    private func base(in directory: TemporaryDirectory) throws -> Checkpoint {
        try FileSystem.makeDirectory(directory.path("base"))
        let shapes: [(String, Shape)] = [("attn.c_attn", [2, 6]), ("attn.c_proj", [2, 2]), ("mlp.c_fc", [2, 8]), ("mlp.c_proj", [8, 2])]
        try SmallTensor.write(
            shapes.map {
                SmallTensor(name: ExactString("transformer.h.0.\($0.0).weight"), shape: $0.1, values: [Double](repeating: 0, count: $0.1[0] * $0.1[1]))
            }, to: directory.path("base/model.safetensors"))
        try directory.write(#"{"model_type": "gpt2", "n_head": 1}"#, to: "base/config.json")
        return try Checkpoint.open(directory.path("base"))
    }

    private func merged(
        _ pairs: [(name: String, a: [Float], b: [Float])], _ module: String, square: BindingOptions.Orientation? = nil
    ) throws -> [Double] {
        let directory = try TemporaryDirectory()
        var options = BindingOptions()
        options.squareOrientation = square
        let binding = try Binding(base: base(in: directory), adapters: [adapter(pairs, in: directory)], options: options)
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let tensor = try #require(result[ExactString("transformer.h.0.\(module).weight")])
        return try Conversion.widened(result.read(tensor), as: .f32, count: tensor.info.elementCount)
    }

    private static let square = (name: "blk.0.attn_output", a: [1, 2] as [Float], b: [10, 20] as [Float])
    // c_attn of width 2: straight lora_a has 2 columns, lora_b 6 rows.
    private static let straight = (name: "blk.0.attn_qkv", a: [1, 1] as [Float], b: [1, 2, 3, 4, 5, 6] as [Float])
    private static let turned = (name: "blk.0.attn_qkv", a: [1, 2, 3, 4, 5, 6] as [Float], b: [1, 1] as [Float])

    /// b·a is (out, in), the base (in, out): element (i, o) is a[i]·b[o]. Of a turned file it is b[i]·a[o].
    @Test func oneLayerTellsForAll() throws {
        #expect(try merged([Self.straight, Self.square], "attn.c_proj") == [10, 20, 20, 40])
        #expect(try merged([Self.turned, Self.square], "attn.c_proj") == [10, 20, 20, 40])
        let other = (name: "blk.0.attn_output", a: [1, 2] as [Float], b: [10, 30] as [Float])
        #expect(try merged([Self.straight, other], "attn.c_proj") == [10, 30, 20, 60])
        #expect(try merged([Self.turned, other], "attn.c_proj") == [10, 20, 30, 60])
        #expect(try merged([Self.straight], "attn.c_attn") == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6])
        #expect(try merged([Self.turned], "attn.c_attn") == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6])
    }

    @Test func squareLayersAloneAreAsked() throws {
        let other = (name: "blk.0.attn_output", a: [1, 2] as [Float], b: [10, 30] as [Float])
        let error = #expect(throws: PeftfileError.self) { try self.merged([other], "attn.c_proj") }
        #expect(error?.rule == "SquareOrientation" && error?.help?.contains("--square-orientation") == true, "\(error as Any)")
        #expect(try merged([other], "attn.c_proj", square: .outIn) == [10, 30, 20, 60])
        #expect(try merged([other], "attn.c_proj", square: .inOut) == [10, 20, 30, 60])
    }

    @Test func layersThatContradictEachOtherAreRefused() throws {
        let down = (name: "blk.0.ffn_down", a: [1, 1, 1, 1, 1, 1, 1, 1] as [Float], b: [1, 2] as [Float])
        #expect(try merged([Self.straight, down], "mlp.c_proj").count == 16)
        let error = #expect(throws: PeftfileError.self) { try self.merged([Self.turned, down], "mlp.c_proj") }
        #expect(error?.rule == "FactorShape" && error?.help?.contains("--to gguf") == true, "\(error as Any)")
    }

    /// PEFT's factors as they were before llama.cpp's converter, from the fixture's.
    @Test func convertGivesThePairBack() throws {
        let portable = try PortableAdapter(Adapter(path: Fixtures.path("dialects/gguf-gpt2/adapter")))
        let module = try #require(portable.modules.first { $0.path.text.hasSuffix("h.0.attn.c_attn") })
        #expect(module.a.shape == [2, 8] && module.b.shape == [24, 2])
    }
}
