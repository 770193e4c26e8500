import Checkpoints
import Foundation
import TestSupport
import Testing

/// The logarithm by arithmetic against the C library's.
@Suite struct GGUFLogarithmTests {
    /// Within 2 ulp over the range of what mamba's converters write, and over all exponents.
    @Test func isTheLibrarys() {
        var random = SplitMix64(seed: 11)
        for number in 0..<20000 {
            let exponent = number % 2 == 0 ? Double.random(in: -40...40, using: &random) : Double.random(in: -1000...1000, using: &random)
            let x = Foundation.exp2(exponent)
            let (found, expected) = (GGUFLogarithm.of(x), Foundation.log(x))
            #expect((found - expected).magnitude <= 2 * expected.ulp, "\(x)")
        }
        #expect(GGUFLogarithm.of(1) == 0 && GGUFLogarithm.of(0) == -.infinity && GGUFLogarithm.of(-1).isNaN)
        #expect(GGUFLogarithm.of(.infinity) == .infinity && GGUFLogarithm.of(.nan).isNaN)
    }

    /// What float32 leaves of −exp(a) is led back to every a that BF16 has between 2⁻¹⁴ and 16.
    @Test func leadsBackToBF16() {
        for bits in 0x3880...0x4180 {
            for sign in [1.0, -1.0] {
                let a = sign * Double(Float(bitPattern: UInt32(bits) << 16))
                let stored = Double(Float(Foundation.exp(a)))
                let found = Float(GGUFLogarithm.of(stored)).bitPattern
                #expect(UInt32((UInt64(found) + 0x8000) >> 16) << 16 == Float(a).bitPattern, "\(a)")
            }
        }
    }
}
