import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors
import TestSupport
@testable import Verification

/// A base, an adapter and the recipes that join them, on disk in a directory of their own.
final class Scene {
    var base: [StoredValues] = []
    var adapter: [StoredValues] = []
    var recipes: [TensorRecipe] = []
    var random: SplitMix64
    private let directory: TemporaryDirectory
    private var opened: (base: Checkpoint, adapter: Adapter)?
    private var count = 0

    init(seed: UInt64 = 1) throws {
        random = SplitMix64(seed: seed)
        directory = try TemporaryDirectory()
    }

    func normal(_ count: Int, _ scale: Double = 1) -> [Double] {
        (0..<count).map { _ in
            (0..<4).reduce(0.0) { sum, _ in sum + Double.random(in: -1...1, using: &random) } * scale
        }
    }

    /// Adds a base tensor, copied unless its recipe is changed.
    @discardableResult
    func tensor(_ name: String, _ dtype: DType, _ shape: Shape, _ values: [Double]? = nil) throws -> Int {
        let values = values ?? normal(shape.elementCount ?? 0, 0.02)
        return add(try StoredValues(ExactString(name), dtype, shape, values))
    }

    @discardableResult
    func add(_ stored: StoredValues) -> Int {
        base.append(stored)
        recipes.append(
            TensorRecipe(
                name: stored.name, source: .base(stored.name), sourceDType: stored.dtype, dtype: stored.dtype,
                shape: stored.shape))
        return recipes.count - 1
    }

    /// Adds an adapter tensor and gives it as a factor.
    func factor(_ name: String, _ dtype: DType, _ shape: Shape, _ values: [Double]? = nil) throws -> Factor {
        let stored = try StoredValues(ExactString(name), dtype, shape, values ?? normal(shape.elementCount ?? 0, 0.1))
        adapter.append(stored)
        return Factor(adapter: 0, info: TensorInfo(name: ExactString(name), dtype: dtype, shape: shape, begin: 0, end: 0))
    }

    /// A low-rank term on a whole tensor or a region of it.
    func lowRank(
        _ index: Int, rank: Int, scale: Double, dtype: DType = .f32, region: Region? = nil, size: Double = 0.1
    ) throws {
        let recipe = recipes[index]
        let region = region ?? Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns)
        let number = adapter.count
        let left = try factor(
            "\(number).lora_B", dtype, [region.rows.count, rank], normal(region.rows.count * rank, size))
        let right = try factor(
            "\(number).lora_A", dtype, [rank, region.columns.count], normal(region.columns.count * rank, size))
        recipes[index].updates.append(
            .init(region: region, update: .lowRank(left: left, right: right, scale: scale)))
    }

    var merge: PlainMerge { PlainMerge(base: base, adapter: adapter) }

    func merged() throws -> [StoredValues] { try recipes.map { try merge.merged($0) } }

    private func inputs() throws -> (base: Checkpoint, adapter: Adapter) {
        if let opened { return opened }
        let adapter = adapter.isEmpty ? [try StoredValues("none", .f32, [1], [0])] : self.adapter
        let files = (
            try directory.write(try StoredValues.file(base), to: "base.safetensors"),
            try directory.write(try StoredValues.file(adapter), to: "adapter.safetensors"))
        let result = (base: try Checkpoint.open(files.0), adapter: try Adapter(path: files.1))
        opened = result
        return result
    }

    func source(_ recipe: TensorRecipe) throws -> SourceRows {
        let inputs = try inputs()
        return try SourceRows(recipe, base: inputs.base, adapters: [inputs.adapter])
    }

    func recomputation(_ index: Int) throws -> Recomputation {
        let source = try source(recipes[index])
        var prepared = try PreparedRecipe(recipes[index], source: source, numbers: AdapterNumbers(adapters: [try inputs().adapter]))
        for index in prepared.magnitudes.indices where prepared.magnitudes[index].axis == .columns {
            prepared.magnitudes[index].norms = try Recomputation(
                recipe: source.recipe, source: source, prepared: prepared
            ).columnNorms(of: prepared.magnitudes[index].region, step: 7)
        }
        return Recomputation(recipe: recipes[index], source: source, prepared: prepared)
    }

    /// Verifies a result that consists of `tensors`.
    func verify(
        _ tensors: [StoredValues], recipes: [TensorRecipe]? = nil, dtype: DType? = nil, all: Bool = false,
        maxULP: UInt64? = nil, jobs: Int = 1, probes: Int = 4, config: (changes: [Binding.ConfigChange], text: String)? = nil
    ) throws -> EquivalenceReport {
        let inputs = try inputs()
        count += 1
        let result: Checkpoint
        if let config {
            let inner = try TemporaryDirectory()
            try inner.write(try StoredValues.file(tensors), to: "model.safetensors")
            try inner.write(config.text, to: "config.json")
            result = try Checkpoint.open(inner.path)
            return try Verifier(
                recipes: recipes ?? self.recipes, base: inputs.base, adapters: [inputs.adapter],
                configChanges: config.changes, result: result, dtype: dtype, convertsAllDTypes: all, maxULP: maxULP,
                jobs: jobs, probes: probes
            ).run()
        }
        result = try Checkpoint.open(try directory.write(try StoredValues.file(tensors), to: "result\(count % 2).safetensors"))
        return try Verifier(
            recipes: recipes ?? self.recipes, base: inputs.base, adapters: [inputs.adapter], configChanges: [],
            result: result, dtype: dtype, convertsAllDTypes: all, maxULP: maxULP, jobs: jobs, probes: probes
        ).run()
    }
}

extension EquivalenceReport {
    subscript(name: ExactString) -> Tensor? { tensors.first { $0.name == name } }

    var failedProbes: [ExactString] {
        tensors.filter { if case .compared(_, let failures, _) = $0.probe { failures > 0 } else { false } }.map(\.name)
    }
    var mismatched: [ExactString] { tensors.filter { $0.mismatched > 0 }.map(\.name) }
}
