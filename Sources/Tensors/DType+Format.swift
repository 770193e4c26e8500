internal import CKernels

extension DType {
    /// Bytes of `elements` packed elements, or nil where that is no whole number of bytes or does not fit an `Int`.
    ///
    /// `elements * bits / 8`; only F4 (two to a byte) and F6 (four to three bytes) can leave a rest.
    public func byteCount(elements: Int) -> Int? {
        guard elements >= 0 else { return nil }
        if bits >= 8 {
            let (bytes, overflow) = elements.multipliedReportingOverflow(by: bits / 8)
            return overflow ? nil : bytes
        }
        // Eight elements are `bits` bytes; the rest is at most 7 elements.
        let rest = elements % 8 * bits
        guard rest % 8 == 0 else { return nil }
        return elements / 8 * bits + rest / 8
    }

    /// The kernel's name of the type, or nil for C64, whose elements are not real numbers.
    var format: ck_format? {
        switch self {
        case .bool: CK_BOOL
        case .f4: CK_F4
        case .f6E2M3: CK_F6_E2M3
        case .f6E3M2: CK_F6_E3M2
        case .u8: CK_U8
        case .i8: CK_I8
        case .f8E5M2: CK_F8_E5M2
        case .f8E4M3: CK_F8_E4M3
        case .f8E8M0: CK_F8_E8M0
        case .f8E4M3FNUZ: CK_F8_E4M3FNUZ
        case .f8E5M2FNUZ: CK_F8_E5M2FNUZ
        case .i16: CK_I16
        case .u16: CK_U16
        case .f16: CK_F16
        case .bf16: CK_BF16
        case .i32: CK_I32
        case .u32: CK_U32
        case .f32: CK_F32
        case .c64: nil
        case .f64: CK_F64
        case .i64: CK_I64
        case .u64: CK_U64
        }
    }
}
