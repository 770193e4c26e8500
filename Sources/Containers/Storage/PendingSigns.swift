import Tensors

/// Signs that torch has put off: a view with the neg or the conj bit stands in its storage as it was before, and every reader
/// changes the signs (`x.conj().imag` is such a view of x).
///
/// neg is -x: the sign bit of a float turned round, the two's complement of an integer. conj is the same of the imaginary part. Both
/// together are neg of conj, in either order. torch negates no bool, no 8-bit float and no unsigned integer beyond 8 bits.
///
/// Source: `_set_tensor_metadata` in torch/csrc/utils, `setTensorMetadata` in torch/csrc/jit/serialization/pickler.h;
/// `neg_kernel` in aten/src/ATen/native/cpu/UnaryOpsKernel.cpp.
struct PendingSigns: Hashable, Sendable {
    var isNegated = false
    var isConjugated = false

    var isEmpty: Bool { !isNegated && !isConjugated }

    /// Whether torch itself gives the elements.
    func apply(to dtype: DType) -> Bool {
        let isNegatable = [.f64, .f32, .f16, .bf16, .c64, .i64, .i32, .i16, .i8, .u8].contains(dtype)
        return (!isNegated || isNegatable) && (!isConjugated || dtype == .c64)
    }

    /// Changes whole elements, little-endian.
    func change(_ elements: UnsafeMutableRawBufferPointer, of dtype: DType) {
        switch dtype {
        case .c64:
            // Real and imaginary part in turn; conj turns the second once more.
            if isNegated { turnSigns(elements, from: 0, step: 8, width: 4) }
            if isNegated != isConjugated { turnSigns(elements, from: 4, step: 8, width: 4) }
        case .f64, .f32, .f16, .bf16:
            if isNegated { turnSigns(elements, from: 0, step: dtype.bits / 8, width: dtype.bits / 8) }
        case .i64, .i32, .i16, .i8, .u8:
            if isNegated { negate(elements, width: dtype.bits / 8) }
        default: break
        }
    }

    private func turnSigns(_ bytes: UnsafeMutableRawBufferPointer, from start: Int, step: Int, width: Int) {
        for place in stride(from: start + width - 1, to: bytes.count, by: step) { bytes[place] ^= 0x80 }
    }

    /// ~x + 1, with the carry from byte to byte.
    private func negate(_ bytes: UnsafeMutableRawBufferPointer, width: Int) {
        for start in stride(from: 0, to: bytes.count - bytes.count % width, by: width) {
            var carry: UInt16 = 1
            for place in start..<(start + width) {
                carry += UInt16(~bytes[place])
                bytes[place] = UInt8(truncatingIfNeeded: carry)
                carry >>= 8
            }
        }
    }
}
