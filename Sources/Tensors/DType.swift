/// The element types of safetensors 0.8, spelt as in the file; the raw value is the on-disk name.
///
/// Source: `Dtype` in safetensors/src/tensor.rs (22 cases, case-sensitive). Sub-byte types are packed; a tensor's bit
/// count must be a whole number of bytes.
public enum DType: String, Sendable, Hashable, CaseIterable {
    /// One byte, 0 or 1.
    case bool = "BOOL"
    /// 4 bits, two a byte.
    case f4 = "F4"
    /// 6 bits: 2 of exponent, 3 of mantissa.
    case f6E2M3 = "F6_E2M3"
    /// 6 bits: 3 of exponent, 2 of mantissa.
    case f6E3M2 = "F6_E3M2"
    /// Unsigned, 8 bits.
    case u8 = "U8"
    /// Signed, 8 bits.
    case i8 = "I8"
    /// 8 bits: 5 of exponent, 2 of mantissa, as IEEE 754 has infinities.
    case f8E5M2 = "F8_E5M2"
    /// 8 bits: 4 of exponent, 3 of mantissa, no infinities (torch's `float8_e4m3fn`).
    case f8E4M3 = "F8_E4M3"
    /// 8 bits of exponent: a power of two.
    case f8E8M0 = "F8_E8M0"
    /// As `f8E4M3`, with no −0 and another bias.
    case f8E4M3FNUZ = "F8_E4M3FNUZ"
    /// As `f8E5M2`, with no infinities, no −0 and another bias.
    case f8E5M2FNUZ = "F8_E5M2FNUZ"
    /// Signed, 16 bits.
    case i16 = "I16"
    /// Unsigned, 16 bits.
    case u16 = "U16"
    /// IEEE 754 binary16.
    case f16 = "F16"
    /// bfloat16: the upper half of a binary32.
    case bf16 = "BF16"
    /// Signed, 32 bits.
    case i32 = "I32"
    /// Unsigned, 32 bits.
    case u32 = "U32"
    /// IEEE 754 binary32.
    case f32 = "F32"
    /// Complex: two binary32, real part first.
    case c64 = "C64"
    /// IEEE 754 binary64.
    case f64 = "F64"
    /// Signed, 64 bits.
    case i64 = "I64"
    /// Unsigned, 64 bits.
    case u64 = "U64"

    /// Bits of one element.
    public var bits: Int {
        switch self {
        case .f4: 4
        case .f6E2M3, .f6E3M2: 6
        case .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: 8
        case .i16, .u16, .f16, .bf16: 16
        case .i32, .u32, .f32: 32
        case .c64, .f64, .i64, .u64: 64
        }
    }

    /// Whether the elements are floating-point numbers of 8 bits or fewer, which are codes that a scale may belong to.
    public var isFloatCode: Bool {
        switch self {
        case .f4, .f6E2M3, .f6E3M2, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: true
        default: false
        }
    }

    /// Whether the elements are the real floating-point numbers that a merge computes with: F64, F32, F16, BF16.
    public var isMergeable: Bool {
        switch self {
        case .f64, .f32, .f16, .bf16: true
        default: false
        }
    }
}
