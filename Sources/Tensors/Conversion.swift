internal import ByteAccess
internal import CKernels

/// Between the elements of a file and float64, in which everything here is computed.
///
/// Bytes are little-endian and packed as safetensors stores them, at any alignment.
public enum Conversion {
    /// Widens packed elements to float64.
    ///
    /// Exact for every type except I64 and U64, which round to nearest, ties to even, beyond 2^53. Subnormals keep
    /// their value; Inf stays Inf; a NaN of F16, BF16 or F32 keeps sign and payload and becomes quiet; a NaN of an
    /// 8-bit type becomes the canonical one; F64 is copied bit for bit. BOOL: 0 is 0, any other byte is 1. F4 takes the
    /// low half of a byte first; F6 is a little-endian bit string.
    ///
    /// Sources: OCP Microscaling Formats 1.0 (F4, F6, F8_E4M3, F8_E5M2, F8_E8M0), ONNX "Float stored in 8 bits" (the
    /// FNUZ types), IEEE 754-2019 (F16, F32, F64).
    ///
    /// - Parameters:
    ///   - source: the elements; their number is that of `result`.
    ///   - dtype: the type of the elements.
    ///   - result: as many values as there are elements; it does not overlap `source`.
    /// - Throws: `PeftfileError` `.unsupported` for C64, whose elements are not real; `.malformed` where `source` is
    ///   not exactly the bytes of `result.count` elements.
    public static func widen(
        _ source: UnsafeRawBufferPointer, as dtype: DType, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        try widen(source, as: dtype, into: result, by: .active)
    }

    /// Rounds float64 values to a floating-point type: once, to nearest, ties to even, straight from float64.
    ///
    /// Beyond the largest number by half a step or more the result is Inf. NaN becomes the canonical quiet NaN, without
    /// sign: 0x7E00, 0x7FC0, 0x7FC00000, 0x7FF8000000000000.
    ///
    /// - Parameters:
    ///   - source: the values.
    ///   - dtype: F64, F32, F16 or BF16.
    ///   - result: exactly the bytes of `source.count` elements; it does not overlap `source`.
    /// - Throws: `PeftfileError` `.unsupported` for another type; `.malformed` where the sizes do not agree.
    public static func narrow(
        _ source: UnsafeBufferPointer<Double>, to dtype: DType, into result: UnsafeMutableRawBufferPointer
    ) throws {
        try narrow(source, to: dtype, into: result, by: .active)
    }

    /// `widen` by a chosen form of the kernel.
    static func widen(
        _ source: UnsafeRawBufferPointer, as dtype: DType, into result: UnsafeMutableBufferPointer<Double>,
        by path: KernelPath
    ) throws {
        guard let format = dtype.format else {
            throw PeftfileError(.unsupported, "\(dtype.rawValue) elements are complex and cannot be computed with")
        }
        try checkSize(bytes: source.count, elements: result.count, dtype)
        guard let from = source.baseAddress, let to = result.baseAddress, !result.isEmpty else { return }
        ck_widen(path.path, format, from, result.count, to)
    }

    /// `narrow` by a chosen form of the kernel.
    static func narrow(
        _ source: UnsafeBufferPointer<Double>, to dtype: DType, into result: UnsafeMutableRawBufferPointer,
        by path: KernelPath
    ) throws {
        guard dtype.isMergeable, let format = dtype.format else {
            throw PeftfileError(.unsupported, "results are written as F64, F32, F16 or BF16, not as \(dtype.rawValue)")
        }
        try checkSize(bytes: result.count, elements: source.count, dtype)
        guard let from = source.baseAddress, let to = result.baseAddress, !source.isEmpty else { return }
        ck_narrow(path.path, format, from, source.count, to)
    }

    private static func checkSize(bytes: Int, elements: Int, _ dtype: DType) throws {
        guard dtype.byteCount(elements: elements) == bytes else {
            throw PeftfileError(.malformed, "\(bytes) bytes are not \(elements) elements of \(dtype.rawValue)")
        }
    }
}
