import Peftfile
import TestSupport
import Testing

/// mlx-lm's models, whose experts are one stack a matrix (`switch_mlp`), under adapters of PEFT that name each expert, of PEFT that adapt
/// transformers' parameters of all experts, and of mlx-lm: each expert's matrix becomes W + s·B·A, computed here one by one.
@Suite struct SwitchExpertTests {
    private static let (experts, hidden, inner, rank) = (3, 4, 5, 2)

    /// mlx-lm's name of a stack, and rows and columns of its matrices.
    private static let stacks = [("gate_proj", inner, hidden), ("up_proj", inner, hidden), ("down_proj", hidden, inner)]

    private static func base(_ model: SmallModel, _ type: String, _ front: String) throws {
        try model.base(stacks.enumerated().map { SmallModel.tensor(ExactString("\(front).switch_mlp.\($1.0).weight"), [experts, $1.1, $1.2], seed: $0) })
        try model.directory.write(#"{"model_type": "\#(type)", "num_experts": 3, "num_local_experts": 3}"#, to: "base/config.json")
    }

    private static func numbers(_ count: Int, _ seed: Int) -> [Double] { SmallTensor.numbers(count, seed: seed).map { $0 / 4 } }

    /// The merged stacks, checked by hand, and by `verify`.
    private func check(_ model: SmallModel, _ front: String, scale: Double, _ factors: (Int, Int) -> (a: [Double], b: [Double])) throws {
        func path(_ name: String) -> String { model.directory.path(name) }
        let merge = try Tool.run(["merge", path("base"), path("adapter"), "-o", path("out")])
        #expect(merge.status == 0, "\(merge.errors)")
        #expect(try Tool.run(["verify", path("out"), "--base", path("base"), "--adapter", path("adapter")]).status == 0)
        let (before, after) = (try Checkpoint.open(path("base")), try Checkpoint.open(path("out")))
        for (number, (name, rows, columns)) in Self.stacks.enumerated() {
            let key = ExactString("\(front).switch_mlp.\(name).weight")
            var expected: [Double] = []
            for expert in 0..<Self.experts {
                let (a, b) = factors(number, expert)
                let size = rows * columns
                let own = Array(try before.numbers(key)[(expert * size)..<((expert + 1) * size)])
                expected += Plain.sum(own, Plain.product(b, a, rows, Self.rank, columns), scale: scale)
            }
            #expect(try after.numbers(key) == expected, "\(key)")
        }
    }

    private func factors(_ stack: Int, _ expert: Int) -> (a: [Double], b: [Double]) {
        let (_, rows, columns) = Self.stacks[stack]
        return (Self.numbers(Self.rank * columns, 10 * stack + expert), Self.numbers(rows * Self.rank, 50 + 10 * stack + expert))
    }

    @Test(arguments: [
        ("qwen3_moe", "model.layers.0.mlp", ["gate_proj", "up_proj", "down_proj"]), ("mixtral", "model.layers.0.block_sparse_moe", ["w1", "w3", "w2"]),
    ] as [(String, String, [String])])
    func eachExpertHasItsOwnModule(_ type: String, _ front: String, _ leaves: [String]) throws {
        let model = try SmallModel()
        try Self.base(model, type, front)
        try model.adapter(
            leaves.enumerated().flatMap { stack, leaf in
                (0..<Self.experts).flatMap { expert in
                    let (a, b) = factors(stack, expert)
                    let (_, rows, columns) = Self.stacks[stack]
                    return [
                        SmallTensor(name: ExactString("\(front).experts.\(expert).\(leaf).lora_A.weight"), shape: [Self.rank, columns], values: a),
                        SmallTensor(name: ExactString("\(front).experts.\(expert).\(leaf).lora_B.weight"), shape: [rows, Self.rank], values: b),
                    ]
                }
            })
        try check(model, front, scale: 3, factors)
    }

    @Test(arguments: [("qwen3_moe", "model.layers.0.mlp"), ("mixtral", "model.layers.0.block_sparse_moe")])
    func transformersHasOneParameter(_ type: String, _ front: String) throws {
        let model = try SmallModel()
        try Self.base(model, type, front)
        // Of gate and up one A serves both; B's rows are the gate's, then up's. Rows of A are one expert behind the other, columns of B
        // one rank behind the other.
        func stacked(_ parts: [Int], _ name: String) -> [SmallTensor] {
            let columns = Self.stacks[parts[0]].2
            let a = (0..<Self.experts).flatMap { factors(parts[0], $0).a }
            var b: [Double] = []
            for part in parts {
                for row in 0..<Self.stacks[part].1 {
                    for k in 0..<Self.rank { for expert in 0..<Self.experts { b.append(factors(part, expert).b[row * Self.rank + k]) } }
                }
            }
            let width = Self.rank * Self.experts
            return [
                SmallTensor(name: ExactString("\(name).lora_A.weight"), shape: [width, columns], values: a),
                SmallTensor(name: ExactString("\(name).lora_B.weight"), shape: [b.count / width, width], values: b),
            ]
        }
        let module = "model.layers.0.mlp.experts"
        try model.adapter(
            stacked([0, 1], module + ".base_layer") + stacked([2], module),
            config: #""target_modules": [], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]"#)
        try check(model, front, scale: 3) { stack, expert in (factors(stack == 1 ? 0 : stack, expert).a, factors(stack, expert).b) }
    }

    @Test func mlxHasTheStackItself() throws {
        let model = try SmallModel()
        let front = "model.layers.0.mlp"
        try Self.base(model, "qwen3_moe", front)
        try FileSystem.makeDirectory(model.directory.path("adapter"))
        try SmallTensor.write(
            Self.stacks.enumerated().flatMap { stack, part in
                [
                    SmallTensor(
                        name: ExactString("\(front).switch_mlp.\(part.0).lora_a"), shape: [Self.experts, Self.rank, part.2],
                        values: (0..<Self.experts).flatMap { factors(stack, $0).a }),
                    SmallTensor(
                        name: ExactString("\(front).switch_mlp.\(part.0).lora_b"), shape: [Self.experts, part.1, Self.rank],
                        values: (0..<Self.experts).flatMap { factors(stack, $0).b }),
                ]
            }, to: model.directory.path("adapter/adapters.safetensors"))
        try model.directory.write(#"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 2.0, "dropout": 0.0}}"#, to: "adapter/adapter_config.json")
        try check(model, front, scale: 2, factors)
    }
}
