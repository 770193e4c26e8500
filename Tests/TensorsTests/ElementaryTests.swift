import Foundation
import Tensors
import TestSupport
import Testing

/// exp, tanh, the logistic function and erf against 80-bit arithmetic (elsewhere than on x86: against the C library).
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

    @Test func errorFunction() {
        #expect(Self.worst(Elementary.erf) { Self.split(Foundation.erf(Float80($0))) } < Self.bound)
    }

    @Test func sineAndCosine() {
        // Far arguments have a test of their own.
        #expect(Self.worst(Elementary.sine) { $0.magnitude <= 40 ? Self.split(Foundation.sin(Float80($0))) : (0, 0) } < 0.85)
        #expect(Self.worst(Elementary.cosine) { $0.magnitude <= 40 ? Self.split(Foundation.cos(Float80($0))) : (0, 0) } < 0.85)
    }

    @Test func logistic() {
        #expect(Self.worst(Elementary.sigmoid) { Self.split(1 / (1 + Foundation.exp(-Float80($0)))) } < Self.bound)
    }
    #else
    @Test func nearTheLibrary() {
        #expect(Self.worst(Elementary.exp) { (Foundation.exp($0), 0) } < 2)
        #expect(Self.worst(Elementary.tanh) { (Foundation.tanh($0), 0) } < 3)
        #expect(Self.worst(Elementary.sigmoid) { (1 / (1 + Foundation.exp(-$0)), 0) } < 3)
        #expect(Self.worst(Elementary.erf) { (Foundation.erf($0), 0) } < 3)
    }
    #endif

    /// Far out the C library's own reduction is the reference: it is within 1 ulp, and so are we.
    @Test func anglesFarOut() {
        var generator = SplitMix64(seed: 5)
        var worst = 0.0
        for _ in 0..<200_000 {
            let x = Double.random(in: -Elementary.largestAngle...Elementary.largestAngle, using: &generator)
            for (ours, theirs) in [(Elementary.sine(x), Foundation.sin(x)), (Elementary.cosine(x), Foundation.cos(x))] {
                worst = max(worst, (ours - theirs).magnitude / Ulp.spacing(at: theirs, in: .f64))
            }
        }
        // Multiples of π/2, as near as a double comes to them, where the first parts of π/2 cancel.
        for n in stride(from: 1.0, to: 600_000, by: 1) {
            let x = n * (Double.pi / 2)
            for (ours, theirs) in [(Elementary.sine(x), Foundation.sin(x)), (Elementary.cosine(x), Foundation.cos(x))] {
                worst = max(worst, (ours - theirs).magnitude / Ulp.spacing(at: theirs, in: .f64))
            }
        }
        #expect(worst <= 1)
        #expect(Elementary.sine(-0.0).sign == .minus && Elementary.cosine(0) == 1)
        #expect(Elementary.sine(.infinity).isNaN && Elementary.cosine(2 * Elementary.largestAngle).isNaN)
        #expect(Elementary.sine(.nan).isNaN)
    }

    /// erf(x) from a computation with 100 digits (mpmath's erf), as the nearest double and the nearest double of the rest.
    static let errorFunctionTable: [(x: Double, value: Double, rest: Double)] = [
        (0x1p-1074, 0x0.0000000000001p-1022, 0x0.0p+0),
        (0x1.8p-300, 0x1.b14c2f863e924p-300, -0x1.95eaa098206f0p-354),
        (0x1.23456789abcdep-30, 0x1.48aa0c88b7fe9p-30, 0x1.4d0cdb0b9c684p-84),
        (0x1p-29, 0x1.20dd750429b6dp-29, 0x1.02d134a9fb5e1p-85),
        (0x1.fp-20, 0x1.17d6895c070afp-19, 0x1.1ed66425d4fa9p-75),
        (0x1.999999999999ap-4, 0x1.cca5ea24fb334p-4, 0x1.112c8facdc19cp-60),
        (0x1p-1, 0x1.0a7ef5c18edd2p-1, 0x1.5e809f1a31a28p-56),
        (0x1.199999999999ap+0, 0x1.c2aa3d27302c0p-1, -0x1.05ffab83077fdp-58),
        (0x1.8p+0, 0x1.eea5557137ae0p-1, -0x1.385e445f2c96dp-55),
        (0x1.fffffffffffffp+0, 0x1.fd9ae142795e3p-1, 0x1.428119ed0d31bp-56),
        (0x1p+1, 0x1.fd9ae142795e3p-1, 0x1.972801904b9a3p-56),
        (0x1.0000000000001p+1, 0x1.fd9ae142795e3p-1, 0x1.203ae86b64358p-55),
        (0x1.4p+1, 0x1.ffcaa8f4c9beap-1, 0x1.b0cee160116f9p-55),
        (0x1.8p+1, 0x1.fffd1ac4135f9p-1, 0x1.eeafa1ecd6cefp-55),
        (0x1.c28f5c28f5c29p+1, 0x1.ffffea7254a8dp-1, 0x1.3f94739d867c0p-57),
        (0x1.1p+2, 0x1.fffffff01a8b6p-1, 0x1.23370eca5ca6ap-60),
        (0x1.5p+2, 0x1.ffffffffffc05p-1, 0x1.07ba96a6b2e1ap-55),
        (0x1.7p+2, 0x1.ffffffffffffcp-1, 0x1.8115fd1b12786p-56),
    ]

    @Test func errorFunctionAgainstHundredDigits() {
        for (x, value, rest) in Self.errorFunctionTable {
            for sign in [1.0, -1] {
                let error = ((Elementary.erf(sign * x) - sign * value) - sign * rest).magnitude / Ulp.spacing(at: value, in: .f64)
                #expect(error < (value.isNormal ? 0.625 : 1), "\(sign * x)")
            }
        }
    }

    @Test func ends() {
        #expect(Elementary.exp(0) == 1 && Elementary.exp(-.infinity) == 0 && Elementary.exp(.infinity) == .infinity)
        #expect(Elementary.exp(709.7) < .infinity && Elementary.exp(709.8) == .infinity)
        #expect(Elementary.exp(-745) == .leastNonzeroMagnitude && Elementary.exp(-746) == 0)
        #expect(Elementary.tanh(.infinity) == 1 && Elementary.tanh(-.infinity) == -1)
        #expect(Elementary.tanh(-0.0).sign == .minus && Elementary.tanh(0).sign == .plus)
        #expect(Elementary.tanh(1e-300) == 1e-300)
        #expect(Elementary.sigmoid(0) == 0.5 && Elementary.sigmoid(.infinity) == 1 && Elementary.sigmoid(-.infinity) == 0)
        #expect(Elementary.erf(.infinity) == 1 && Elementary.erf(-6.5) == -1 && Elementary.erf(5.8) < 1)
        #expect(Elementary.erf(-0.0).sign == .minus && Elementary.erf(0).sign == .plus)
        for function in [Elementary.exp, Elementary.tanh, Elementary.sigmoid, Elementary.erf] {
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
            #expect(Elementary.erf(-x) == -Elementary.erf(x) && Elementary.erf(x).magnitude <= 1)
        }
    }

    /// A hash over the bits of erf: what every processor must give.
    @Test func bitsOfTheErrorFunctionAreFixed() {
        var hash = SHA256()
        for x in Self.arguments {
            withUnsafeBytes(of: Elementary.erf(x).bitPattern.littleEndian) { hash.update($0) }
        }
        #expect(SHA256.hex(hash.finalize()) == "c3518a29fc8b681ccbec92735f28901a55736a2fad4a4df9222296c9ab56a2a1")
    }

    /// A hash over the bits of the other three: what every processor must give.
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
