internal import CKernels

/// Codes of quantised weights to float64; every form of the kernels gives the same bits.
public enum CodeKernels {
    /// Codes of one byte in groups: result[i] = (codes[i] − zeros[g]) · scales[g] + offsets[g], g = i / group, in float64 with one
    /// rounding in each operation.
    ///
    /// - Parameters:
    ///   - codes: one for each element of `result`.
    ///   - group: elements of a group, at least 1; the last may be short.
    ///   - zeros: one for each group; nil for 0.
    ///   - scales: one for each group.
    ///   - offsets: one for each group; nil where nothing is added.
    public static func affine(
        _ codes: UnsafeBufferPointer<UInt8>, group: Int, zeros: UnsafeBufferPointer<Double>? = nil,
        scales: UnsafeBufferPointer<Double>, offsets: UnsafeBufferPointer<Double>? = nil,
        into result: UnsafeMutableBufferPointer<Double>
    ) {
        affine(codes, group: group, zeros: zeros, scales: scales, offsets: offsets, into: result, by: .active)
    }

    /// The same by a chosen form.
    static func affine(
        _ codes: UnsafeBufferPointer<UInt8>, group: Int, zeros: UnsafeBufferPointer<Double>?,
        scales: UnsafeBufferPointer<Double>, offsets: UnsafeBufferPointer<Double>?,
        into result: UnsafeMutableBufferPointer<Double>, by path: KernelPath
    ) {
        precondition(group > 0 && codes.count == result.count, "codes are not of the shape of their numbers")
        let groups = (codes.count + group - 1) / group
        precondition([zeros?.count, scales.count, offsets?.count].allSatisfy { $0 ?? groups >= groups }, "a group has no scale")
        guard let from = codes.baseAddress, let scales = scales.baseAddress, let to = result.baseAddress else { return }
        ck_affine(path.path, from, codes.count, group, zeros?.baseAddress, scales, offsets?.baseAddress, to)
    }

    /// Nearest entries, in groups: result[i] = table[the number of thresholds below values[i] · factors[g]] · scales[g], g = i / group,
    /// the first product in float32, the second in float64. NaN takes the first entry.
    ///
    /// - Parameters:
    ///   - values: elements of BF16 or F32.
    ///   - group: elements of a group, at least 1; the last may be short.
    ///   - factors: one for each group.
    ///   - thresholds: 15, ascending.
    ///   - table: 16.
    ///   - scales: one for each group.
    public static func nearest(
        _ values: UnsafeRawBufferPointer, of dtype: DType, group: Int, factors: UnsafeBufferPointer<Float>, thresholds: [Float],
        table: [Float], scales: UnsafeBufferPointer<Double>, into result: UnsafeMutableBufferPointer<Double>
    ) {
        nearest(
            values, of: dtype, group: group, factors: factors, thresholds: thresholds, table: table, scales: scales, into: result, by: .active)
    }

    /// The same by a chosen form.
    static func nearest(
        _ values: UnsafeRawBufferPointer, of dtype: DType, group: Int, factors: UnsafeBufferPointer<Float>, thresholds: [Float],
        table: [Float], scales: UnsafeBufferPointer<Double>, into result: UnsafeMutableBufferPointer<Double>, by path: KernelPath
    ) {
        precondition(dtype == .bf16 || dtype == .f32, "no nearest entries of \(dtype)")
        precondition(values.count == result.count * (dtype.bits / 8) && thresholds.count == 15 && table.count == 16, "a table is not of its size")
        let groups = (result.count + group - 1) / group
        precondition(group > 0 && factors.count >= groups && scales.count >= groups, "a group has no scale")
        guard let from = values.baseAddress, let factors = factors.baseAddress, let scales = scales.baseAddress, let to = result.baseAddress
        else { return }
        ck_nearest(path.path, from, dtype == .bf16 ? CK_BF16 : CK_F32, result.count, group, factors, thresholds, table, scales, to)
    }

    /// Fields of 1 to 8 bits of a little-endian bit stream, one in each byte of `codes`.
    public static func unpack(_ stream: UnsafeRawBufferPointer, bits: Int, into codes: UnsafeMutableBufferPointer<UInt8>) {
        precondition((1...8).contains(bits) && stream.count >= (codes.count * bits + 7) / 8, "the stream is too short")
        guard let from = stream.baseAddress, let to = codes.baseAddress else { return }
        ck_unpack(from.assumingMemoryBound(to: UInt8.self), UInt32(bits), codes.count, to)
    }

    /// One field of 4 bits of each word: codes[i] = words[i] >> shift & 15.
    ///
    /// - Parameter shift: 0 to 28.
    public static func fields(
        _ words: UnsafeBufferPointer<UInt32>, shift: Int, into codes: UnsafeMutableBufferPointer<UInt8>
    ) { fields(words, shift: shift, into: codes, by: .active) }

    /// The same by a chosen form.
    static func fields(
        _ words: UnsafeBufferPointer<UInt32>, shift: Int, into codes: UnsafeMutableBufferPointer<UInt8>, by path: KernelPath
    ) {
        precondition((0...28).contains(shift) && words.count >= codes.count, "a field is not in its word")
        guard let from = words.baseAddress, let to = codes.baseAddress else { return }
        ck_fields(path.path, from, codes.count, UInt32(shift), to)
    }

    /// Blocks of 32 elements of MXFP4, each a part of a column, as rows of float64:
    ///
    ///     result[(i − first) · stride + c] = E2M1[element i of block c] · 2^(scales[c · step] − 127)
    ///
    /// - Parameters:
    ///   - codes: from the first block on; blocks of 16 bytes, each byte's low half first.
    ///   - scales: from the first block's on; 255 is NaN.
    ///   - step: blocks from one column's to the next one's.
    ///   - elements: which elements of each block become rows.
    ///   - stride: numbers from one row to the next.
    public static func mxfp4(
        _ codes: UnsafeBufferPointer<UInt8>, scales: UnsafeBufferPointer<UInt8>, step: Int, columns: Int, elements: Range<Int>,
        into result: UnsafeMutableBufferPointer<Double>, stride: Int
    ) { mxfp4(codes, scales: scales, step: step, columns: columns, elements: elements, into: result, stride: stride, by: .active) }

    /// The same by a chosen form.
    static func mxfp4(
        _ codes: UnsafeBufferPointer<UInt8>, scales: UnsafeBufferPointer<UInt8>, step: Int, columns: Int, elements: Range<Int>,
        into result: UnsafeMutableBufferPointer<Double>, stride: Int, by path: KernelPath
    ) {
        guard columns > 0, !elements.isEmpty else { return }
        let blocks = (columns - 1) * step + 1
        precondition(
            codes.count >= blocks * 16 && scales.count >= blocks && (0...32).contains(elements.upperBound) && elements.lowerBound >= 0
                && stride >= columns && result.count >= (elements.count - 1) * stride + columns, "blocks are not of their shape")
        guard let from = codes.baseAddress, let powers = scales.baseAddress, let to = result.baseAddress else { return }
        ck_mxfp4(path.path, from, powers, step, columns, elements.lowerBound, elements.upperBound, to, stride)
    }

    /// 32-bit words transposed: the first `columns` of each of `rows` rows that begin `stride` words apart.
    ///
    /// - Parameter result: column after column, each of `rows` words.
    public static func turnWords(
        _ source: UnsafeRawBufferPointer, stride: Int, rows: Int, columns: Int, into result: UnsafeMutableBufferPointer<UInt32>
    ) {
        guard rows > 0, columns > 0 else { return }
        precondition(source.count >= ((rows - 1) * stride + columns) * 4 && result.count == rows * columns, "words are not of their shape")
        guard let from = source.baseAddress, let to = result.baseAddress else { return }
        ck_turn_words(from, stride, rows, columns, to)
    }

    /// max |x| over each group of elements of F16, BF16 or F32, as F32; NaN where there is one.
    ///
    /// - Parameter group: elements of a group, at least 1; the last may be short.
    public static func largestMagnitudes(_ elements: UnsafeRawBufferPointer, of dtype: DType, group: Int) -> [Float] {
        largestMagnitudes(elements, of: dtype, group: group, by: .active)
    }

    /// The same by a chosen form.
    static func largestMagnitudes(_ elements: UnsafeRawBufferPointer, of dtype: DType, group: Int, by path: KernelPath) -> [Float] {
        precondition(group > 0, "a group has elements")
        guard let from = elements.baseAddress else { return [] }
        let count = elements.count / (dtype.bits / 8)
        let codes = [UInt32](unsafeUninitializedCapacity: (count + group - 1) / group) { codes, initialized in
            initialized = codes.count
            guard let to = codes.baseAddress else { return }
            switch dtype {
            case .bf16, .f16: ck_largest_16(path.path, from, count, group, to)
            case .f32: ck_largest_32(path.path, from, count, group, to)
            default: preconditionFailure("no magnitudes of \(dtype)")
            }
        }
        return switch dtype {
        case .bf16: codes.map { Float(bitPattern: $0 << 16) }
        case .f16: codes.map { Float(Float16(bitPattern: UInt16($0))) }
        default: codes.map { Float(bitPattern: $0) }
        }
    }
}
