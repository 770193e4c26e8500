import Tensors

/// Distances in steps of a floating-point type between numbers stored in it, taken from their bits.
enum CodeSteps {
    /// The largest distance over all pairs, and whether a NaN met a number; nil for types without steps.
    ///
    /// As ``Ulp/distance(_:_:in:)``, which rounds its arguments: here both are numbers of the type already, so their
    /// bits say their places. Both buffers hold as many whole elements.
    static func largest(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ dtype: DType
    ) -> (steps: UInt64, hasUncounted: Bool)? {
        switch dtype {
        case .f64: largest(a, b, CodeOrder<UInt64>(infinity: 0x7FF0_0000_0000_0000))
        case .f32: largest(a, b, CodeOrder<UInt32>(infinity: 0x7F80_0000))
        case .bf16: largest(a, b, CodeOrder<UInt16>(infinity: 0x7F80))
        case .f16: largest(a, b, CodeOrder<UInt16>(infinity: 0x7C00))
        default: nil
        }
    }

    private static func largest<Code: FixedWidthInteger & UnsignedInteger & Sendable>(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ order: CodeOrder<Code>
    ) -> (steps: UInt64, hasUncounted: Bool) {
        var steps: UInt64 = 0
        var hasUncounted = false
        let size = MemoryLayout<Code>.size
        for offset in stride(from: 0, through: min(a.count, b.count) - size, by: size) {
            let x = Code(littleEndian: a.loadUnaligned(fromByteOffset: offset, as: Code.self))
            let y = Code(littleEndian: b.loadUnaligned(fromByteOffset: offset, as: Code.self))
            if x == y { continue }
            if order.isNaN(x) || order.isNaN(y) {
                if order.isNaN(x) != order.isNaN(y) { hasUncounted = true }
                continue
            }
            let (left, right) = (order.place(x), order.place(y))
            // Two places are less than 2⁶⁴ apart: wrapping subtraction gives their distance.
            steps = max(steps, UInt64(bitPattern: left > right ? left &- right : right &- left))
        }
        return (steps, hasUncounted)
    }
}
