import Adapters
import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@testable import Verification

/// The updates of two adapters, against the dense products.
@Suite struct UpdateComparisonTests {
    private let directory: TemporaryDirectory
    private let prefix = "base_model.model.model.layers.0.q_proj"

    init() throws { directory = try TemporaryDirectory() }

    /// Writes an adapter.
    private func adapter(_ name: String, _ tensors: [StoredValues], _ config: String) throws -> DifferenceInput {
        try FileSystem.makeDirectory(directory.path(name), withParents: true)
        try directory.write(try StoredValues.file(tensors), to: "\(name)/adapter_model.safetensors")
        try directory.write(#"{"peft_type": "LORA", \#(config)}"#, to: "\(name)/adapter_config.json")
        return try DifferenceInput(path: directory.path(name))
    }

    /// One module with factors B (out, r) and A (r, in).
    private func module(
        _ b: [Double], _ a: [Double], rank: Int, dtype: DType = .f64, path: String? = nil, leaf: String = "weight"
    ) throws -> [StoredValues] {
        let path = path ?? prefix
        return [
            try StoredValues(ExactString("\(path).lora_A.\(leaf)"), dtype, [rank, a.count / rank], a),
            try StoredValues(ExactString("\(path).lora_B.\(leaf)"), dtype, [b.count / rank, rank], b),
        ]
    }

    private func compare(_ a: DifferenceInput, _ b: DifferenceInput) throws -> (CheckpointDifference, UpdateComparison) {
        let report = try CheckpointComparison(a, b, jobs: 2).run()
        return (report, try #require(report.updates))
    }

    @Test(arguments: [(24, 16, 4, 3), (2, 40, 4, 4), (5, 3, 2, 6), (300, 7, 1, 8), (4500, 12, 5, 5)])
    func figuresAreTheDenseProducts(_ rows: Int, _ columns: Int, _ r1: Int, _ r2: Int) throws {
        var random = SplitMix64(seed: UInt64(rows))
        let (b1, a1) = (random.doubles(rows * r1), random.doubles(r1 * columns))
        let (b2, a2) = (random.doubles(rows * r2), random.doubles(r2 * columns))
        let left = try adapter("a", module(b1, a1, rank: r1), #""r": \#(r1), "lora_alpha": 8"#)
        let right = try adapter("b", module(b2, a2, rank: r2), #""r": \#(r2), "lora_alpha": 3"#)
        let (report, updates) = try compare(left, right)
        let found = try #require(updates.modules.first)
        let x = PlainProduct(b: b1, a: a1, rank: r1, scale: 8 / Double(r1))
        let y = PlainProduct(b: b2, a: a2, rank: r2, scale: 3 / Double(r2))
        func near(_ value: Double?, _ wanted: Double, _ tolerance: Double = 1e-11) -> Bool {
            value.map { abs($0 - wanted) <= tolerance * max(1, abs(wanted)) } ?? false
        }
        #expect(near(found.normInA, x.norm) && near(found.normInB, y.norm))
        #expect(near(found.relativeDifference, x.distance(to: y) / x.norm))
        #expect(near(found.cos, x.cosine(to: y)))
        #expect(near(found.columnOverlap, x.overlap(with: y, ofColumns: true), 1e-9))
        #expect(near(found.rowOverlap, x.overlap(with: y, ofColumns: false), 1e-9))
        #expect(!found.isEquivalent && !updates.isEquivalent && !report.isEqual)
        #expect(found.rankInA == r1 && found.scaleInB == 3 / Double(r2))
    }

    /// B·G and G⁻¹·A with G = diagonal times a rotation of neighbours; then stored in each type.
    @Test(arguments: [DType.f64, .f32, .f16, .bf16]) func otherFactorsOfOneProductAreEquivalent(_ dtype: DType) throws {
        var random = SplitMix64(seed: 21)
        let (rows, columns, rank) = (96, 64, 4)
        let (b, a) = (random.doubles(rows * rank), random.doubles(rank * columns))
        var (turnedB, turnedA) = (b, a)
        let (c, s) = (0.6, 0.8)
        for k in stride(from: 0, to: rank, by: 2) {
            for i in 0..<rows {
                let (x, y) = (b[i * rank + k], b[i * rank + k + 1])
                turnedB[i * rank + k] = 3 * (c * x - s * y)
                turnedB[i * rank + k + 1] = 0.7 * (s * x + c * y)
            }
            for j in 0..<columns {
                let (x, y) = (a[k * columns + j], a[(k + 1) * columns + j])
                turnedA[k * columns + j] = (c * x - s * y) / 3
                turnedA[(k + 1) * columns + j] = (s * x + c * y) / 0.7
            }
        }
        let config = #""r": 4, "lora_alpha": 16"#
        let (report, updates) = try compare(
            adapter("a", module(b, a, rank: rank, dtype: dtype), config),
            adapter("b", module(turnedB, turnedA, rank: rank, dtype: dtype), config))
        #expect(updates.isEquivalent)
        // The tensors decide: the adapters are not equal, though they do the same.
        #expect(!report.isEqual && report.changed.count == 2)
        let found = try #require(updates.modules.first)
        #expect(found.columnOverlap.map { $0 > 0.999 } == true && found.rowOverlap.map { $0 > 0.999 } == true)
        // A difference of ten times the allowance is seen.
        let moved = turnedB.map { $0 * (1 + 10 * (found.rounding ?? 0)) }
        let (_, other) = try compare(
            adapter("a", module(b, a, rank: rank, dtype: dtype), config),
            adapter("c", module(moved, turnedA, rank: rank, dtype: dtype), config))
        #expect(!other.isEquivalent)
    }

    @Test func padsOfZeroRankAreEquivalent() throws {
        var random = SplitMix64(seed: 22)
        let (b, a) = (random.doubles(20 * 2), random.doubles(2 * 10))
        let wideB: [Double] = (0..<20).flatMap { row in [b[2 * row], b[2 * row + 1], 0.0] }
        let (_, updates) = try compare(
            adapter("a", module(b, a, rank: 2), #""r": 2, "lora_alpha": 4"#),
            adapter("b", module(wideB, a + random.doubles(10), rank: 3), #""r": 3, "lora_alpha": 6"#))
        #expect(updates.isEquivalent)
        #expect(updates.modules.first?.columnOverlap.map { abs($0 - 1) < 1e-12 } == true)
    }

    @Test func anotherScaleIsAnotherAdapter() throws {
        var random = SplitMix64(seed: 23)
        let tensors = try module(random.doubles(12), random.doubles(10), rank: 2)
        let a = try adapter("a", tensors, #""r": 2, "lora_alpha": 4"#)
        let (report, updates) = try compare(a, adapter("b", tensors, #""r": 2, "lora_alpha": 6"#))
        #expect(report.hasEqualTensors && !report.isEqual)
        #expect(updates.modules.first?.relativeDifference == 0.5)
        #expect(report.notes.map(\.key) == ["lora_alpha"])
        // The same scale in other words, and keys without effect, are notes.
        let (same, _) = try compare(a, adapter("c", tensors, #""r": 2, "lora_alpha": 4.0, "inference_mode": true"#))
        #expect(same.isEqual && same.notes.map(\.key) == ["inference_mode"])
        // An update of zero is the same at any scale.
        let zero = try module([Double](repeating: 0, count: 12), random.doubles(10), rank: 2)
        let (untrained, _) = try compare(
            adapter("d", zero, #""r": 2, "lora_alpha": 4"#), adapter("e", zero, #""r": 2, "lora_alpha": 6"#))
        #expect(untrained.isEqual)
        let (method, _) = try compare(a, adapter("f", tensors, #""r": 2, "lora_alpha": 4, "use_dora": true"#))
        #expect(!method.isEqual && method.updates?.methodsDiffer == true)
    }

    @Test func modulesAreMatchedByWhatTheirNamesMean() throws {
        var random = SplitMix64(seed: 24)
        let (b, a) = (random.doubles(12), random.doubles(10))
        let config = #""r": 2, "lora_alpha": 4"#
        let left = try adapter("a", module(b, a, rank: 2), config)
        let (report, updates) = try compare(
            left, adapter("b", module(b, a, rank: 2, path: "module.\(prefix)", leaf: "default.weight"), config))
        #expect(report.renamed.count == 2 && report.removed.isEmpty && report.added.isEmpty && report.changed.isEmpty)
        #expect(!report.isEqual && updates.isEquivalent)
        let (other, elsewhere) = try compare(
            left, adapter("c", module(b, a, rank: 2, path: "base_model.model.model.layers.1.q_proj"), config))
        #expect(elsewhere.onlyInA == ["model.layers.0.q_proj"] && elsewhere.onlyInB == ["model.layers.1.q_proj"])
        #expect(!elsewhere.isEquivalent && other.removed.count == 2 && other.added.count == 2)
    }

    @Test func otherTensorsCountToo() throws {
        var random = SplitMix64(seed: 25)
        let factors = try module(random.doubles(12), random.doubles(10), rank: 2)
        let config = #""r": 2, "lora_alpha": 4, "modules_to_save": ["lm_head"]"#
        func head(_ value: Double) throws -> StoredValues {
            try StoredValues("base_model.model.lm_head.weight", .f32, [1, 1], [value])
        }
        let (_, updates) = try compare(
            adapter("a", factors + [head(1)], config), adapter("b", factors + [head(2)], config))
        #expect(updates.hasOtherDifferences && !updates.isEquivalent)
        #expect(updates.modules.allSatisfy { $0.isEquivalent })
    }

    @Test func whatCannotBeComparedIsNamed() throws {
        var random = SplitMix64(seed: 26)
        let config = #""r": 2, "lora_alpha": 4"#
        var broken = random.doubles(12)
        let factor = random.doubles(10)
        let whole = try adapter("a", module(broken, factor, rank: 2), config)
        broken[3] = .nan
        let (_, nan) = try compare(whole, adapter("b", module(broken, factor, rank: 2), config))
        #expect(nan.skipped.map(\.name) == ["model.layers.0.q_proj"] && !nan.isEquivalent)
    }

    /// Every adapter of the real library that stores low-rank factors: against itself, and with one factor's rows negated
    /// along with the columns of the other, which is the same update in other tensors.
    @Test(arguments: ["lora-moe-target-params", "lora-bdlora", "lora-embedding", "lora-conv2d", "lora-kasa", "dora-gpt2"])
    func realAdaptersWithTurnedSignsAreEquivalent(_ name: String) throws {
        let path = Fixtures.path("merge/\(name)/adapter")
        let adapter = try Adapter(path: path)
        let turned = try adapter.checkpoint.tensors.map { tensor in
            var values = try Conversion.widened(try adapter.checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            if tensor.name.text.contains("lora_A") || tensor.name.text.contains("lora_B.weight")
                || tensor.name.text.contains("lora_embedding")
            {
                values = values.map { -$0 }
            }
            return try StoredValues(tensor.name, tensor.dtype, tensor.shape, values)
        }
        _ = try self.adapter("turned", turned, #""x": 1"#)
        try directory.write(try TestFile.bytes("\(path)/adapter_config.json"), to: "turned/adapter_config.json")
        let (report, updates) = try compare(
            DifferenceInput(path: path), DifferenceInput(path: directory.path("turned")))
        #expect(updates.reason == nil && updates.isEquivalent && !updates.modules.isEmpty)
        #expect(updates.modules.allSatisfy { !$0.hasSameFactors && $0.relativeDifference ?? 1 < 1e-14 })
        #expect(!report.isEqual && report.changed.count >= 2)
    }
}
