import Adapters
import Foundation
import Tensors
import TestSupport
import Testing
@testable import Verification

/// The second tanh and erf, and the claim that their distance from the first stays within the bound that verification uses.
@Suite struct PromptArithmeticTests {
    @Test func twoWaysToTanhAgree() {
        var generator = SplitMix64(seed: 9)
        for _ in 0..<100_000 {
            let x = Double.random(in: -24...24, using: &generator) * Double.random(in: 0...1, using: &generator)
            let (ours, second) = (Elementary.tanh(x), SecondElementary.tanh(x))
            #expect((ours - second).magnitude <= Bounded.functionError * ours.magnitude, "\(x)")
            let difference = (Elementary.sigmoid(x) - SecondElementary.sigmoid(x)).magnitude
            #expect(difference <= Bounded.functionError, "\(x)")
        }
        #expect(SecondElementary.tanh(.infinity) == 1 && SecondElementary.tanh(-.infinity) == -1 && SecondElementary.tanh(.nan).isNaN)
    }

    /// The two ways to erf, and the bound of every function against the values that are written.
    @Test func twoWaysToEveryFunctionAgree() {
        var generator = SplitMix64(seed: 11)
        for _ in 0..<20_000 {
            let x = Double.random(in: -7...7, using: &generator) * Double.random(in: 0...1, using: &generator)
            #expect((Elementary.erf(x) - SecondElementary.erf(x)).magnitude <= SecondElementary.erfError, "\(x)")
            for (function, angle) in [(ElementFunction.sine, x), (.cosine, x), (.sine, x * 0x1p17), (.cosine, x * 0x1p17)] {
                let second = function.second(of: angle, error: 0)
                #expect((function(angle) - second.value).magnitude <= second.error && second.error < 0x1p-45, "\(angle)")
                let moved = function.second(of: angle + 0x1p-30, error: 0x1p-29)
                #expect((function(angle) - moved.value).magnitude <= moved.error, "\(angle)")
            }
            for activation in PromptActivation.allCases {
                // What comes in is off by at most 2^-40, and is so here.
                let change = Double.random(in: -0x1p-40...0x1p-40, using: &generator)
                let bounded = PromptRecomputation.apply(activation, to: Bounded(values: [x + change], errors: [0x1p-40]))
                #expect((bounded.values[0] - activation.apply(x)).magnitude <= bounded.errors[0], "\(activation) \(x)")
                #expect(bounded.errors[0] < 0x1p-33, "\(activation) \(x)")
                let exact = PromptRecomputation.apply(activation, to: Bounded(exact: [x]))
                #expect((exact.values[0] - activation.apply(x)).magnitude <= 2 * exact.errors[0], "\(activation) \(x)")
            }
        }
        for activation in PromptActivation.allCases {
            #expect(activation.apply(.nan).isNaN)
            #expect(PromptRecomputation.apply(activation, to: Bounded(exact: [.nan])).values[0].isNaN)
        }
    }

    /// The bounds of a cell's arithmetic hold against the exact result of exact inputs.
    @Test func boundsOfProductsAndSums() {
        var generator = SplitMix64(seed: 10)
        for _ in 0..<10_000 {
            let (a, b) = (generator.double(exponents: -3...3), generator.double(exponents: -3...3))
            let (da, db) = (a * 0x1p-40, b * 0x1p-41)
            let x = BoundedNumber(value: a, error: da.magnitude)
            let y = BoundedNumber(value: b, error: db.magnitude)
            // The left sides are rounded themselves.
            let noise = 4 * Bounded.unit
            #expect(((a + da) * (b - db) - (x * y).value).magnitude <= (x * y).error + noise * (a * b).magnitude)
            #expect(((a + da) + (b - db) - (x + y).value).magnitude <= (x + y).error + noise * (a.magnitude + b.magnitude))
        }
    }
}
