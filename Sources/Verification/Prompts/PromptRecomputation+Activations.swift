import Adapters

extension PromptRecomputation {
    /// The function on every number.
    static func apply(_ activation: PromptActivation, to x: Bounded) -> Bounded {
        guard activation != .identity else { return x }
        var result = x
        for index in x.values.indices {
            let bounded = apply(activation, to: BoundedNumber(value: x.values[index], error: x.errors[index]))
            (result.values[index], result.errors[index]) = (bounded.value, bounded.error)
        }
        return result
    }

    /// The value by the second path's functions; the error is what came in times a bound of the slope, and what computing
    /// it here or there adds.
    ///
    /// The products and sums around tanh, σ and erf act on numbers no larger than x itself and 1; the inner cubic of the
    /// gelus moves tanh by at most its own relative error, which the factor of 2 covers. With erf in it a function is off
    /// by what erf is, times |x| where that multiplies it.
    static func apply(_ activation: PromptActivation, to x: BoundedNumber) -> BoundedNumber {
        let v = x.value
        let size = v.magnitude
        func bounded(_ value: Double, slope: Double, more: Double = 0) -> BoundedNumber {
            let own = Bounded.functionError * (value.magnitude + 2 * size + 1) + more
            return BoundedNumber(value: value, error: x.error * slope + own)
        }
        /// Without rounding but for at most two products.
        func piecewise(_ value: Double, slope: Double) -> BoundedNumber {
            BoundedNumber(value: value, error: x.error * slope + 4 * Bounded.unit * value.magnitude)
        }
        func gelu() -> BoundedNumber {
            let erf = SecondElementary.erf(v * PromptActivation.rootHalf)
            return bounded(v * (0.5 + 0.5 * erf), slope: 1.13, more: SecondElementary.erfError * size)
        }
        func byTanh(_ inner: Double) -> BoundedNumber {
            bounded(v * (0.5 + 0.5 * SecondElementary.tanh(inner)), slope: 1.13)
        }
        switch activation {
        case .identity: return x
        case .tanh: return x.tanh
        case .sigmoid: return bounded(SecondElementary.sigmoid(v), slope: 0.25)
        case .silu: return bounded(v * SecondElementary.sigmoid(v), slope: 1.1)
        case .quickGELU: return bounded(v * SecondElementary.sigmoid(1.702 * v), slope: 1.1)
        case .relu: return BoundedNumber(value: v > 0 || v.isNaN ? v : 0, error: x.error)
        case .relu6: return BoundedNumber(value: v.isNaN ? v : min(max(v, 0), 6), error: x.error)
        case .relu2:
            let kept = v > 0 || v.isNaN ? v : 0
            return piecewise(kept * kept, slope: 2 * (size + x.error))
        case .leakyReLU: return piecewise(v < 0 ? v * 0.01 : v, slope: 1)
        case .hardswish:
            let gate = v.isNaN ? v : min(max(v + 3, 0), 6)
            // Where the sum nearly cancels it is off by a unit of 3.
            return bounded(v * gate / 6, slope: 1.5)
        case .gelu: return gelu()
        case .clippedGELU:
            var result = gelu()
            if !result.value.isNaN { result.value = min(max(result.value, -10), 10) }
            return result
        // √(2/π)·x·(1 + 0.044715·x²)
        case .geluTanh: return byTanh(PromptActivation.rootTwoByPi * v * (1 + 0.044715 * v * v))
        case .fastGELU: return byTanh(0.797_884_560_8 * v * (1 + 0.044715 * v * v))
        case .mish:
            // With r = σ(−x) = 1 / (1 + eˣ), tanh(ln(1 + eˣ)) = (1 − r²) / (1 + r²).
            let rest = SecondElementary.sigmoid(-v)
            return bounded(v * (1 - rest * rest) / (1 + rest * rest), slope: 1.1)
        case .laplace:
            let erf = SecondElementary.erf((v - PromptActivation.laplaceMean) / PromptActivation.laplaceWidth)
            // Its argument is off by at most 4 units of itself, and x·e^(−x²) is below 1/2.
            return bounded(0.5 + 0.5 * erf, slope: 1.42, more: SecondElementary.erfError)
        }
    }
}
