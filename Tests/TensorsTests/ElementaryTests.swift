import Foundation
import Tensors
import TestSupport
import Testing

/// exp, tanh and the logistic function against 80-bit arithmetic (elsewhere than on x86: against the C library).
@Suite struct ElementaryTests {
    /// Arguments of every size: dense where the functions bend, sparse out to the ends of the range.
    static let arguments: [Double] = {
        var generator = SplitMix64(seed: 4)
        var values = (0..<200_000).map { _ in Double.random(in: -8...8, using: &generator) }
        values += (0..<60_000).map { _ in Double.random(in: -40...40, using: &generator) }
        values += (0..<60_000).map { _ in generator.double(exponents: -60...9) }
        values += (-800...800).map { Double($0) * 0.34657359027997264 }
        values += [0.5, 1, 2, 19.99, 20, 20.01, 0x1p-28, 0x1p-29, 36.7, 37, 40, 40.01].flatMap { [$0, -$0] }
        return values
    }()

    /// The largest |value − exact| in ulps of the exact result, over arguments whose result is a normal number.
    static func worst(_ function: (Double) -> Double, _ exact: (Double) -> (value: Double, rest: Double)) -> Double {
        var worst = 0.0
        for x in arguments {
            let (value, rest) = exact(x)
            guard value.isNormal else { continue }
            let error = ((function(x) - value) - rest).magnitude / Ulp.spacing(at: value, in: .f64)
            if error > worst { worst = error }
        }
        return worst
    }

    #if arch(x86_64) && !os(Windows)
    /// An 80-bit value as the nearest double and what is left.
    static func split(_ value: Float80) -> (value: Double, rest: Double) {
        let near = Double(value)
        return (near, near.isFinite ? Double(value - Float80(near)) : 0)
    }

    static let bound = 0.625

    @Test func exponential() {
        #expect(Self.worst(Elementary.exp) { Self.split(Foundation.exp(Float80($0))) } < Self.bound)
    }

    @Test func hyperbolicTangent() {
        #expect(Self.worst(Elementary.tanh) { Self.split(Foundation.tanh(Float80($0))) } < Self.bound)
    }

    @Test func logistic() {
        #expect(Self.worst(Elementary.sigmoid) { Self.split(1 / (1 + Foundation.exp(-Float80($0)))) } < Self.bound)
    }
    #else
    @Test func nearTheLibrary() {
        #expect(Self.worst(Elementary.exp) { (Foundation.exp($0), 0) } < 2)
        #expect(Self.worst(Elementary.tanh) { (Foundation.tanh($0), 0) } < 3)
        #expect(Self.worst(Elementary.sigmoid) { (1 / (1 + Foundation.exp(-$0)), 0) } < 3)
    }
    #endif

    @Test func ends() {
        #expect(Elementary.exp(0) == 1 && Elementary.exp(-.infinity) == 0 && Elementary.exp(.infinity) == .infinity)
        #expect(Elementary.exp(709.7) < .infinity && Elementary.exp(709.8) == .infinity)
        #expect(Elementary.exp(-745) == .leastNonzeroMagnitude && Elementary.exp(-746) == 0)
        #expect(Elementary.tanh(.infinity) == 1 && Elementary.tanh(-.infinity) == -1)
        #expect(Elementary.tanh(-0.0).sign == .minus && Elementary.tanh(0).sign == .plus)
        #expect(Elementary.tanh(1e-300) == 1e-300)
        #expect(Elementary.sigmoid(0) == 0.5 && Elementary.sigmoid(.infinity) == 1 && Elementary.sigmoid(-.infinity) == 0)
        for function in [Elementary.exp, Elementary.tanh, Elementary.sigmoid] {
            #expect(function(.nan).bitPattern == 0x7FF8_0000_0000_0000)
            #expect(function(-Double.nan).bitPattern == 0x7FF8_0000_0000_0000)
        }
    }

    /// exp at subnormal results: within one step of the library's.
    @Test func subnormalResults() {
        for step in 0..<4000 {
            let x = -708.3 - Double(step) * 0.0092
            #expect(Ulp.distance(Elementary.exp(x), Foundation.exp(x), in: .f64) <= 2, "\(x)")
        }
    }

    /// Odd, rising, and tanh(x) = 2 σ(2x) − 1 to within the rounding of the right side.
    @Test func identities() {
        for x in Self.arguments {
            #expect(Elementary.tanh(-x) == -Elementary.tanh(x))
            #expect((Elementary.tanh(x) - (2 * Elementary.sigmoid(2 * x) - 1)).magnitude <= 0x1p-51)
            #expect(Elementary.tanh(x.nextUp) >= Elementary.tanh(x) - 0x1p-53)
        }
    }

    /// A hash over the bits of all results: what every processor must give.
    @Test func bitsAreFixed() {
        var hash = SHA256()
        for x in Self.arguments {
            for value in [Elementary.exp(x), Elementary.tanh(x), Elementary.sigmoid(x)] {
                withUnsafeBytes(of: value.bitPattern.littleEndian) { hash.update($0) }
            }
        }
        #expect(SHA256.hex(hash.finalize()) == "036f8b816559c364595ff87d04abbb698c20550adcd496d273878f8dbab2a59f")
    }
}
