import Peftfile
import TestSupport
import Testing

/// MLX' config has one rank: smaller factors have zeros behind them, and make the update that they made.
@Suite struct MLXRankTests {
    /// Two layers of rank 2 and one of rank 3 with another scale, or the experts of Mixtral, one of which has another rank.
    private func model(experts: Bool) throws -> SmallModel {
        let model = try SmallModel()
        let layers = ["q_proj", "k_proj", "v_proj"].map { "model.layers.0.self_attn.\($0)" }
        let matrices = (0..<3).flatMap { expert in ["w1", "w3"].map { "model.layers.0.block_sparse_moe.experts.\(expert).\($0)" } }
        let paths = experts ? matrices : layers
        let larger = experts ? "model.layers.0.block_sparse_moe.experts.1.w1" : "model.layers.0.self_attn.k_proj"
        let kind = experts ? #"{"model_type": "mixtral", "num_local_experts": 3}"# : #"{"model_type": "llama"}"#
        try model.base(paths.enumerated().map { SmallModel.tensor(ExactString("\($1).weight"), [6, 4], seed: $0) }, config: kind)
        func rank(_ path: String) -> Int { path == larger ? 3 : 2 }
        try model.adapter(
            paths.enumerated().flatMap { number, path in
                [
                    SmallModel.tensor(ExactString("\(path).lora_A.weight"), [rank(path), 4], seed: 10 + number),
                    SmallModel.tensor(ExactString("\(path).lora_B.weight"), [6, rank(path)], seed: 30 + number),
                ]
            },
            config: "\"rank_pattern\": {\"\(larger)\": 3}, \"alpha_pattern\": {\"\(larger)\": 18}",
            shared: #""r": 2, "lora_alpha": 6"#)
        return model
    }

    @Test(arguments: [false, true]) func zerosBehindASmallerFactorChangeNothing(experts: Bool) throws {
        let model = try model(experts: experts)
        let names = model.directory
        let converted = try Tool.run(["convert", names.path("adapter"), "--to", "mlx", "--base", names.path("base"), "-o", names.path("mlx")])
        #expect(converted.status == 0 && converted.output.contains("rank is 3 for all modules"), "\(converted.errors)")
        let verified = try Tool.run(["verify", names.path("mlx")])
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        for (out, path) in [("m0", "adapter"), ("m1", "mlx")] {
            let merged = try Tool.run(["merge", names.path("base"), names.path(path), "-o", names.path(out)])
            #expect(merged.status == 0, "\(merged.errors)")
        }
        #expect(try Tool.run(["diff", names.path("m0"), names.path("m1")]).status == 0)
        // The zeros stand where mlx-lm has the rank: behind all else of A's columns and of B's rows, experts' in each part of the stack.
        let written = try Checkpoint.open(names.path("mlx"))
        let source = try Checkpoint.open(names.path("adapter/adapter_model.safetensors"))
        func numbers(_ path: String, _ side: String) throws -> [Double] {
            let name = try #require(source.tensors.first { $0.name.text.hasSuffix("\(path).lora_\(side).weight") }?.name)
            return try source.numbers(name)
        }
        if experts {
            let front = "model.layers.0.block_sparse_moe."
            let (a, b) = try (written.numbers(ExactString("\(front)switch_mlp.gate_proj.lora_a")), written.numbers(ExactString("\(front)switch_mlp.gate_proj.lora_b")))
            for expert in 0..<3 {
                let rank = expert == 1 ? 3 : 2
                let (ownA, ownB) = try (numbers("\(front)experts.\(expert).w1", "A"), numbers("\(front)experts.\(expert).w1", "B"))
                let factor: Double = expert == 1 ? 2 : 1
                var (wantedA, wantedB) = ([Double](repeating: 0, count: 12), [Double](repeating: 0, count: 18))
                for index in ownA.indices { wantedA[index] = ownA[index] }
                for index in ownB.indices { wantedB[index / rank * 3 + index % rank] = ownB[index] * factor }
                #expect(Array(a[(12 * expert)..<(12 * expert + 12)]) == wantedA)
                #expect(Array(b[(18 * expert)..<(18 * expert + 18)]) == wantedB)
            }
        } else {
            for (leaf, rank, factor) in [("q_proj", 2, 1.0), ("k_proj", 3, 2)] {
                let front = "model.layers.0.self_attn.\(leaf)"
                let (ownA, ownB) = try (numbers(front, "A"), numbers(front, "B"))
                var (wantedA, wantedB) = ([Double](repeating: 0, count: 12), [Double](repeating: 0, count: 18))
                for index in ownA.indices { wantedA[index % 4 * 3 + index / 4] = ownA[index] }
                for index in ownB.indices { wantedB[index % rank * 6 + index / rank] = ownB[index] * factor }
                #expect(try written.numbers(ExactString("\(front).lora_a")) == wantedA)
                #expect(try written.numbers(ExactString("\(front).lora_b")) == wantedB)
            }
        }
        let back = try Tool.run(["convert", names.path("mlx"), "--to", "peft", "--base", names.path("base"), "-o", names.path("back")])
        #expect(back.status == 0, "\(back.errors)")
        for other in experts ? ["back"] : ["mlx", "back"] {
            let merged = try Tool.run(["merge", names.path("base"), names.path(other), "-o", names.path("m-\(other)")])
            #expect(merged.status == 0, "\(merged.errors)")
            #expect(try Tool.run(["diff", names.path("m0"), names.path("m-\(other)")]).status == 0)
            guard !experts else { continue }
            let diff = try Tool.run(["diff", names.path("adapter"), names.path(other)])
            // The tensors differ, of which the status speaks; the updates do not.
            #expect(diff.output.contains("equivalent adapters"), "\(other): \(diff.output)\(diff.errors)")
        }
    }

    /// `verify` without the file's digest: what stands behind a factor must be zero.
    @Test(arguments: ["a", "b"]) func otherNumbersBehindAFactorAreFound(side: String) throws {
        let model = try model(experts: false)
        let names = model.directory
        let options = ["convert", names.path("adapter"), "--to", "mlx", "--no-hash", "-o", names.path("mlx")]
        #expect(try Tool.run(options).status == 0)
        let path = names.path("mlx/adapters.safetensors")
        let file = try Checkpoint.open(path)
        var tensors: [SmallTensor] = []
        for tensor in file.tensors {
            var values = try file.numbers(tensor.name)
            if tensor.name.text == "model.layers.0.self_attn.q_proj.lora_\(side)" {
                #expect(values[values.count - 1] == 0)
                values[values.count - 1] = 0.5
            }
            tensors.append(SmallTensor(name: tensor.name, shape: tensor.shape, values: values, dtype: tensor.dtype))
        }
        try SmallTensor.write(tensors, to: path)
        let verdict = try Tool.run(["verify", names.path("mlx")])
        #expect(verdict.status == 1 && verdict.output.contains("more than zeros"), "\(verdict.output)\(verdict.errors)")
    }
}
