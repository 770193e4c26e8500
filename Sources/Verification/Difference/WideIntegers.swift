import Tensors

/// Differences of numbers that float64 cannot hold: those of I64 and U64 beyond 2⁵³.
enum WideIntegers {
    /// b − a of each pair, exact and then rounded once, and 0 only where the two are equal.
    ///
    /// - Parameters:
    ///   - a, b: the elements' bytes, of `kinds`, of which one at least is I64 or U64.
    ///   - valuesA, valuesB: the same elements, widened.
    ///   - result: as many numbers as there are elements.
    static func differences(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, kinds: (a: ElementKind, b: ElementKind),
        valuesA: UnsafeMutableBufferPointer<Double>, valuesB: UnsafeMutableBufferPointer<Double>,
        into result: UnsafeMutableBufferPointer<Double>
    ) {
        for index in result.indices {
            let x = integer(a, kinds.a.dtype, index, valuesA[index])
            let y = integer(b, kinds.b.dtype, index, valuesB[index])
            // A number with a fraction is below 2⁵³, and so is every integer near it; then float64 subtracts without
            // mistaking the two for equal.
            result[index] = if let x, let y { Double(y - x) } else { valuesB[index] - valuesA[index] }
        }
    }

    /// The element as an integer; nil where it has a fraction, is not finite, or is beyond 2¹⁰⁰ and so far from any
    /// integer of 64 bits.
    private static func integer(
        _ bytes: UnsafeRawBufferPointer, _ dtype: DType, _ index: Int, _ value: Double
    ) -> Int128? {
        switch dtype {
        case .i64: Int128(Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self)))
        case .u64: Int128(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)))
        default: abs(value) < 0x1p100 ? Int128(exactly: value) : nil
        }
    }
}
