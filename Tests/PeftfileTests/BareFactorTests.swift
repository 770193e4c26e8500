import Peftfile
import TestSupport
import Testing

/// Files of factors without a config: the caller says scale and orientation.
@Suite struct BareFactorTests {
    private let rows = 5
    private let columns = 3
    private let rank = 2

    /// W (in, out) of the textbooks, or W (out, in) of PEFT, with A and B to match.
    private func files(_ directory: TemporaryDirectory, textbook: Bool) throws {
        let w = SmallTensor.numbers(rows * columns, seed: 1)
        let a = SmallTensor(
            name: "layer.lora_A", shape: textbook ? [rows, rank] : [rank, columns],
            values: SmallTensor.numbers((textbook ? rows : columns) * rank, seed: 2))
        let b = SmallTensor(
            name: "layer.lora_B", shape: textbook ? [rank, columns] : [rows, rank],
            values: SmallTensor.numbers((textbook ? columns : rows) * rank, seed: 3))
        try SmallTensor.write(
            [SmallTensor(name: "layer.weight", shape: [rows, columns], values: w)], to: directory.path("base.safetensors"))
        try SmallTensor.write([a, b], to: directory.path("adapter.safetensors"))
    }

    private func merged(_ directory: TemporaryDirectory, _ options: BindingOptions) throws -> [Double] {
        let binding = try Binding(
            base: Checkpoint.open(directory.path("base.safetensors")),
            adapters: [Adapter(path: directory.path("adapter.safetensors"))], options: options)
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out.safetensors")).run()
        let result = try Checkpoint.open(directory.path("out.safetensors"))
        let report = try Verifier(
            binding: binding, result: result, dtype: nil, convertsAllDTypes: false, maxULP: 0, jobs: 1, probes: 2).run()
        #expect(report.isEquivalent)
        return try Conversion.widened(result.read(#require(result["layer.weight"])), as: .f32, count: rows * columns)
    }

    @Test(arguments: [true, false]) func updateFollowsTheOrientation(textbook: Bool) throws {
        let directory = try TemporaryDirectory()
        try files(directory, textbook: textbook)
        let result = try merged(
            directory, BindingOptions(orientation: textbook ? .inOut : .outIn, scale: 3))
        let w = SmallTensor.numbers(rows * columns, seed: 1)
        // Textbook: A (in, r)·B (r, out); PEFT: B (out, r)·A (r, in). Either way (rows, r)·(r, columns).
        let left = SmallTensor.numbers(rows * rank, seed: textbook ? 2 : 3)
        let right = SmallTensor.numbers(rank * columns, seed: textbook ? 3 : 2)
        for i in 0..<rows {
            for j in 0..<columns {
                var sum = 0.0
                for k in 0..<rank { sum += left[i * rank + k] * right[k * columns + j] }
                #expect(result[i * columns + j] == w[i * columns + j] + 3 * sum)
            }
        }
    }

    @Test func withoutScaleOrWithTheWrongOrientationItIsRefused() throws {
        let directory = try TemporaryDirectory()
        try files(directory, textbook: true)
        let missing = #expect(throws: PeftfileError.self) {
            _ = try self.merged(directory, BindingOptions(orientation: .inOut))
        }
        #expect(missing?.rule == "ConfigMissing")
        let turned = #expect(throws: PeftfileError.self) {
            _ = try self.merged(directory, BindingOptions(orientation: .outIn, scale: 1))
        }
        #expect(turned?.rule == "RankMismatch" || turned?.rule == "ShapeMismatch")
        #expect(try directory.names() == ["adapter.safetensors", "base.safetensors"])
    }
}
