import Containers
import Tensors

/// The blocks of ggml, from bytes to numbers.
///
/// | type | bytes | element |
/// |---|---|---|
/// | Q8_0 | d, 32 × int8 | d·q |
/// | Q4_0 | d, 16 bytes of two codes | d·(q − 8) |
/// | Q4_1 | d, m, 16 bytes of two codes | d·q + m |
/// | Q5_0 | d, 32 fifth bits, 16 bytes of two codes | d·(q − 16) |
/// | Q5_1 | d, m, 32 fifth bits, 16 bytes of two codes | d·q + m |
/// | Q4_K | d, dmin, 12 bytes of scales, 128 bytes of two codes | d·sc·q − dmin·mn |
/// | Q5_K | d, dmin, 12 bytes of scales, 256 fifth bits, 128 bytes of two codes | d·sc·q − dmin·mn |
/// | Q6_K | 128 bytes of low halves, 64 bytes of high bits, 16 × int8 scale, d | d·sc·(q − 32) |
/// | MXFP4 | e, 16 bytes of two codes | 2^(e − 128)·v, v of twice the code's E2M1: 0, 1, 2, 3, 4, 6, 8, 12, and from code 8 on minus those |
///
/// d, m and dmin are F16. In blocks of 32 the low halves of the 16 bytes are elements 0 to 15, the high halves 16 to 31. A
/// superblock of 256 has 8 parts of 32 with one 6-bit scale sc and minimum mn each (Q6_K: 16 parts of 16 with one scale).
/// Every product and sum has fewer than 53 bits from its lowest, 2⁻²⁴, to its highest, and is exact in float64; ggml computes
/// them in float32. Source: `block_q8_0` and so on in ggml/src/ggml-common.h and `dequantize_row_q8_0` and so on in
/// ggml/src/ggml-quants.c of ggml-org/llama.cpp.
enum GGUFBlock {
    /// The types that are read.
    static let types: Set<GGUFType> = [.q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q4_K, .q5_K, .q6_K, .mxfp4]

    typealias Bytes = UnsafePointer<UInt8>
    typealias Values = UnsafeMutablePointer<Double>

    /// The numbers of one block. `bytes` has `blockBytes` of the type, `values` room for `blockElements`.
    static func decode(_ type: GGUFType, _ bytes: Bytes, into values: Values) {
        switch type {
        case .q8_0: q8_0(bytes, values)
        case .q4_0: halves(bytes + 2, values, scale: half(bytes), zero: 8)
        case .q4_1: halves(bytes + 4, values, scale: half(bytes), offset: half(bytes + 2))
        case .q5_0: fives(bytes + 6, bits: bytes + 2, values, scale: half(bytes), zero: 16)
        case .q5_1: fives(bytes + 8, bits: bytes + 4, values, scale: half(bytes), offset: half(bytes + 2))
        case .q4_K: superblock(bytes, codes: bytes + 16, fifths: nil, values)
        case .q5_K: superblock(bytes, codes: bytes + 48, fifths: bytes + 16, values)
        case .q6_K: q6_K(bytes, values)
        case .mxfp4: mxfp4(bytes, values)
        default: preconditionFailure("\(type) is not among the types that are read")
        }
    }

    /// A little-endian F16.
    private static func half(_ bytes: Bytes) -> Double {
        let code = UInt16(bytes[0]) | UInt16(bytes[1]) << 8
        return Double(Float16(bitPattern: code))
    }

    // An offset of −0 leaves every value as it is, the sign of zero too.

    /// Twice the values of E2M1, as ggml has them: both zeros are +0.
    private static func doubled(_ code: UInt8) -> Double {
        let magnitude = Int32(code & 7)
        let value = magnitude < 4 ? magnitude : (2 &+ (magnitude & 1)) &<< ((magnitude &>> 1) &- 1)
        return Double(code < 8 ? value : 0 &- value)
    }

    private static func mxfp4(_ bytes: Bytes, _ values: Values) {
        let scale = Double(sign: .plus, exponent: Int(bytes[0]) - 128, significand: 1)
        for index in 0..<16 {
            let code = bytes[1 &+ index]
            values[index] = scale * doubled(code & 15)
            values[index &+ 16] = scale * doubled(code &>> 4)
        }
    }

    private static func q8_0(_ bytes: Bytes, _ values: Values) {
        let scale = half(bytes)
        for index in 0..<32 { values[index] = scale * Double(Int32(Int8(bitPattern: bytes[2 &+ index]))) }
    }

    private static func halves(_ codes: Bytes, _ values: Values, scale: Double, zero: Double = 0, offset: Double = -0.0) {
        for index in 0..<16 {
            values[index] = scale * (Double(Int32(codes[index] & 15)) - zero) + offset
            values[index &+ 16] = scale * (Double(Int32(codes[index] &>> 4)) - zero) + offset
        }
    }

    private static func fives(
        _ codes: Bytes, bits: Bytes, _ values: Values, scale: Double, zero: Double = 0, offset: Double = -0.0
    ) {
        let fifths = (0..<4).reduce(0 as UInt32) { $0 | UInt32(bits[$1]) << (8 * UInt32($1)) }
        for index in 0..<16 {
            // Masking shifts throughout: amounts are below the width, and loops without a branch are vectorised.
            let low = UInt32(codes[index] & 15) | (fifths &>> UInt32(truncatingIfNeeded: index) & 1) &<< 4
            let high = UInt32(codes[index] &>> 4) | (fifths &>> UInt32(truncatingIfNeeded: index &+ 16) & 1) &<< 4
            values[index] = scale * (Double(Int32(bitPattern: low)) - zero) + offset
            values[index &+ 16] = scale * (Double(Int32(bitPattern: high)) - zero) + offset
        }
    }

    /// Q4_K and Q5_K: 32 bytes of codes are two parts, the low halves the first.
    private static func superblock(_ bytes: Bytes, codes: Bytes, fifths: Bytes?, _ values: Values) {
        let (d, minimum) = (half(bytes), half(bytes + 2))
        groups(of: 32, values) { fields, factors, offsets in
            for part in 0..<8 {
                let (scale, least) = scaleAndMinimum(bytes + 4, part)
                (factors[part], offsets[part]) = (d * Double(scale), -(minimum * Double(least)))
                let source = codes + part / 2 * 32
                let target = fields + part * 32
                let shift = UInt8(part % 2 * 4)
                for index in 0..<32 { target[index] = source[index] &>> shift & 15 }
                guard let fifths else { continue }
                let bit = UInt8(part)
                for index in 0..<32 { target[index] |= (fifths[index] &>> bit & 1) &<< 4 }
            }
        }
    }

    /// A superblock of 256 fields of up to 8 bits in groups, each with a factor, and an offset that is added.
    private static func groups(
        of size: Int, zero: Double = 0, _ values: Values,
        _ fill: (UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Double>) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { fields in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 48) { numbers in
                guard let codes = fields.baseAddress, let factors = numbers.baseAddress else { return }
                let (offsets, zeros) = (factors + 16, factors + 32)
                offsets.initialize(repeating: -0.0, count: 16)
                zeros.initialize(repeating: zero, count: 16)
                fill(codes, factors, offsets)
                CodeKernels.affine(
                    UnsafeBufferPointer(fields), group: size, zeros: UnsafeBufferPointer(start: zeros, count: 16),
                    scales: UnsafeBufferPointer(start: factors, count: 16), offsets: UnsafeBufferPointer(start: offsets, count: 16),
                    into: UnsafeMutableBufferPointer(start: values, count: 256))
            }
        }
    }

    /// Eight scales and eight minima of 6 bits in 12 bytes: the first four of each have a byte, whose two upper bits belong to
    /// one of the last four.
    private static func scaleAndMinimum(_ bytes: Bytes, _ part: Int) -> (UInt8, UInt8) {
        if part < 4 { return (bytes[part] & 63, bytes[part + 4] & 63) }
        return (
            bytes[part + 4] & 15 | (bytes[part - 4] >> 6) << 4, bytes[part + 4] >> 4 | (bytes[part] >> 6) << 4
        )
    }

    /// Halves of 128 elements; in each four runs of 32, whose codes are spread over 64 bytes of low halves and 32 of high bits.
    private static func q6_K(_ bytes: Bytes, _ values: Values) {
        let d = half(bytes + 208)
        groups(of: 16, zero: 32, values) { fields, factors, _ in
            for group in 0..<16 { factors[group] = d * Double(Int8(bitPattern: bytes[192 + group])) }
            for run in 0..<8 {
                let (part, quarter) = (run / 4, run % 4)
                let low = bytes + part * 64 + quarter % 2 * 32
                let high = bytes + 128 + part * 32
                let target = fields + run * 32
                let (lowShift, highShift) = (UInt8(quarter / 2 * 4), UInt8(quarter * 2))
                for index in 0..<32 { target[index] = low[index] &>> lowShift & 15 | (high[index] &>> highShift & 3) &<< 4 }
            }
        }
    }
}
