import Peftfile
import TestSupport
import Testing

/// Tensors that llama.cpp's converter cuts, turns or takes the exponential of: what is written back, and what is refused.
@Suite struct GGUFCutTests {
    static let folder = Fixtures.path("gguf-models")

    /// kv_b_proj in Q8_0: the keys' part turned, the values' as it is, each rounded in blocks of its own rows.
    @Test func bothPartsOfLatentAttentionAreWrittenAsBlocks() throws {
        let model = try SmallModel()
        let (heads, keys, values, rank) = (2, 32, 3, 64)
        let rows = heads * (keys + values)
        let plain = SmallTensor.numbers(rows * rank, seed: 3)
        let (a, b) = (SmallTensor.numbers(2 * rank, seed: 7).map { $0 / 16 }, SmallTensor.numbers(rows * 2, seed: 8).map { $0 / 8 })
        func file(_ numbers: [Double]) -> [UInt8] {
            var (k, v): ([Double], [Double]) = ([], [])
            for head in 0..<heads {
                let start = head * (keys + values)
                for column in 0..<rank { for row in 0..<keys { k.append(numbers[(start + row) * rank + column]) } }
                for row in keys..<(keys + values) { v += numbers[((start + row) * rank)..<((start + row + 1) * rank)] }
            }
            var builder = GGUFBuilder()
            builder.add("general.architecture", "deepseek2")
            builder.tensors = [
                .init("blk.0.attn_k_b.weight", [UInt64(keys), UInt64(rank), UInt64(heads)], type: 8, GGUFMergeTests.q8(k)),
                .init("blk.0.attn_v_b.weight", [UInt64(rank), UInt64(values), UInt64(heads)], type: 8, GGUFMergeTests.q8(v)),
            ]
            return builder.file()
        }
        let base = try Checkpoint.open(model.directory.write(file(plain), to: "base.gguf"))
        let name: ExactString = "model.layers.0.self_attn.kv_b_proj.weight"
        #expect(base.tensors.map(\.name) == [name] && base[name]?.shape == [rows, rank])
        let stored = try base.numbers(name)
        try model.adapter([
            .init(name: "model.layers.0.self_attn.kv_b_proj.lora_A.weight", shape: [2, rank], values: a),
            .init(name: "model.layers.0.self_attn.kv_b_proj.lora_B.weight", shape: [rows, 2], values: b),
        ])
        try GGUFMergeTests.expectMerge(of: model, onto: base, writes: file(Plain.sum(stored, Plain.product(b, a, rows, 2, rank), scale: 3)))
    }

    /// Every cut leads each stored element to one of the Hub's, and none twice.
    @Test func partsMakeTheWhole() throws {
        for name in ["granitemoe", "gptoss", "llama4", "deepseek2", "granitehybrid"] {
            let model = try #require(try Checkpoint.open("\(Self.folder)/\(name).gguf").gguf)
            var places: [ExactString: [Int]] = [:]
            for tensor in model.tensors {
                guard let cut = tensor.cut, let hub = tensor.names.first else { continue }
                var elements = 0
                for piece in cut.pieces(step: 2) {
                    #expect(cut.elements(of: piece).lowerBound == elements)
                    cut.forEachElement(of: piece) { places[hub, default: []].append(piece.lowerBound * cut.columns + $0) }
                    elements = cut.elements(of: piece).upperBound
                }
                #expect(elements == cut.count && cut.count == tensor.shape.elementCount)
            }
            #expect(!places.isEmpty)
            for (hub, places) in places {
                let shape = try #require(model.tensors.first { $0.names.first == hub }?.pieces.first?.shape)
                #expect(places.sorted() == Array(0..<(shape.elementCount ?? 0)), "\(name): \(hub)")
            }
        }
    }

    /// A_log in a GGUF file is what it was made from no longer: a merge that changes it writes no GGUF file, and one that does not says
    /// what it writes in a safetensors file.
    @Test func logarithmsAreSaid() throws {
        let model = try SmallModel()
        let base = try Checkpoint.open("\(Self.folder)/mamba.gguf")
        let name: ExactString = "backbone.layers.0.mixer.A_log"
        #expect(base[name]?.shape == [16, 4])
        let plan = try RewritePlan.convert(base)
        #expect(plan.warnings.contains { $0.contains("1 tensor (A_log) is the logarithm") })
        try model.adapter(
            [
                .init(name: "backbone.layers.0.mixer.lora_A.weight", shape: [2, 4], values: SmallTensor.numbers(8, seed: 7)),
                .init(name: "backbone.layers.0.mixer.lora_B.weight", shape: [16, 2], values: SmallTensor.numbers(32, seed: 8)),
            ], config: #""target_modules": [], "target_parameters": ["mixer.A_log"]"#)
        let binding = try Binding(base: base, adapters: [Adapter(path: model.directory.path("adapter"))])
        var settings = MergeSettings()
        settings.form = .gguf
        let error = #expect(throws: PeftfileError.self) { _ = try RewritePlan.merge(binding, settings: settings) }
        #expect(error?.rule == "OutputForm" && error?.message.contains("-exp(A_log)") == true, "\(error as Any)")
    }

    /// An adapter for a tensor that llama.cpp has in parts is not written for llama.cpp, and the refusal names the tensor.
    @Test func anAdapterOfAPartIsRefused() throws {
        let directory = try TemporaryDirectory()
        let result = try Tool.run([
            "convert", "\(Self.folder)/merged/deepseek2/adapter", "--base", "\(Self.folder)/deepseek2.gguf", "--to", "gguf", "-o",
            directory.path("out.gguf"),
        ])
        #expect(result.status == 2 && result.errors.contains("kv_b_proj") && result.errors.contains("cut or turned"), "\(result.errors)")
        let model = try SmallModel()
        try model.adapter([
            .init(name: "model.layers.0.self_attn.kv_b_proj.lora_A.weight", shape: [2, 6], values: SmallTensor.numbers(12, seed: 7)),
            .init(name: "model.layers.0.self_attn.kv_b_proj.lora_B.weight", shape: [14, 2], values: SmallTensor.numbers(28, seed: 8)),
        ])
        let other = try Tool.run([
            "convert", model.directory.path("adapter"), "--base", "\(Self.folder)/deepseek2lite.gguf", "--to", "gguf", "-o", directory.path("out.gguf"),
        ])
        #expect(other.status == 2 && other.errors.contains("cut or turned (blk.0.attn_k_b.weight)"), "\(other.errors)")
    }

    /// Nor for one that the converter joined with others.
    @Test func anAdapterOfAJoinedTensorIsRefused() throws {
        let directory = try TemporaryDirectory()
        let result = try Tool.run([
            "convert", "\(Self.folder)/merged/qwen2-fused/adapter", "--base", "\(Self.folder)/qwen2-fused.gguf", "--to", "gguf", "-o",
            directory.path("out.gguf"),
        ])
        #expect(result.status == 2 && result.errors.contains("a part of blk.0.attn_qkv.weight in that base"), "\(result.errors)")
    }

    /// The file's architecture tells what memory calls a module, as config.json would: HY-V3's `shared_mlp` is `shared_experts` there.
    @Test func theArchitectureTellsNamesInMemory() throws {
        let base = try Checkpoint.open("\(Self.folder)/hyv3.gguf")
        let stored = try #require(base.tensors.first { $0.name.text.hasSuffix(".mlp.shared_mlp.up_proj.weight") })
        let module = stored.name.text.dropLast(".weight".count).replacing("shared_mlp", with: "shared_experts")
        let model = try SmallModel()
        try model.adapter([
            SmallModel.tensor(ExactString("\(module).lora_A.weight"), [2, stored.shape[1]], seed: 1),
            SmallModel.tensor(ExactString("\(module).lora_B.weight"), [stored.shape[0], 2], seed: 2),
        ])
        let binding = try Binding(base: base, adapters: [Adapter(path: model.directory.path("adapter"))])
        #expect(binding.targets.map(\.tensors) == [[stored.name]])
    }
}
