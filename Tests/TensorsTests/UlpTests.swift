import Testing
@testable import Tensors

@Suite struct UlpTests {
    @Test("distances over the ordered list")
    func distances() {
        let least: [(DType, Double, Double)] = [
            (.f64, .leastNonzeroMagnitude, .greatestFiniteMagnitude),
            (.f32, Double(Float.leastNonzeroMagnitude), Double(Float.greatestFiniteMagnitude)),
            (.f16, 0x1p-24, 65_504), (.bf16, 0x1p-133, 0x1.FEp127),
        ]
        for (dtype, smallest, largest) in least {
            #expect(Ulp.distance(0, -0.0, in: dtype) == 0)
            #expect(Ulp.distance(0, smallest, in: dtype) == 1)
            #expect(Ulp.distance(-smallest, smallest, in: dtype) == 2)
            #expect(Ulp.distance(largest, .infinity, in: dtype) == 1)
            #expect(Ulp.distance(-.infinity, .infinity, in: dtype) == 2 * Ulp.distance(0, .infinity, in: dtype))
            #expect(Ulp.distance(.nan, -.nan, in: dtype) == 0)
            #expect(Ulp.distance(.nan, .infinity, in: dtype) == .max)
            #expect(Ulp.distance(1, .nan, in: dtype) == .max)
            #expect(Ulp.distance(1, 1 + Ulp.spacing(at: 1, in: dtype), in: dtype) == 1)
            #expect(Ulp.distance(1, 1 - Ulp.spacing(at: 1, in: dtype) / 2, in: dtype) == 1)
        }
        #expect(Ulp.distance(0, .infinity, in: .f16) == 0x7C00)
        #expect(Ulp.distance(0, .infinity, in: .f64) == 0x7FF0_0000_0000_0000)
        #expect(Ulp.distance(1, 2, in: .bf16) == 128)
        // Values between the numbers of the type are rounded first.
        #expect(Ulp.distance(1, 1.0001, in: .bf16) == 0)
        #expect(Ulp.distance(3, 3, in: .i32) == 0 && Ulp.distance(3, 4, in: .i32) == .max)
    }

    @Test("the 16-bit codes are consecutive")
    func consecutive() {
        for definition in [FloatDefinition.f16, .bf16] {
            for code in stride(from: 0, to: definition.infinity, by: 7) {
                let (low, high) = (definition.value(code), definition.value(code + 1))
                if Ulp.distance(low, high, in: definition.dtype) != 1
                    || Ulp.distance(-high, -low, in: definition.dtype) != 1
                    || Ulp.distance(-low, high, in: definition.dtype) != UInt64(2 * code + 1)
                    || (high.isFinite && Ulp.spacing(at: low, in: definition.dtype) != high - low)
                { Issue.record("\(definition.dtype) \(code)") }
            }
        }
    }

    @Test("spacing")
    func spacing() {
        for value in [1.0, -3.7, 1e-300, .leastNonzeroMagnitude, 1e308, 0, 0x1p-1022] {
            #expect(Ulp.spacing(at: value, in: .f64) == value.ulp)
        }
        for value: Float in [1, -3.7, 1e-30, .leastNonzeroMagnitude, 3e38, 0, 0x1p-126] {
            #expect(Ulp.spacing(at: Double(value), in: .f32) == Double(value.ulp))
        }
        #expect(Ulp.spacing(at: 1.9999999, in: .bf16) == 0x1p-7)
        #expect(Ulp.spacing(at: 1e30, in: .f16) == 32)
        #expect(Ulp.spacing(at: 1e-30, in: .f16) == 0x1p-24)
        #expect(Ulp.spacing(at: .infinity, in: .f16).isNaN && Ulp.spacing(at: 1, in: .u8).isNaN)
    }

    @Test("lists")
    func lists() {
        func compare(_ a: [Double], _ b: [Double], _ dtype: DType) -> (largest: UInt64, differing: Int) {
            a.withUnsafeBufferPointer { a in b.withUnsafeBufferPointer { Ulp.compare(a, $0, in: dtype) } }
        }
        #expect(compare([], [], .f32) == (0, 0))
        #expect(compare([1, 2, .nan, 0], [1, 2, .nan, -0.0], .f32) == (0, 0))
        #expect(compare([1, 2, 3], [1.0078125, 2, 3.03125], .bf16) == (2, 2))
        #expect(compare([1, .nan], [1, 1], .bf16) == (.max, 1))
    }
}
