import Adapters
import Checkpoints
import Tensors

/// Panels of quantised weights: codes in, float64 values, one rounding.
extension RecipeEvaluator {
    /// The panel of a weight that is only dequantised, or merged by the fused kernel; nil where it takes the general steps.
    ///
    /// The kernel gives the bits of those steps.
    func dequantisedPanel(rows: Range<Int>) throws -> Panel? {
        guard recipe.isDequantised else { return nil }
        let update = try fusedUpdate()
        guard update != nil || !recipe.changesValues else { return nil }
        let (checkpoint, tensor) = try source()
        let size = recipe.columns * (recipe.dtype.bits / 8)
        let step = dequantisedRows(of: tensor, in: checkpoint)
        var statistics = UpdateStatistics()
        let bytes = try [UInt8](unsafeUninitializedCapacity: rows.count * size) { result, initialized in
            try withUnsafeTemporaryAllocation(of: Double.self, capacity: min(step, rows.count) * recipe.columns) { numbers in
                for start in stride(from: rows.lowerBound, to: rows.upperBound, by: step) {
                    let part = start..<min(rows.upperBound, start + step)
                    let values = UnsafeMutableBufferPointer(rebasing: numbers[..<(part.count * recipe.columns)])
                    try checkpoint.read(tensor, at: UInt64(start * recipe.columns * 8), into: UnsafeMutableRawBufferPointer(values))
                    let place = ((start - rows.lowerBound) * size)..<((part.upperBound - rows.lowerBound) * size)
                    let target = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(result)[place])
                    try statistics.add(round(UnsafeBufferPointer(values), rows: part, update, into: target))
                }
            }
            initialized = rows.count * size
        }
        return Panel(bytes: bytes, statistics: statistics)
    }

    /// Rows of a dequantised weight, updated where there is an update, and rounded.
    private func round(
        _ values: UnsafeBufferPointer<Double>, rows: Range<Int>, _ update: FusedUpdate?, into target: UnsafeMutableRawBufferPointer
    ) throws -> UpdateStatistics {
        guard let update else {
            try Conversion.narrow(values, to: recipe.dtype, into: target)
            return UpdateStatistics()
        }
        return try update.left.withRows(rows) { left in
            UpdateStatistics(update.kernel.mergePanel(
                values: values, dtype: recipe.dtype, left: left, rows: rows.count, scale: update.scale, into: target))
        }
    }

    /// Rows that are dequantised and rounded together: so few that their float64 numbers stay in a core's own cache, and whole bands
    /// of the kernel or what the weight reads at once.
    private func dequantisedRows(of tensor: StoredTensor, in checkpoint: Checkpoint) -> Int {
        let unit = max(checkpoint.rowsReadTogether(tensor), 6)
        return max(1, (1 << 16) / max(1, recipe.columns) / unit) * unit
    }
}
