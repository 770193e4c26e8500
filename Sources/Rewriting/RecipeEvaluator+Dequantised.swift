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
        var statistics = UpdateStatistics()
        let step = dequantisedRows(of: tensor, in: checkpoint)
        var values = [Double](repeating: 0, count: min(step, rows.count) * recipe.columns)
        let bytes = try [UInt8](unsafeUninitializedCapacity: rows.count * size) { result, initialized in
            for start in stride(from: rows.lowerBound, to: rows.upperBound, by: step) {
                let part = start..<min(rows.upperBound, start + step)
                let place = ((start - rows.lowerBound) * size)..<((part.upperBound - rows.lowerBound) * size)
                let target = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(result)[place])
                try values.withUnsafeMutableBufferPointer { buffer in
                    let values = UnsafeMutableBufferPointer(rebasing: buffer[..<(part.count * recipe.columns)])
                    try checkpoint.read(tensor, at: UInt64(start * recipe.columns * 8), into: UnsafeMutableRawBufferPointer(values))
                    guard let update else { return try Conversion.narrow(UnsafeBufferPointer(values), to: recipe.dtype, into: target) }
                    let figures = update.left.withRows(part) { left in
                        update.kernel.mergePanel(
                            values: UnsafeBufferPointer(values), dtype: recipe.dtype, left: left, rows: part.count,
                            scale: update.scale, into: target)
                    }
                    statistics.add(UpdateStatistics(figures))
                }
            }
            initialized = rows.count * size
        }
        return Panel(bytes: bytes, statistics: statistics)
    }

    /// Rows that are dequantised and rounded together: so few that their float64 numbers stay in a core's own cache, and whole bands
    /// of the kernel or what the weight reads at once.
    private func dequantisedRows(of tensor: StoredTensor, in checkpoint: Checkpoint) -> Int {
        let unit = max(checkpoint.rowsReadTogether(tensor), 6)
        return max(1, (1 << 16) / max(1, recipe.columns) / unit) * unit
    }
}
