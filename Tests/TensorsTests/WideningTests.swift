import ByteAccess
import TestSupport
import Testing
@testable import Tensors

@Suite struct WideningTests {
    @Test("every F16 and BF16 pattern is the number its definition says", arguments: KernelPath.available)
    func sixteenBits(path: KernelPath) throws {
        for definition in [FloatDefinition.f16, .bf16] {
            let codes = (0..<65_536).map { UInt16($0) }
            let values = try widened(bytes(codes), as: definition.dtype, count: codes.count, by: path)
            for code in 0..<65_536 {
                let expected = definition.value(code)
                let same = expected.isNaN
                    ? isQuietNaN(values[code], ofCode: UInt64(code), definition)
                    : values[code].bitPattern == expected.bitPattern
                if !same { Issue.record("\(definition.dtype) \(code): \(values[code]), not \(expected)") }
            }
        }
    }

    /// Sign and payload of the code, with the quiet bit set.
    private func isQuietNaN(_ value: Double, ofCode code: UInt64, _ definition: FloatDefinition) -> Bool {
        let fraction = code & (1 << UInt64(definition.fractionBits) - 1)
        let sign = (code >> UInt64(definition.bits - 1)) << 63
        let expected = sign | 0x7FF8_0000_0000_0000 | fraction << UInt64(52 - definition.fractionBits)
        return value.bitPattern == expected
    }

    #if !(os(macOS) && arch(x86_64))
    @Test("F16 agrees with Swift's own Float16", arguments: KernelPath.available)
    func swiftFloat16(path: KernelPath) throws {
        let codes = (0..<65_536).map { UInt16($0) }
        let values = try widened(bytes(codes), as: .f16, count: codes.count, by: path)
        let wrong = codes.filter { code in
            let expected = Double(Float16(bitPattern: code))
            return !expected.isNaN && expected.bitPattern != values[Int(code)].bitPattern
        }
        #expect(wrong.isEmpty)
    }
    #endif

    @Test("every code of the small formats is the number its definition says", arguments: FloatDefinition.small)
    func smallFormats(definition: FloatDefinition) throws {
        // One code to a group of elements, packed by the definition: element i is bits i * b ... of a bit string.
        for count in [8, 16, 128, 512, 4096] {
            let codes = (0..<count).map { ($0 * 37 + count) % definition.codeCount }
            var packed = [UInt8](repeating: 0, count: count * definition.bits / 8)
            for (i, code) in codes.enumerated() {
                for bit in 0..<definition.bits where code >> bit & 1 == 1 {
                    let place = i * definition.bits + bit
                    packed[place / 8] |= 1 << UInt8(place % 8)
                }
            }
            for path in KernelPath.available {
                let values = try widened(packed, as: definition.dtype, count: count, by: path)
                for i in 0..<count {
                    let expected = definition.value(codes[i])
                    let bits = expected.isNaN ? 0x7FF8_0000_0000_0000 : expected.bitPattern
                    if values[i].bitPattern != bits {
                        Issue.record("\(definition.dtype) \(codes[i]): \(values[i]), not \(expected)")
                    }
                }
            }
        }
    }

    @Test("landmarks of the small formats, from their standards")
    func landmarks() throws {
        func one(_ code: UInt8, _ dtype: DType) throws -> Double {
            try widened([code], as: dtype, count: 1, by: .generic)[0]
        }
        #expect(try one(0x7E, .f8E4M3) == 448)
        #expect(try one(0x01, .f8E4M3) == 0x1p-9)
        #expect(try one(0x7F, .f8E4M3).isNaN && one(0xFF, .f8E4M3).isNaN)
        #expect(try one(0x7B, .f8E5M2) == 57_344)
        #expect(try one(0x01, .f8E5M2) == 0x1p-16)
        #expect(try one(0xFC, .f8E5M2) == -.infinity)
        #expect(try one(0x7F, .f8E4M3FNUZ) == 240)
        #expect(try one(0x80, .f8E4M3FNUZ).isNaN && one(0x80, .f8E5M2FNUZ).isNaN)
        #expect(try one(0x7F, .f8E5M2FNUZ) == 57_344)
        #expect(try one(0x01, .f8E5M2FNUZ) == 0x1p-17)
        #expect(try one(0x00, .f8E8M0) == 0x1p-127)
        #expect(try one(0x7F, .f8E8M0) == 1)
        #expect(try one(0xFE, .f8E8M0) == 0x1p127)
        #expect(try one(0xFF, .f8E8M0).isNaN)
        // Two E2M1 to a byte, the low half first: 6 and -0.5.
        #expect(try widened([0x97], as: .f4, count: 2, by: .generic) == [6, -0.5])
        // Four to three bytes: 0b000001, 0b000010, 0b000100, 0b011111, low bits first.
        let six: [UInt8] = [0b1000_0001, 0b0100_0000, 0b0111_1100]
        #expect(try widened(six, as: .f6E2M3, count: 4, by: .generic) == [0.125, 0.25, 0.5, 7.5])
        #expect(try widened(six, as: .f6E3M2, count: 4, by: .generic) == [0.0625, 0.125, 0.25, 28])
    }

    @Test("F32 and F64 keep every number", arguments: KernelPath.available)
    func wideFloats(path: KernelPath) throws {
        var random = SplitMix64(seed: 1)
        var codes = (0..<20_000).map { _ in UInt32(truncatingIfNeeded: random.next()) }
        codes += [0, 1, 0x8000_0000, 0x8000_0001, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000]
        let values = try widened(bytes(codes), as: .f32, count: codes.count, by: path)
        for (code, value) in zip(codes, values) {
            let float = Float(bitPattern: code)
            let sign = UInt64(code >> 31) << 63, payload = UInt64(code & 0x7F_FFFF) << 29
            let expected = float.isNaN ? sign | 0x7FF8_0000_0000_0000 | payload : Double(float).bitPattern
            if value.bitPattern != expected { Issue.record("\(code)") }
        }
        let doubles = (0..<1000).map { _ in random.next() } + [0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_0000, 1]
        let copied = try widened(bytes(doubles), as: .f64, count: doubles.count, by: path)
        #expect(bitPatterns(copied) == doubles)
    }

    @Test("integers and booleans")
    func integers() throws {
        func check<T: FixedWidthInteger>(_ values: [T], _ dtype: DType) throws {
            let result = try widened(bytes(values), as: dtype, count: values.count, by: .active)
            #expect(result == values.map { Double($0) })
        }
        try check([UInt8.min, 1, 127, 128, .max], .u8)
        try check([Int8.min, -1, 0, 1, .max], .i8)
        try check([UInt16.min, 1, 32_768, .max], .u16)
        try check([Int16.min, -1, 0, .max], .i16)
        try check([UInt32.min, 1, 1 << 31, .max], .u32)
        try check([Int32.min, -1, 0, .max], .i32)
        // Beyond 2^53: nearest, ties to even, as Swift's conversion defines.
        let edge: UInt64 = 1 << 53
        let top = UInt64.max
        try check([0, edge, edge + 1, edge + 3, 1 << 63, top, top - 1023, top - 1024, top - 1025], .u64)
        let signedEdge: Int64 = 1 << 53
        let signedTop = Int64.max
        try check([.min, -1, 0, signedEdge + 1, -signedEdge - 3, signedTop, signedTop - 511, signedTop - 512], .i64)
        #expect(try widened([0, 1, 2, 255], as: .bool, count: 4, by: .active) == [0, 1, 1, 1])
    }

    @Test("any length at any address", arguments: KernelPath.available)
    func lengthsAndAlignments(path: KernelPath) throws {
        var random = SplitMix64(seed: 2)
        for dtype in [DType.f16, .bf16, .f32, .f64, .u16, .i32, .i64] {
            let whole = (0..<40 * 8).map { _ in UInt8(truncatingIfNeeded: random.next() >> 3) & 0x3F }
            for count in 0...40 {
                let part = Array(whole[..<(count * dtype.bits / 8)])
                let aligned = try widened(part, as: dtype, count: count, by: .generic)
                for offset in [0, 1, 2, 3, 5, 7] {
                    let result = try widened(part, as: dtype, count: count, by: path, offset: offset)
                    #expect(bitPatterns(result) == bitPatterns(aligned))
                }
            }
        }
    }

    @Test("sizes that do not agree, and complex numbers, are errors")
    func refusals() throws {
        func code(_ bytes: Int, _ dtype: DType, _ count: Int) -> PeftfileError.Code? {
            do {
                _ = try Conversion.widened(
                    UnsafeRawBufferPointer(start: nil, count: 0), as: dtype, count: bytes == 0 ? count : 0)
                var result = [Double](repeating: 0, count: count)
                try [UInt8](repeating: 0, count: bytes).withUnsafeBytes { source in
                    try result.withUnsafeMutableBufferPointer { try Conversion.widen(source, as: dtype, into: $0) }
                }
                return nil
            } catch let error as PeftfileError {
                return error.code
            } catch {
                return nil
            }
        }
        #expect(code(7, .f32, 2) == .malformed)
        #expect(code(2, .f4, 3) == .malformed)
        #expect(code(2, .f4, 4) == nil)
        #expect(code(2, .f6E2M3, 2) == .malformed)
        #expect(code(8, .c64, 1) == .unsupported)
        #expect(code(0, .f64, Int.max) == .malformed)
        #expect(code(0, .bf16, 0) == nil)
        #expect(DType.f4.byteCount(elements: Int.max) == nil)
        #expect(DType.f4.byteCount(elements: Int.max - 1) == Int.max / 2)
        #expect(DType.f6E3M2.byteCount(elements: 12) == 9)
        #expect(DType.f64.byteCount(elements: Int.max / 8 + 1) == nil)
        #expect(DType.u8.byteCount(elements: -1) == nil)
    }
}
