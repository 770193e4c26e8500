import Foundation
import Tensors
import TestSupport
import Testing
@testable import Verification

/// The second tanh, and the claim that its distance from the first stays within the bound that verification uses.
@Suite struct PromptArithmeticTests {
    @Test func twoWaysToTanhAgree() {
        var generator = SplitMix64(seed: 9)
        for _ in 0..<100_000 {
            let x = Double.random(in: -24...24, using: &generator) * Double.random(in: 0...1, using: &generator)
            let (ours, second) = (Elementary.tanh(x), SecondTanh.tanh(x))
            #expect((ours - second).magnitude <= Bounded.functionError * ours.magnitude, "\(x)")
            let difference = (Elementary.sigmoid(x) - SecondTanh.sigmoid(x)).magnitude
            #expect(difference <= Bounded.functionError, "\(x)")
        }
        #expect(SecondTanh.tanh(.infinity) == 1 && SecondTanh.tanh(-.infinity) == -1 && SecondTanh.tanh(.nan).isNaN)
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
