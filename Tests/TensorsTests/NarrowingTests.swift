import ByteAccess
import TestSupport
import Testing
@testable import Tensors

@Suite struct NarrowingTests {
    /// Between every two neighbouring numbers of the format: the halfway point, which double holds exactly, goes to the
    /// even code, the next double below it to the lower code and the next above to the upper one. All three differ from
    /// the halfway point by less than float can tell, so narrowing by way of float fails here.
    @Test("every tie and its neighbours, every sign", arguments: KernelPath.available, [FloatDefinition.f16, .bf16])
    func ties(path: KernelPath, definition: FloatDefinition) throws {
        var values: [Double] = []
        var expected: [UInt16] = []
        for code in 0..<definition.infinity {
            let lower = definition.value(code)
            // Beyond the largest number, rounding works as if the next one existed, and gives Inf for it.
            let upper = code + 1 == definition.infinity
                ? 2 * definition.value(definition.infinity - (1 << definition.fractionBits))
                : definition.value(code + 1)
            let middle = (lower + upper) / 2
            let even = code % 2 == 0 ? code : code + 1
            for (value, result) in [
                (lower, code), (lower.nextUp, code), (middle.nextDown, code), (middle, even),
                (middle.nextUp, code + 1), (upper.nextDown, code + 1),
            ] {
                values += [value, -value]
                expected += [UInt16(result), UInt16(result) | 0x8000]
            }
        }
        values += [.infinity, -.infinity, .greatestFiniteMagnitude, -.greatestFiniteMagnitude]
        let infinity = UInt16(definition.infinity)
        expected += [infinity, infinity | 0x8000, infinity, infinity | 0x8000]
        values += [.leastNonzeroMagnitude, -.leastNonzeroMagnitude, 0, -0.0]
        expected += [0, 0x8000, 0, 0x8000]

        let codes = integers(try narrowed(values, to: definition.dtype, by: path), as: UInt16.self)
        for i in values.indices where codes[i] != expected[i] {
            Issue.record("\(definition.dtype): \(values[i]) -> \(codes[i]), not \(expected[i])")
        }
    }

    @Test("rounding twice would give other answers, and we do not")
    func doubleRounding() throws {
        // 1 + 2^-8 + 2^-40 lies above the tie between two BF16 numbers; as a float it is the tie, which goes to even.
        let value = 1 + 0x1p-8 + 0x1p-40
        let twice = UInt16(Float(value).bitPattern >> 16)
        for path in KernelPath.available {
            let once = integers(
                try narrowed([Double](repeating: value, count: 9), to: .bf16, by: path), as: UInt16.self)
            #expect(once == [UInt16](repeating: 0x3F81, count: 9))
        }
        #expect(twice == 0x3F80)
        #if !(os(macOS) && arch(x86_64))
        let half = 1 + 0x1p-11 + 0x1p-40
        #expect(Float16(Float(half)).bitPattern == 0x3C00)
        for path in KernelPath.available {
            let once = integers(
                try narrowed([Double](repeating: half, count: 9), to: .f16, by: path), as: UInt16.self)
            #expect(once == [UInt16](repeating: 0x3C01, count: 9))
        }
        #endif
    }

    @Test("every 16-bit number survives the way there and back", arguments: KernelPath.available)
    func roundTrip(path: KernelPath) throws {
        for definition in [FloatDefinition.f16, .bf16] {
            let codes = (0..<65_536).map { UInt16($0) }
            let values = try widened(bytes(codes), as: definition.dtype, count: codes.count, by: path)
            let back = integers(try narrowed(values, to: definition.dtype, by: path), as: UInt16.self)
            let canonical: UInt16 = definition.dtype == .f16 ? 0x7E00 : 0x7FC0
            for i in codes.indices where back[i] != (values[i].isNaN ? canonical : codes[i]) {
                Issue.record("\(definition.dtype): \(codes[i]) came back as \(back[i])")
            }
        }
    }

    @Test("random doubles agree with Swift's Float and Float16", arguments: KernelPath.available)
    func random(path: KernelPath) throws {
        var random = SplitMix64(seed: 3)
        var values: [Double] = []
        for exponents in [-160...(-120), -30...20, 120...130, -1074...1023] {
            values += random.doubles(20_001, exponents: exponents)
        }
        // Ties of float, and their neighbours, subnormal ones included.
        for _ in 0..<20_000 {
            let code = UInt32(truncatingIfNeeded: random.next()) & 0x7FFF_FFFF
            guard code < 0x7F7F_FFFF else { continue }
            let middle = (Double(Float(bitPattern: code)) + Double(Float(bitPattern: code + 1))) / 2
            values += [middle, middle.nextUp, middle.nextDown, -middle, -middle.nextUp]
        }
        values += [Double(Float.greatestFiniteMagnitude).nextUp, 0x1.ffffffp127, 0x1.ffffffp127.nextDown, 0x1p-150]
        values += [0x1p-150.nextUp, 0x1p-149, .infinity, -.infinity, 0, -0.0]
        let floats = integers(try narrowed(values, to: .f32, by: path), as: UInt32.self)
        for i in values.indices where floats[i] != Float(values[i]).bitPattern { Issue.record("\(values[i])") }
        #if !(os(macOS) && arch(x86_64))
        let halves = integers(try narrowed(values, to: .f16, by: path), as: UInt16.self)
        for i in values.indices where halves[i] != Float16(values[i]).bitPattern { Issue.record("\(values[i])") }
        #endif
        let generic = try narrowed(values, to: .bf16, by: .generic)
        #expect(try narrowed(values, to: .bf16, by: path) == generic)
        let doubles = integers(try narrowed(values, to: .f64, by: path), as: UInt64.self)
        #expect(doubles == bitPatterns(values))
    }

    @Test("NaN of every kind becomes the canonical one", arguments: KernelPath.available)
    func canonicalNaN(path: KernelPath) throws {
        let patterns: [UInt64] = [
            0x7FF8_0000_0000_0000, 0xFFF8_0000_0000_0000, 0x7FF0_0000_0000_0001, 0xFFF0_0000_0000_0001,
            0x7FFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0x7FF4_0000_0000_0000, 0x7FF0_0000_2000_0000,
        ]
        // Beside numbers, at every place of a vector.
        for shift in 0..<9 {
            let values = [Double](repeating: 1, count: shift) + patterns.map { Double(bitPattern: $0) } + [1, 1]
            func check<T: FixedWidthInteger>(_ dtype: DType, _ one: T, _ nan: T) throws {
                let expected = [T](repeating: one, count: shift) + [T](repeating: nan, count: 8) + [one, one]
                #expect(integers(try narrowed(values, to: dtype, by: path), as: T.self) == expected)
            }
            try check(.f16, UInt16(0x3C00), 0x7E00)
            try check(.bf16, UInt16(0x3F80), 0x7FC0)
            try check(.f32, UInt32(0x3F80_0000), 0x7FC0_0000)
            try check(.f64, UInt64(0x3FF0_0000_0000_0000), 0x7FF8_0000_0000_0000)
        }
    }

    @Test("every length gives the same codes, and nothing is written past the end", arguments: KernelPath.available)
    func lengths(path: KernelPath) throws {
        var random = SplitMix64(seed: 4)
        let values = random.doubles(41, exponents: -30...20)
        for dtype in [DType.f16, .bf16, .f32, .f64] {
            let size = dtype.bits / 8
            let whole = try narrowed(values, to: dtype, by: .generic)
            for count in 0...41 {
                for offset in 0..<3 {
                    var target = [UInt8](repeating: 0xA5, count: offset + count * size + 9)
                    try values[..<count].withUnsafeBufferPointer { source in
                        try target.withUnsafeMutableBytes {
                            let place = UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + count * size])
                            try Conversion.narrow(source, to: dtype, into: place, by: path)
                        }
                    }
                    #expect(Array(target[offset..<offset + count * size]) == Array(whole[..<(count * size)]))
                    #expect(target[..<offset].allSatisfy { $0 == 0xA5 } && target.suffix(9).allSatisfy { $0 == 0xA5 })
                }
            }
        }
    }

    @Test("other types and other sizes are errors")
    func refusals() {
        #expect(throws: PeftfileError.self) { try Conversion.narrowed([1], to: .i8) }
        #expect(throws: PeftfileError.self) { try Conversion.narrowed([1], to: .f8E4M3) }
        #expect(throws: PeftfileError.self) {
            var small = [UInt8](repeating: 0, count: 3)
            try [1.0, 2.0].withUnsafeBufferPointer { source in
                try small.withUnsafeMutableBytes { try Conversion.narrow(source, to: .bf16, into: $0) }
            }
        }
        #expect((try? Conversion.narrowed([], to: .f32)) == [])
    }
}
