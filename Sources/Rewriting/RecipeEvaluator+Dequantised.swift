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
        let count = rows.count * recipe.columns
        let (checkpoint, tensor) = try source()
        let values = try [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
            let all = UnsafeMutableBufferPointer(rebasing: buffer[..<count])
            try checkpoint.read(tensor, at: UInt64(rows.lowerBound * recipe.columns * 8), into: UnsafeMutableRawBufferPointer(all))
            initialized = count
        }
        guard let update else { return Panel(bytes: try Conversion.narrowed(values, to: recipe.dtype)) }
        var figures = PanelStatistics()
        let size = count * (recipe.dtype.bits / 8)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { result, initialized in
            let result = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(result)[..<size])
            figures = update.left.withRows(rows) { left in
                values.withUnsafeBufferPointer { values in
                    update.kernel.mergePanel(
                        values: values, dtype: recipe.dtype, left: left, rows: rows.count, scale: update.scale, into: result)
                }
            }
            initialized = size
        }
        return Panel(bytes: bytes, statistics: UpdateStatistics(figures))
    }
}
