internal import CKernels

/// The rank-r update of LoRA, fused: stored elements in, stored elements out, one rounding.
///
/// For each i < m and j < n, in float64 with a rounding in each operation, and then one rounding to the dtype:
///
///     acc = +0;  for k in 0..<r { acc = fma(left[i, k], right[k, j], acc) }
///     result[i, j] = round(W[i, j] + scale * acc)
///
/// These are the bits of `Conversion.widen`, `Kernels.addLowRank` and `Conversion.narrow` one after the other, from
/// every form of the kernel, a NaN result being the canonical one. BF16 and F16 are computed in float32 where a derived
/// bound of its error (Sources/CKernels/low_rank_bounds.h) shows that the rounding cannot fall otherwise, and in
/// float64 where it does not; F32, and factors that are not float32 numbers, in float64.
///
/// Source: the definition of a merged element; LoRA is E. Hu et al., arXiv:2106.09685, section 4.1. The test of the
/// rounding is A. Ziv's, ACM Trans. Math. Software 17 (1991).
public struct LowRankKernel: Sendable {
    /// r, the columns of `left`.
    public let rank: Int
    /// The columns of the matrix.
    public let columns: Int

    /// The right factor in tiles of 16 columns: as float32 if every element is such a number, else as float64.
    private let narrow: [Float]
    private let wide: [Double]
    /// With `narrow` and from rank `linesFrom` on: the columns one after the other, for elements computed alone.
    private let lines: [Float]
    /// A bound of each column's norm, and whether the bounds are small enough to be of use.
    private let bounds: [Float]
    private let decides: Bool
    private let fits: Bool

    /// Below this rank a column spans so few cache lines of the tiles that a copy of the factor does not pay.
    private static let linesFrom = 33
    /// Elements that are packed at a time.
    private static let partElements = 1 << 17

    /// Packs the right factor, once for all panels of a tensor. The kernel keeps no reference to `right`.
    ///
    /// - Parameters:
    ///   - right: r x n, dense.
    ///   - rank: r.
    ///   - columns: n.
    public init(right: [Double], rank: Int, columns: Int) {
        precondition(rank >= 0 && columns >= 0 && right.count >= rank * columns, "the factor is smaller than its shape")
        self.init(rank: rank, columns: columns) { part in
            (0..<rank).flatMap { right[($0 * columns + part.lowerBound)..<($0 * columns + part.upperBound)] }
        }
    }

    /// Packs the right factor some columns at a time, so that it is never held whole in float64 if float32 has its numbers.
    ///
    /// - Parameters:
    ///   - rank: r.
    ///   - columns: n.
    ///   - part: the elements of some columns, r x their number, dense; it is asked for all columns in order, and where they turn out
    ///     not to be float32 numbers, for all of them once more.
    /// - Throws: what `part` throws.
    public init(rank: Int, columns: Int, part: (Range<Int>) throws -> [Double]) rethrows {
        precondition(rank >= 0 && columns >= 0 && columns < 1 << 32, "a shape that no matrix has")
        self.rank = rank
        self.columns = columns
        let packedColumns = ck_low_rank_packed_columns(columns)
        let count = packedColumns * rank
        func forEachPart(_ body: (Int, Int, UnsafePointer<Double>) -> Bool) throws {
            let step = max(1, Self.partElements / max(1, rank) / Int(CK_LOW_RANK_TILE)) * Int(CK_LOW_RANK_TILE)
            for first in stride(from: 0, to: rank > 0 ? columns : 0, by: step) {
                let width = min(step, columns - first)
                let values = try part(first..<(first + width))
                precondition(values.count == rank * width, "a part of the factor is not of its shape")
                let goesOn = values.withUnsafeBufferPointer { values in values.baseAddress.map { body(first, width, $0) } ?? true }
                guard goesOn else { return }
            }
        }
        var bounds = [Float](repeating: 0, count: packedColumns)
        var lines = [Float](repeating: 0, count: rank >= Self.linesFrom ? rank * columns : 0)
        // Without a rank there is nothing to pack, and every bound is zero.
        var (fits, decides) = (true, true)
        narrow = try [Float](unsafeUninitializedCapacity: count) { packed, initialized in
            try bounds.withUnsafeMutableBufferPointer { bounds in
                try lines.withUnsafeMutableBufferPointer { lines in
                    try forEachPart { first, width, from in
                        fits = ck_low_rank_fits(from, rank * width)
                        guard fits, let to = packed.baseAddress, let bounds = bounds.baseAddress else { return false }
                        decides = ck_low_rank_pack_narrow(from, rank, width, to + first * rank, bounds + first) && decides
                        if let lines = lines.baseAddress, rank >= Self.linesFrom {
                            ck_low_rank_pack_lines(from, rank, width, lines + first * rank)
                        }
                        return true
                    }
                }
            }
            initialized = fits ? count : 0
        }
        self.fits = fits
        self.decides = fits && decides
        self.bounds = fits ? bounds : []
        self.lines = fits ? lines : []
        wide = fits ? [] : try [Double](unsafeUninitializedCapacity: count) { packed, initialized in
            try forEachPart { first, width, from in
                if let to = packed.baseAddress { ck_low_rank_pack_wide(from, rank, width, to + first * rank) }
                return true
            }
            initialized = count
        }
    }

    /// The types of elements that `mergePanel` takes.
    public static func supports(_ dtype: DType) -> Bool {
        switch dtype {
        case .bf16, .f16, .f32: true
        default: false
        }
    }

    /// Merges a panel of rows.
    ///
    /// With magnitudes, the panel holds whole rows of V = W + scale * left right, and each becomes V * (m / ||V||) as
    /// DoRA has it (S. Liu et al., arXiv:2402.09353): with V in float64 as above but not rounded,
    ///
    ///     s = +0;  for j in 0..<n { s = fma(V[i, j], V[i, j], s) }
    ///     result[i, j] = round(V[i, j] * (magnitudes[i] / sqrt(s)))
    ///
    /// These are the bits of `Kernels.scaleRows` between the steps named above.
    ///
    /// - Parameters:
    ///   - source: W, m x n elements, dense and little-endian, at any address.
    ///   - dtype: the type of the elements of `source` and `result`, one that `supports` names.
    ///   - left: m x r, dense: the rows of the left factor that belong to the panel.
    ///   - rows: m.
    ///   - scale: the factor of the product, `lora_alpha / r` for LoRA.
    ///   - magnitudes: one for each row, or nil.
    ///   - result: m x n elements; it may be `source` itself and overlaps it in no other way.
    /// - Returns: what the panel came to; the same counts from every form of the kernel and every division into panels.
    ///   With magnitudes an element counts as updated where its result, before it is rounded, is not W's.
    public func mergePanel(
        source: UnsafeRawBufferPointer, dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, scale: Double,
        magnitudes: UnsafeBufferPointer<Double>? = nil, into result: UnsafeMutableRawBufferPointer
    ) -> PanelStatistics {
        mergePanel(
            source: source, dtype: dtype, left: left, rows: rows, scale: scale, magnitudes: magnitudes, into: result,
            by: .active)
    }

    /// Merges a panel of rows of W in float64, as dequantised weights are: result[i, j] = round(W[i, j] + scale * acc), with acc as
    /// above and one rounding from float64 to the dtype.
    ///
    /// - Parameters:
    ///   - values: W, m x n elements, dense.
    ///   - dtype: the type of the elements of `result`, one that `supports` names.
    ///   - result: m x n elements; it does not overlap `values`.
    /// - Returns: what the panel came to. What is stored is held against W rounded to float32 and then to `dtype`: a dequantised
    ///   weight is rounded whatever the update is, and that is no loss of the update.
    public func mergePanel(
        values: UnsafeBufferPointer<Double>, dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, scale: Double,
        into result: UnsafeMutableRawBufferPointer
    ) -> PanelStatistics {
        mergePanel(values: values, dtype: dtype, left: left, rows: rows, scale: scale, into: result, by: .active)
    }

    /// `mergePanel` by a chosen form of the kernel.
    func mergePanel(
        values: UnsafeBufferPointer<Double>, dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, scale: Double,
        into result: UnsafeMutableRawBufferPointer, by path: KernelPath
    ) -> PanelStatistics {
        precondition(values.count == rows * columns, "a panel is not of its shape")
        guard let from = values.baseAddress else { return PanelStatistics() }
        return withPanel(dtype: dtype, left: left, rows: rows, result: result, scratch: ck_low_rank_scratch(rank, rows)) {
            ck_low_rank_merge_f64(path.path, $0, $1, $2, rows, scale, from, $3, $4, $5)
        }
    }

    /// `mergePanel` by a chosen form of the kernel.
    func mergePanel(
        source: UnsafeRawBufferPointer, dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, scale: Double,
        magnitudes: UnsafeBufferPointer<Double>? = nil, into result: UnsafeMutableRawBufferPointer, by path: KernelPath
    ) -> PanelStatistics {
        precondition((magnitudes?.count ?? rows) >= rows, "there are fewer magnitudes than rows")
        precondition(source.count == result.count, "a panel is not of its shape")
        guard let from = source.baseAddress else { return PanelStatistics() }
        let scratchSize =
            magnitudes == nil ? ck_low_rank_scratch(rank, rows) : ck_low_rank_magnify_scratch(rank, rows, columns)
        return withPanel(dtype: dtype, left: left, rows: rows, result: result, scratch: scratchSize) {
            if let magnitudes = magnitudes?.baseAddress {
                ck_low_rank_magnify(path.path, $0, $1, $2, rows, scale, magnitudes, from, $3, $4, $5)
            } else {
                ck_low_rank_merge(path.path, $0, $1, $2, rows, scale, from, $3, $4, $5)
            }
        }
    }

    /// Calls `body` with the format, the factors, the result, scratch memory and a tally, where there is something to do.
    private func withPanel(
        dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, result: UnsafeMutableRawBufferPointer, scratch size: Int,
        _ body: (
            ck_format, UnsafePointer<ck_low_rank_right>, UnsafePointer<Double>, UnsafeMutableRawPointer, UnsafeMutableRawPointer,
            UnsafeMutablePointer<ck_low_rank_tally>
        ) -> Void
    ) -> PanelStatistics {
        guard Self.supports(dtype), let format = dtype.format else { preconditionFailure("no kernel for \(dtype)") }
        precondition(rows >= 0 && left.count >= rows * rank, "the left factor is smaller than its shape")
        precondition(result.count == rows * columns * (dtype.bits / 8), "a panel is not of its shape")
        guard let to = result.baseAddress, !result.isEmpty else { return PanelStatistics() }
        var tally = ck_low_rank_tally()
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 64) { scratch in
            withFactor { factor in
                // With rank 0 the left factor may have no address; the kernel does not read it then.
                let empty = UnsafePointer<Double>(bitPattern: 8)
                guard let left = left.baseAddress ?? empty, let scratch = scratch.baseAddress else { return }
                body(format, factor, left, to, scratch, &tally)
            }
        }
        return PanelStatistics(tally)
    }

    /// The packed factor as the kernel takes it, for the duration of the call.
    private func withFactor(_ body: (UnsafePointer<ck_low_rank_right>) -> Void) {
        narrow.withUnsafeBufferPointer { narrow in
            wide.withUnsafeBufferPointer { wide in
                lines.withUnsafeBufferPointer { lines in
                    bounds.withUnsafeBufferPointer { bounds in
                        // An empty array may have no address. With rank 0 none is read; it tells the two apart.
                        var factor = ck_low_rank_right(
                            rank: rank, columns: columns, narrow: fits ? narrow.baseAddress ?? bounds.baseAddress : nil,
                            wide: fits ? nil : wide.baseAddress, lines: lines.isEmpty ? nil : lines.baseAddress,
                            bounds: bounds.baseAddress, decides: decides)
                        withUnsafePointer(to: &factor, body)
                    }
                }
            }
        }
    }
}
