import Adapters
import ByteAccess
import Tensors

extension RewritePlan {
    /// Bytes of the base that ``changes(jobs:progress:)`` reads.
    public var changedBytes: UInt64 { changedTensors.reduce(0) { $0 + $1.info.byteCount } }

    /// Tensors of the base with an update; those that are copied, or replaced whole by an adapter's, have none.
    private var changedTensors: [Tensor] { Array(files.lazy.flatMap(\.tensors).filter(\.recipe.changesValues)) }

    /// Computes what the merge would compute and writes nothing: how far each tensor would change.
    ///
    /// - Parameter progress: called with bytes that have just been done, from any thread.
    /// - Throws: what reading the base and the adapters throws; `.refused` where the arithmetic of a method has no result, for example
    ///   with rule `SingularMatrix` or `DecompositionFinite`; `.library` where it takes a decomposition and OpenBLAS is not
    ///   installed; `.interrupted` where a signal came.
    public func changes(jobs: Int, progress: (@Sendable (UInt64) -> Void)? = nil) throws -> [WeightChange] {
        try measure(jobs: jobs, progress) { evaluator, rows in try evaluator.panel(rows: rows).statistics }
    }

    /// The same after the merge has run: the receipt has the updates, so that only the base is read once more for its norms.
    ///
    /// - Throws: what reading the tensors that change throws; `.interrupted` where a signal came.
    public func changes(
        of receipt: Receipt, jobs: Int, progress: (@Sendable (UInt64) -> Void)? = nil
    ) throws -> [WeightChange] {
        var changes = try measure(jobs: jobs, progress) { _, _ in UpdateStatistics() }
        let known = receipt.statistics
        for index in changes.indices {
            if let statistics = known[changes[index].name] { changes[index].statistics = statistics }
        }
        return changes
    }

    private func measure(
        jobs: Int, _ progress: (@Sendable (UInt64) -> Void)?,
        _ statistics: @Sendable (RecipeEvaluator, Range<Int>) throws -> UpdateStatistics
    ) throws -> [WeightChange] {
        let numbers = AdapterNumbers(adapters: binding.adapters, base: binding.base)
        return try changedTensors.map { tensor in
            let recipe = tensor.recipe
            let evaluator = RecipeEvaluator(
                recipe: recipe, base: binding.base, adapters: binding.adapters, numbers: numbers)
            let step = Panels.rows(of: recipe)
            let starts = Array(stride(from: 0, to: recipe.rows, by: step))
            // Summed in order, so that the sums are the same for every number of workers.
            let parts = Mutex([(squares: Double, statistics: UpdateStatistics)](repeating: (0, .init()), count: starts.count))
            try parallelForEach(count: starts.count, jobs: jobs) { index in
                let rows = starts[index]..<min(starts[index] + step, recipe.rows)
                let part = (try evaluator.sourceSquares(rows: rows), try statistics(evaluator, rows))
                parts.withLock { $0[index] = part }
                progress?(UInt64(rows.count) * (tensor.info.byteCount / UInt64(max(1, recipe.rows))))
            }
            var (squares, total) = (0.0, UpdateStatistics())
            for part in parts.withLock({ $0 }) {
                squares += part.squares
                total.add(part.statistics)
            }
            return WeightChange(
                name: tensor.info.name, dtype: tensor.info.dtype, elements: tensor.info.elementCount,
                baseNorm: squares.squareRoot(), statistics: total)
        }
    }
}

extension RecipeEvaluator {
    /// The sum of the squares of the source's elements in some rows.
    fileprivate func sourceSquares(rows: Range<Int>) throws -> Double {
        let values = try Conversion.widened(
            sourceBytes(rows: rows), as: recipe.sourceDType, count: rows.count * recipe.columns)
        var sums = [Double](repeating: 0, count: recipe.columns)
        values.withUnsafeBufferPointer { values in
            sums.withUnsafeMutableBufferPointer {
                Kernels.addSquares(of: values, rows: rows.count, rowStride: recipe.columns, to: $0)
            }
        }
        return sums.reduce(0, +)
    }
}
