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

    /// Packs the right factor, once for all panels of a tensor. The kernel keeps no reference to `right`.
    ///
    /// - Parameters:
    ///   - right: r x n, dense.
    ///   - rank: r.
    ///   - columns: n.
    public init(right: [Double], rank: Int, columns: Int) {
        precondition(rank >= 0 && columns >= 0 && columns < 1 << 32, "a shape that no matrix has")
        precondition(right.count >= rank * columns, "the factor is smaller than its shape")
        self.rank = rank
        self.columns = columns
        let packedColumns = ck_low_rank_packed_columns(columns)
        let count = packedColumns * rank
        fits = right.withUnsafeBufferPointer { from in
            guard let from = from.baseAddress else { return true }
            return ck_low_rank_fits(from, rank * columns)
        }
        var bounds: [Float] = []
        var decides = false
        if fits {
            bounds = [Float](repeating: 0, count: packedColumns)
            narrow = [Float](unsafeUninitializedCapacity: count) { packed, initialized in
                initialized = count
                guard let to = packed.baseAddress, count > 0 else { return }
                right.withUnsafeBufferPointer { from in
                    bounds.withUnsafeMutableBufferPointer { bounds in
                        guard let from = from.baseAddress, let bounds = bounds.baseAddress else { return }
                        decides = ck_low_rank_pack_narrow(from, rank, columns, to, bounds)
                    }
                }
            }
            // Without a rank there is nothing to pack, and every bound is zero.
            if count == 0 { decides = true }
            wide = []
            let lineCount = rank >= Self.linesFrom ? rank * columns : 0
            lines = [Float](unsafeUninitializedCapacity: lineCount) { lines, initialized in
                initialized = lineCount
                guard lineCount > 0, let to = lines.baseAddress else { return }
                right.withUnsafeBufferPointer { from in
                    guard let from = from.baseAddress else { return }
                    ck_low_rank_pack_lines(from, rank, columns, to)
                }
            }
        } else {
            narrow = []
            lines = []
            wide = [Double](unsafeUninitializedCapacity: count) { packed, initialized in
                initialized = count
                right.withUnsafeBufferPointer { from in
                    guard let from = from.baseAddress, let to = packed.baseAddress else { return }
                    ck_low_rank_pack_wide(from, rank, columns, to)
                }
            }
        }
        self.bounds = bounds
        self.decides = decides
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

    /// `mergePanel` by a chosen form of the kernel.
    func mergePanel(
        source: UnsafeRawBufferPointer, dtype: DType, left: UnsafeBufferPointer<Double>, rows: Int, scale: Double,
        magnitudes: UnsafeBufferPointer<Double>? = nil, into result: UnsafeMutableRawBufferPointer, by path: KernelPath
    ) -> PanelStatistics {
        guard Self.supports(dtype), let format = dtype.format else { preconditionFailure("no kernel for \(dtype)") }
        precondition(rows >= 0 && left.count >= rows * rank, "the left factor is smaller than its shape")
        precondition((magnitudes?.count ?? rows) >= rows, "there are fewer magnitudes than rows")
        let size = rows * columns * (dtype.bits / 8)
        precondition(source.count == size && result.count == size, "a panel is not of its shape")
        guard let from = source.baseAddress, let to = result.baseAddress, size > 0 else { return PanelStatistics() }
        var tally = ck_low_rank_tally()
        let scratchSize =
            magnitudes == nil ? ck_low_rank_scratch(rank, rows) : ck_low_rank_magnify_scratch(rank, rows, columns)
        withUnsafeTemporaryAllocation(byteCount: scratchSize, alignment: 64) { scratch in
            withFactor { factor in
                // With rank 0 the left factor may have no address; the kernel does not read it then.
                let empty = UnsafePointer<Double>(bitPattern: 8)
                guard let left = left.baseAddress ?? empty, let scratch = scratch.baseAddress else { return }
                if let magnitudes = magnitudes?.baseAddress {
                    ck_low_rank_magnify(
                        path.path, format, factor, left, rows, scale, magnitudes, from, to, scratch, &tally)
                } else {
                    ck_low_rank_merge(path.path, format, factor, left, rows, scale, from, to, scratch, &tally)
                }
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
