internal import CKernels

/// Arithmetic on row-major float64 matrices that the bytes of a merge depend on.
///
/// Every function states its operations and roundings; all forms (`KernelPath`) give the same bits. Buffers that are
/// too small for the stated shapes are a mistake of the caller and stop the program; shapes that come from a file are
/// checked before they get here.
public enum Kernels {
    /// Adds a scaled product of rank r, the update of LoRA, in the order that defines it. For each i < m and j < n:
    ///
    ///     acc = +0;  for k in 0..<r { acc = fma(left[i, k], right[k, j], acc) }
    ///     result[i, j] = result[i, j] + (scale * acc)
    ///
    /// One rounding in each fma, one in the product with `scale`, one in the sum: `W + scale * (left right)`. A NaN
    /// result is the canonical quiet NaN. With r = 0 the sum is still made, so that -0 becomes +0 (for `scale` > 0).
    ///
    /// Source: the definition of a merged element; LoRA is E. Hu et al., arXiv:2106.09685, section 4.1.
    ///
    /// - Parameters:
    ///   - left: m x r, dense.
    ///   - right: r x n, dense.
    ///   - rows: m.
    ///   - rank: r.
    ///   - columns: n.
    ///   - scale: the factor of the product, `lora_alpha / r` for LoRA.
    ///   - result: m x n, row i starting at `i * rowStride`; it overlaps neither factor.
    ///   - rowStride: elements from one row of `result` to the next, at least n.
    public static func addLowRank(
        left: UnsafeBufferPointer<Double>, right: UnsafeBufferPointer<Double>, rows: Int, rank: Int, columns: Int,
        scale: Double, into result: UnsafeMutableBufferPointer<Double>, rowStride: Int
    ) {
        addLowRank(
            left: left, right: right, rows: rows, rank: rank, columns: columns, scale: scale, into: result,
            rowStride: rowStride, by: .active)
    }

    /// `addLowRank` by a chosen form of the kernel.
    static func addLowRank(
        left: UnsafeBufferPointer<Double>, right: UnsafeBufferPointer<Double>, rows: Int, rank: Int, columns: Int,
        scale: Double, into result: UnsafeMutableBufferPointer<Double>, rowStride: Int, by path: KernelPath
    ) {
        precondition(rows >= 0 && rank >= 0 && columns >= 0 && rowStride >= columns, "negative or overlapping rows")
        guard rows > 0, columns > 0, let to = result.baseAddress else { return }
        precondition(left.count >= rows * rank && right.count >= rank * columns, "a factor is smaller than its shape")
        precondition(result.count >= (rows - 1) * rowStride + columns, "the result is smaller than its shape")
        // With rank 0 the factors may be empty buffers without an address; the kernel then reads neither.
        ck_add_low_rank(
            path.path, left.baseAddress ?? UnsafePointer(to), right.baseAddress ?? UnsafePointer(to), rows, rank,
            columns, scale, to, rowStride)
    }

    /// The step of an elimination: for k = 0 ..< depth, `result[i, j]` becomes fma(−left[i, k], right[k, j], result[i, j]).
    ///
    /// - Parameters:
    ///   - left: rows × depth, row i starting at `i * leftStride`.
    ///   - right: depth × columns, dense.
    ///   - result: rows × columns, row i starting at `i * rowStride`; it overlaps neither factor.
    public static func subtractProduct(
        left: UnsafeBufferPointer<Double>, leftStride: Int, right: UnsafeBufferPointer<Double>, rows: Int, depth: Int,
        columns: Int, from result: UnsafeMutableBufferPointer<Double>, rowStride: Int
    ) {
        subtractProduct(
            left: left, leftStride: leftStride, right: right, rows: rows, depth: depth, columns: columns, from: result,
            rowStride: rowStride, by: .active)
    }

    /// `subtractProduct` by a chosen form of the kernel.
    static func subtractProduct(
        left: UnsafeBufferPointer<Double>, leftStride: Int, right: UnsafeBufferPointer<Double>, rows: Int, depth: Int,
        columns: Int, from result: UnsafeMutableBufferPointer<Double>, rowStride: Int, by path: KernelPath
    ) {
        precondition(leftStride >= depth && rowStride >= columns && depth >= 0, "negative or overlapping rows")
        guard rows > 0, depth > 0, columns > 0, let a = left.baseAddress, let b = right.baseAddress, let to = result.baseAddress
        else { return }
        precondition(left.count >= (rows - 1) * leftStride + depth && right.count >= depth * columns, "a factor is too small")
        precondition(result.count >= (rows - 1) * rowStride + columns, "the result is smaller than its shape")
        ck_subtract_product(path.path, a, leftStride, b, rows, depth, columns, to, rowStride)
    }

    /// DoRA's magnitudes on whole rows, in place: each row of V becomes V * (m / ||V||), the norm's squares summed by
    /// fused multiply-add in column order.
    ///
    /// - Parameters:
    ///   - values: the rows of V, the first at 0 and each `rowStride` further on.
    ///   - magnitudes: m, one for each row.
    public static func scaleRows(
        _ values: UnsafeMutableBufferPointer<Double>, columns: Int, rowStride: Int,
        magnitudes: UnsafeBufferPointer<Double>
    ) {
        precondition(columns >= 0 && rowStride >= columns, "negative or overlapping rows")
        guard let from = magnitudes.baseAddress, let to = values.baseAddress, !magnitudes.isEmpty else { return }
        precondition(values.count >= (magnitudes.count - 1) * rowStride + columns, "smaller than its shape")
        ck_scale_rows(KernelPath.active.path, to, magnitudes.count, columns, rowStride, from)
    }

    /// Adds the squares of some rows to those of the columns: squares[j] = fma(v, v, squares[j]) for v down column j.
    ///
    /// - Parameters:
    ///   - values: the rows, the first at 0 and each `rowStride` further on.
    ///   - squares: one for each column.
    public static func addSquares(
        of values: UnsafeBufferPointer<Double>, rows: Int, rowStride: Int, to squares: UnsafeMutableBufferPointer<Double>
    ) {
        addSquares(of: values, rows: rows, rowStride: rowStride, to: squares, by: .active)
    }

    /// `addSquares` by a chosen form of the kernel.
    static func addSquares(
        of values: UnsafeBufferPointer<Double>, rows: Int, rowStride: Int, to squares: UnsafeMutableBufferPointer<Double>,
        by path: KernelPath
    ) {
        precondition(rows >= 0 && rowStride >= squares.count, "negative or overlapping rows")
        guard rows > 0, let from = values.baseAddress, let to = squares.baseAddress else { return }
        precondition(values.count >= (rows - 1) * rowStride + squares.count, "smaller than its shape")
        ck_add_squares(path.path, from, rows, squares.count, rowStride, to)
    }

    /// Multiplies each column by its factor, in place.
    public static func scaleColumns(
        _ values: UnsafeMutableBufferPointer<Double>, rows: Int, rowStride: Int, factors: UnsafeBufferPointer<Double>
    ) {
        precondition(rows >= 0 && rowStride >= factors.count, "negative or overlapping rows")
        guard rows > 0, let to = values.baseAddress, let factors = factors.baseAddress.map({ ($0, factors.count) }) else {
            return
        }
        precondition(values.count >= (rows - 1) * rowStride + factors.1, "smaller than its shape")
        ck_scale_columns(to, rows, factors.1, rowStride, factors.0)
    }

    /// What rounding left of some elements: W, the exact result, and what is stored of it.
    public static func tally(
        original: UnsafeBufferPointer<Double>, exact: UnsafeBufferPointer<Double>, stored: UnsafeBufferPointer<Double>
    ) -> PanelStatistics {
        precondition(original.count == exact.count && exact.count == stored.count, "lists of different length")
        guard let w = original.baseAddress, let v = exact.baseAddress, let s = stored.baseAddress else {
            return PanelStatistics()
        }
        var tally = ck_low_rank_tally()
        ck_tally_updates(w, v, s, original.count, &tally)
        return PanelStatistics(tally)
    }

    /// `result[j, i] = source[i, j]`.
    ///
    /// - Parameters:
    ///   - source: rows x columns, dense.
    ///   - result: columns x rows, dense; it does not overlap `source`.
    public static func transpose(
        _ source: UnsafeBufferPointer<Double>, rows: Int, columns: Int,
        into result: UnsafeMutableBufferPointer<Double>
    ) {
        precondition(rows >= 0 && columns >= 0, "negative shape")
        precondition(source.count >= rows * columns && result.count >= rows * columns, "smaller than its shape")
        guard let from = source.baseAddress, let to = result.baseAddress else { return }
        ck_transpose(from, rows, columns, to)
    }

    /// The transpose of a rows x columns matrix.
    public static func transposed(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        [Double](unsafeUninitializedCapacity: rows * columns) { result, count in
            matrix.withUnsafeBufferPointer { transpose($0, rows: rows, columns: columns, into: result) }
            count = rows * columns
        }
    }

    /// Whether no element is NaN or infinite; true for an empty buffer.
    public static func allFinite(_ values: UnsafeBufferPointer<Double>) -> Bool {
        guard let from = values.baseAddress else { return true }
        return ck_all_finite(from, values.count)
    }
}
