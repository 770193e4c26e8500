import Foundation
import Peftfile
import TestSupport
import Testing

/// Forms of methods that no fixture of the library shows, against formulas written down here in plain loops.
@Suite struct MethodFormulaTests {
    private typealias T = SmallModel

    private static func near(_ a: [Double], _ b: [Double], _ tolerance: Double = 2e-7) -> Bool {
        let size = max(1, b.map(\.magnitude).max() ?? 0)
        return a.count == b.count && zip(a, b).allSatisfy { ($0 - $1).magnitude <= tolerance * size }
    }

    // MARK: GLoRA

    /// A, B of factors, C of factors, D and E as vectors: W + W⊙A + B and b + b⊙D + E + W·C.
    @Test(arguments: [false, true]) func gloraChangesTheBiasByTheWeight(_ isConv1D: Bool) throws {
        let model = try SmallModel()
        let (rows, columns) = (4, 6)
        let w = SmallTensor.numbers(24, seed: 1)
        var weight = T.tensor("q.weight", [rows, columns], seed: 1)
        if isConv1D { (weight.shape, weight.values) = ([columns, rows], Plain.transposed(w, rows, columns)) }
        try model.base([weight, T.tensor("q.bias", [rows], seed: 2)])
        try model.adapter(
            [
                T.tensor("q.glora_A.Xd", [rows, 2], seed: 3), T.tensor("q.glora_A.Xu", [2, columns], seed: 4),
                T.tensor("q.glora_B.Xd", [rows, 2], seed: 5), T.tensor("q.glora_B.Xu", [2, columns], seed: 6),
                T.tensor("q.glora_C.Xd", [columns, 2], seed: 7), T.tensor("q.glora_C.Xu", [2, 1], seed: 8),
                T.tensor("q.glora_D.X", [rows], seed: 9), T.tensor("q.glora_E.X", [rows], seed: 10),
            ], config: #""config_A_B": "lora", "config_C": "lora", "config_D_E": "vector""#, peftType: "GLORA",
            shared: #""r": 2"#)
        let result = try model.merged()
        func numbers(_ count: Int, _ seed: Int) -> [Double] { SmallTensor.numbers(count, seed: seed) }
        let a = Plain.product(numbers(8, 3), numbers(12, 4), rows, 2, columns)
        let b = Plain.product(numbers(8, 5), numbers(12, 6), rows, 2, columns)
        let c = Plain.product(numbers(12, 7), numbers(2, 8), columns, 2, 1)
        let expected = w.indices.map { w[$0] + w[$0] * a[$0] + b[$0] }
        let coupled = Plain.product(w, c, rows, columns, 1)
        let (bias, d, e) = (numbers(rows, 2), numbers(rows, 9), numbers(rows, 10))
        let stored = isConv1D ? Plain.transposed(expected, rows, columns) : expected
        #expect(try result.numbers("q.weight") == stored)
        #expect(try result.numbers("q.bias") == bias.indices.map { bias[$0] + bias[$0] * d[$0] + e[$0] + coupled[$0] })
    }

    @Test func gloraWithNumbersAndWithoutC() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 6], seed: 1), T.tensor("q.bias", [4], seed: 2)])
        func zeros(_ name: ExactString, _ shape: Shape) -> SmallTensor {
            SmallTensor(name: name, shape: shape, values: [Double](repeating: 0, count: shape.reduce(1, *)))
        }
        try model.adapter(
            [
                T.tensor("q.glora_A.X", [4, 1], seed: 3), T.tensor("q.glora_B.X", [4, 1], seed: 4), zeros("q.glora_C.zeros", [6, 1]),
                T.tensor("q.glora_D.X", [1], seed: 5), T.tensor("q.glora_E.X", [1], seed: 6),
            ], config: #""config_A_B": "vector", "config_C": "none", "config_D_E": "constant""#, peftType: "GLORA",
            shared: #""r": 2"#)
        let result = try model.merged()
        let (w, bias) = (SmallTensor.numbers(24, seed: 1), SmallTensor.numbers(4, seed: 2))
        let (a, b) = (SmallTensor.numbers(4, seed: 3), SmallTensor.numbers(4, seed: 4))
        let (d, e) = (SmallTensor.numbers(1, seed: 5)[0], SmallTensor.numbers(1, seed: 6)[0])
        #expect(try result.numbers("q.weight") == w.indices.map { w[$0] + w[$0] * a[$0 / 6] + b[$0 / 6] })
        #expect(try result.numbers("q.bias") == bias.map { $0 + $0 * d + e })
    }

    // MARK: DEFT

    /// W + Q·(c·R − Qᵀ·W) with Q by Gram and Schmidt, turned to Householder's signs: the first element of the first column
    /// is negative where the stored one is not.
    @Test(arguments: [false, true]) func deftByOrthonormalColumns(_ isPaRa: Bool) throws {
        let model = try SmallModel()
        let (rows, columns, rank) = (5, 4, 2)
        try model.base([T.tensor("q.weight", [rows, columns], seed: 1)])
        let p: [Double] = [3, 1, 0, 2, -4, 1, 0, 5, 2, -1]
        var tensors = [SmallTensor(name: "q.deft_P", shape: [rows, rank], values: p)]
        if !isPaRa { tensors.append(T.tensor("q.deft_R", [rank, columns], seed: 3)) }
        try model.adapter(
            tensors, config: #""decomposition_method": "qr", "para": \#(isPaRa), "alpha": 6"#, peftType: "DEFT",
            shared: #""r": 2"#)
        let result = try model.merged().numbers("q.weight")
        var q = [[Double]]()
        for column in 0..<rank {
            var v = (0..<rows).map { p[$0 * rank + column] }
            for earlier in q {
                let part = zip(v, earlier).reduce(0) { $0 + $1.0 * $1.1 }
                v = zip(v, earlier).map { $0 - part * $1 }
            }
            let norm = v.reduce(0) { $0 + $1 * $1 }.squareRoot()
            q.append(v.map { $0 / norm })
        }
        // The reflection maps x onto −sign(x₀)·‖x‖; the second starts at row 1 of what the first left.
        q[0] = q[0].map { -$0 }
        let reflected = Self.secondColumnAfterReflection(p, rows, rank)
        if reflected >= 0 { q[1] = q[1].map { -$0 } }
        let w = SmallTensor.numbers(rows * columns, seed: 1)
        let matrix = (0..<rows).flatMap { row in q.map { $0[row] } }
        let turned = q.flatMap { $0 }
        let taken = Plain.product(turned, w, rank, rows, columns)
        let r = isPaRa ? taken.map { _ in 0 } : SmallTensor.numbers(rank * columns, seed: 3).map { 3 * $0 }
        let update = Plain.product(matrix, zip(r, taken).map { $0 - $1 }, rows, rank, columns)
        #expect(Self.near(result, zip(w, update).map { $0 + $1 }))
    }

    /// What x₀ of the second reflection is: element (1, 1) after the first.
    private static func secondColumnAfterReflection(_ p: [Double], _ rows: Int, _ rank: Int) -> Double {
        let x = (0..<rows).map { p[$0 * rank] }
        let norm = x.reduce(0) { $0 + $1 * $1 }.squareRoot()
        var v = x
        v[0] += x[0] >= 0 ? norm : -norm
        let y = (0..<rows).map { p[$0 * rank + 1] }
        let factor = 2 * zip(v, y).reduce(0) { $0 + $1.0 * $1.1 } / v.reduce(0) { $0 + $1 * $1 }
        return y[1] - factor * v[1]
    }

    // MARK: PEANuT

    private static let functions: [(name: String, value: @Sendable (Double) -> Double)] = [
        ("silu", { $0 / (1 + exp(-$0)) }), ("gelu", { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }), ("tanh", { tanh($0) }),
        ("leaky_relu", { $0 < 0 ? 0.01 * $0 : $0 }),
    ]

    @Test(arguments: functions.indices) func peanutWithEncodersAndDecoders(_ index: Int) throws {
        let function = Self.functions[index]
        let model = try SmallModel()
        let (rows, columns, rank) = (4, 5, 2)
        try model.base([T.tensor("q.weight", [rows, columns], seed: 1)])
        func tensor(_ name: ExactString, _ shape: Shape, _ seed: Int) -> SmallTensor {
            SmallTensor(name: name, shape: shape, values: SmallTensor.numbers(shape.reduce(1, *), seed: seed).map { $0 / 8 })
        }
        try model.adapter(
            [
                tensor("q.peanut_A.weight", [rank, rows], 2), tensor("q.peanut_B.weight", [rows, rank], 3),
                tensor("q.peanut_encoders.0.weight", [rank, rank], 4), tensor("q.peanut_encoders.1.weight", [rank, rank], 5),
                tensor("q.peanut_decoders.0.weight", [rank, rank], 6), tensor("q.peanut_decoders.1.weight", [rank, rank], 7),
            ], config: #""act_fn": "\#(function.name)", "depth": 2, "scaling": 0.5"#, peftType: "PEANUT", shared: #""r": 2"#)
        let result = try model.merged().numbers("q.weight")
        func numbers(_ count: Int, _ seed: Int) -> [Double] { SmallTensor.numbers(count, seed: seed).map { $0 / 8 } }
        let w = SmallTensor.numbers(rows * columns, seed: 1)
        // One input column at a time, as PEFT's network sees a row of Wᵀ.
        var update = [Double](repeating: 0, count: rows * columns)
        for column in 0..<columns {
            func layer(_ seed: Int, _ x: [Double], _ outputs: Int) -> [Double] {
                Plain.product(numbers(outputs * x.count, seed), x, outputs, x.count, 1)
            }
            let h0 = layer(2, (0..<rows).map { w[$0 * columns + column] }, rank).map(function.value)
            let h1 = layer(4, h0, rank).map(function.value)
            let h2 = layer(5, h1, rank).map(function.value)
            let g1 = zip(layer(6, h2, rank).map(function.value), h1).map { $0 + $1 }
            let g2 = zip(layer(7, g1, rank).map(function.value), h0).map { $0 + $1 }
            for (row, value) in layer(3, g2, rows).enumerated() { update[row * columns + column] = 0.5 * value }
        }
        #expect(Self.near(result, zip(w, update).map { $0 + $1 }))
    }

    @Test func peanutRefusesAFunctionItDoesNotKnow() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1)])
        let tensors = [
            T.tensor("q.peanut_A.weight", [2, 4], seed: 2), T.tensor("q.peanut_B.weight", [4, 2], seed: 3),
        ]
        try model.adapter(tensors, config: #""act_fn": "xielu", "depth": 0, "scaling": 1"#, peftType: "PEANUT", shared: #""r": 2"#)
        #expect(model.refusal() == "ActivationUnknown")
        try model.adapter(tensors, config: #""depth": 1, "act_fn": "relu", "scaling": 1"#, name: "deep", peftType: "PEANUT", shared: #""r": 2"#)
        #expect(model.refusal(["deep"]) == "DepthMismatch")
    }

    // MARK: RoAd

    /// Turns pairs of outputs of a layer by PEFT's forward formula, on vectors.
    @Test func roadTurnsTheOutputsOfTheLayer() throws {
        let model = try SmallModel()
        let (rows, columns, group) = (8, 3, 4)
        try model.base([T.tensor("q.weight", [rows, columns], seed: 1)])
        let theta = (0..<4).map { Double($0 * 37 - 50) / 16 }
        let alpha = (0..<4).map { 1 + Double($0) / 8 }
        try model.adapter(
            [
                SmallTensor(name: "q.road_theta", shape: [4], values: theta),
                SmallTensor(name: "q.road_alpha", shape: [4], values: alpha),
            ], config: #""variant": "road_1", "group_size": 4"#, peftType: "ROAD", shared: "")
        let result = try model.merged().numbers("q.weight")
        let w = SmallTensor.numbers(rows * columns, seed: 1)
        for column in 0..<columns {
            let y = (0..<rows).map { w[$0 * columns + column] }
            for row in 0..<rows {
                let (number, place) = (row / group, row % group)
                let index = number * 2 + place % 2
                let rotated = place < 2 ? -y[row + 2] : y[row - 2]
                let expected = alpha[index] * (y[row] * cos(theta[index]) + rotated * sin(theta[index]))
                #expect((result[row * columns + column] - expected).magnitude <= 1e-6)
            }
        }
    }

    @Test func roadRefusesAnglesWithoutEnd() throws {
        for angle in [Double.infinity, .nan, 3e6] {
            let model = try SmallModel()
            try model.base([T.tensor("q.weight", [2, 3], seed: 1)])
            try model.adapter(
                [
                    SmallTensor(name: "q.road_theta", shape: [1], values: [angle]),
                    SmallTensor(name: "q.road_alpha", shape: [1], values: [1]),
                ], config: #""variant": "road_1", "group_size": 2"#, peftType: "ROAD", shared: "")
            #expect(model.refusal() == "AngleRange")
        }
    }

    // MARK: FRoD

    @Test func frodWithoutItsProjectionIsRefused() throws {
        let model = try SmallModel()
        try model.base([T.tensor("layers.0.self_attn.q_proj.weight", [4, 3], seed: 1)])
        try model.adapter(
            [
                T.tensor("layers.0.self_attn.q_proj.frod_lambda_l", [3], seed: 2),
                T.tensor("layers.0.self_attn.q_proj.frod_lambda_s_values", [1], seed: 3),
            ], config: #""save_projection": false"#, peftType: "FROD", shared: "")
        #expect(model.refusal() == "ProjectionMissing")
    }
}

/// AdaMSS takes clusters from the base, so another base, seed or count must not pass for the right one.
@Suite struct AdaMSSTests {
    private func refusal(config: (String) -> String = { $0 }, base: ([Double]) -> [Double] = { $0 }) throws -> String? {
        let merge = try MergeCase("adamss")
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try FileSystem.makeDirectory(directory.path("adapter"))
        let original = try Checkpoint.open(merge.base)
        let tensors = try original.tensors.map { tensor in
            let values = try original.numbers(tensor.name)
            return SmallTensor(
                name: tensor.name, shape: tensor.shape, values: tensor.name.text.hasSuffix("q_proj.weight") ? base(values) : values,
                dtype: tensor.dtype)
        }
        try SmallTensor.write(tensors, to: directory.path("base/model.safetensors"))
        for (from, to) in [("base/config.json", "base/config.json"), ("adapter/adapter_model.safetensors", "adapter/adapter_model.safetensors")] {
            try directory.write(TestFile.bytes(Fixtures.path("merge/adamss/\(from)")), to: to)
        }
        try directory.write(config(TestFile.text(Fixtures.path("merge/adamss/adapter/adapter_config.json"))), to: "adapter/adapter_config.json")
        do {
            _ = try Binding(base: .open(directory.path("base")), adapters: [Adapter(path: directory.path("adapter"))])
            return nil
        } catch let error as PeftfileError {
            return error.rule
        }
    }

    @Test func theOwnBaseIsTaken() throws { #expect(try refusal() == nil) }

    @Test func anotherBaseIsRefused() throws {
        // One row of 24 moved by a tenth of its size.
        #expect(try refusal(base: { $0.enumerated().map { $0 < 24 ? $1 * 1.1 : $1 } }) == "ClustersUndecided")
        #expect(try refusal(base: { Array($0.reversed()) }) == "ClustersUndecided")
        #expect(try refusal(base: { $0.map { _ in 0 } }) == "ClustersUndecided")
        #expect(try refusal(base: { $0.enumerated().map { $0 == 5 ? .nan : $1 } }) == "ClustersUndecided")
    }

    @Test func anotherSeedOrCountIsRefused() throws {
        #expect(try refusal(config: { $0.replacing("\"random_seed\": 0", with: "\"random_seed\": 1") }) == "ClustersUndecided")
        #expect(try refusal(config: { $0.replacing("\"num_subspaces\": 2", with: "\"num_subspaces\": 3") }) == "ClusterMismatch")
        #expect(try refusal(config: { $0.replacing("\"r\": 4", with: "\"r\": 3") }) == "ConfigMismatch")
    }
}
