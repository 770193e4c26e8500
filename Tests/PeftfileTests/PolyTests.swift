import Foundation
import Peftfile
import TestSupport
import Testing

/// Poly per task: PEFT has no merge, so the truth is the unmerged layer's answer, computed here as its forward pass does it.
@Suite struct PolyTests {
    /// x ↦ W·x + (x·A)·B / r with the mixture of a task: `Linear.forward` in peft/tuners/poly/layer.py, for one vector.
    private struct Layer {
        let weight: [Double]
        let a: [Double]
        let b: [Double]
        let logits: [Double]
        let rows: Int
        let columns: Int
        let splits: Int
        let skills: Int
        let rank: Int

        /// The answer, and the sum of the magnitudes that make it up.
        func answer(_ x: [Double], task: Int) -> (values: [Double], sizes: [Double]) {
            var (values, sizes) = ([Double](repeating: 0, count: rows), [Double](repeating: 0, count: rows))
            for row in 0..<rows {
                for column in 0..<columns {
                    values[row] += weight[row * columns + column] * x[column]
                    sizes[row] += (weight[row * columns + column] * x[column]).magnitude
                }
            }
            let (inputs, outputs) = (columns / splits, rows / splits)
            var hidden = [Double](repeating: 0, count: rank)
            let mixtures = (0..<splits).map { split in
                let gates = (0..<skills).map { 1 / (1 + exp(-logits[(task * splits + split) * skills + $0])) }
                return gates.map { $0 / (gates.reduce(0, +) + 1e-12) }
            }
            for split in 0..<splits {
                for skill in 0..<skills {
                    for d in 0..<inputs {
                        for k in 0..<rank {
                            hidden[k] += mixtures[split][skill] * x[split * inputs + d]
                                * a[((split * skills + skill) * inputs + d) * rank + k]
                        }
                    }
                }
            }
            for split in 0..<splits {
                for skill in 0..<skills {
                    for k in 0..<rank {
                        for d in 0..<outputs {
                            let part = mixtures[split][skill] * hidden[k]
                                * b[((split * skills + skill) * rank + k) * outputs + d] / Double(rank)
                            values[split * outputs + d] += part
                            sizes[split * outputs + d] += part.magnitude
                        }
                    }
                }
            }
            return (values, sizes)
        }
    }

    /// The merged weight answers every unit vector as the unmerged layer does, within half a unit of the stored float32
    /// (2⁻²⁴ of the size) and the rounding of the sums here.
    private func answersAlike(_ merged: [Double], _ layer: Layer, task: Int) {
        for column in 0..<layer.columns {
            var x = [Double](repeating: 0, count: layer.columns)
            x[column] = 1
            let (values, sizes) = layer.answer(x, task: task)
            for row in 0..<layer.rows {
                let difference = (merged[row * layer.columns + column] - values[row]).magnitude
                #expect(difference <= 0x1p-24 * values[row].magnitude + 0x1p-45 * sizes[row])
            }
        }
    }

    /// `Fixtures/poly/forward.json`: the unmerged layer's answers, computed by numpy. The merged weight differs from the exact one by half a
    /// unit of float32 for each element, which is 2⁻²⁴ of it; both sums round in float64.
    @Test(arguments: [0, 1, 2]) func theMergedWeightAnswersAsTheUnmergedLayer(_ task: Int) throws {
        let directory = try TemporaryDirectory()
        let binding = try Binding(
            base: .open(Fixtures.path("poly/base")), adapters: [Adapter(path: Fixtures.path("poly/adapter"))],
            options: BindingOptions(task: task))
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
        let cases = try #require(JSONValue.parse(TestFile.bytes(Fixtures.path("poly/forward.json")), file: nil).arrayValue)
        func vectors(_ value: JSONValue?) -> [[Double]] { (value?.arrayValue ?? []).map { ($0.arrayValue ?? []).compactMap(\.doubleValue) } }
        var answers = 0
        for item in cases where item["task"]?.intValue == task {
            let weight = try result.numbers(ExactString(try #require(item["tensor"]?.stringValue)))
            for (x, y) in zip(vectors(item["inputs"]), vectors(item["outputs"])) {
                for (row, expected) in y.enumerated() {
                    let terms = x.indices.map { weight[row * x.count + $0] * x[$0] }
                    let size = terms.reduce(0) { $0 + $1.magnitude }
                    #expect((terms.reduce(0, +) - expected).magnitude <= 0x1p-24 * size + 0x1p-45 * size)
                    answers += 1
                }
            }
        }
        #expect(answers == 4 * (8 + 6))
    }

    @Test(arguments: [0, 1]) func theFixtureOfTheLibraryMergesPerTask(_ task: Int) throws {
        let merge = try MergeCase("refuse-poly")
        let base = try Checkpoint.open(merge.base)
        let adapter = try Adapter(path: merge.adapter)
        let binding = try Binding(base: base, adapters: [adapter], options: BindingOptions(task: task))
        let directory = try TemporaryDirectory()
        let receipt = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
        #expect(receipt.total.updated == 24 * 24 + 12 * 24)
        for (name, rows) in [("q_proj", 24), ("v_proj", 12)] {
            let module = "model.layers.0.self_attn.\(name)"
            func stored(_ key: String) throws -> [Double] {
                try adapter.checkpoint.numbers(ExactString("base_model.model.\(module).\(key)"))
            }
            let layer = try Layer(
                weight: base.numbers(ExactString("\(module).weight")), a: stored("poly_lora_A"), b: stored("poly_lora_B"),
                logits: stored("poly_router.module_logits"), rows: rows, columns: 24, splits: 1, skills: 2, rank: 2)
            try answersAlike(result.numbers(ExactString("\(module).weight")), layer, task: task)
        }
    }

    /// Multi-head routing: three skills in two splits, each with a mixture of its own.
    @Test(arguments: [0, 1, 2]) func splitsHaveMixturesOfTheirOwn(_ task: Int) throws {
        let model = try SmallModel()
        func tensor(_ name: ExactString, _ shape: Shape, _ seed: Int) -> SmallTensor {
            SmallTensor(name: name, shape: shape, values: SmallTensor.numbers(shape.reduce(1, *), seed: seed).map { $0 / 4 })
        }
        try model.base([tensor("q.weight", [4, 6], 1)])
        try model.adapter(
            [
                tensor("q.poly_lora_A", [2, 3, 3, 2], 2), tensor("q.poly_lora_B", [2, 3, 2, 2], 3),
                tensor("q.poly_router.module_logits", [3, 6], 4),
            ], config: #""n_tasks": 3, "n_skills": 3, "n_splits": 2, "poly_type": "poly""#, peftType: "POLY", shared: #""r": 2"#)
        let result = try model.merged(options: BindingOptions(task: task))
        func numbers(_ count: Int, _ seed: Int) -> [Double] { SmallTensor.numbers(count, seed: seed).map { $0 / 4 } }
        let layer = Layer(
            weight: numbers(24, 1), a: numbers(36, 2), b: numbers(24, 3), logits: numbers(18, 4), rows: 4, columns: 6, splits: 2,
            skills: 3, rank: 2)
        try answersAlike(result.numbers("q.weight"), layer, task: task)
    }

    @Test func aTaskIsNamedAndExists() throws {
        let merge = try MergeCase("refuse-poly")
        func rule(_ name: String, _ task: Int?) throws -> String? {
            let merge = try MergeCase(name)
            let error = #expect(throws: PeftfileError.self) {
                _ = try Binding(
                    base: .open(merge.base), adapters: [Adapter(path: merge.adapter)], options: BindingOptions(task: task))
            }
            return error?.rule
        }
        #expect(try rule(merge.name, nil) == "TaskMissing")
        #expect(try rule(merge.name, 2) == "TaskRange")
        #expect(try rule(merge.name, -1) == "TaskRange")
        #expect(try rule("lora-r1", 0) == "TaskUnused")
    }
}
