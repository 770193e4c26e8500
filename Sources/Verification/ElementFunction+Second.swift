import Adapters

extension ElementFunction {
    /// Whether both paths compute it by the same comparisons, which never stretch a distance.
    var isSteady: Bool {
        switch self {
        case .atLeast, .atMost, .relu: true
        case .reciprocal, .sine, .cosine, .activation, .exponential: false
        }
    }

    /// The function's value by formulas that share nothing with the defined ones, and a bound of the distance between the
    /// two, where the argument may be off by `error`.
    ///
    /// sin and cos never stretch a distance. The bounds of activations are those of the prompts' verification, which
    /// hold for either path against the real value: twice that for the two.
    func second(of x: Double, error: Double) -> (value: Double, error: Double) {
        switch self {
        case .atLeast, .atMost, .relu: return (self(x), error)
        case .reciprocal(let limit):
            let value = self(x)
            if error == 0 { return (value, 0) }
            // On one side of the limit both paths give 0, on the other both divide.
            if x + error <= limit { return (0, 0) }
            guard x - error > limit, x > error else { return (value, .infinity) }
            return (value, (error / (x * (x - error)) + 2 * RoundingError.unit * value) * RoundingError.slack)
        case .sine: return (SecondElementary.sine(x), error + 2 * SecondElementary.angleError)
        case .cosine: return (SecondElementary.cosine(x), error + 2 * SecondElementary.angleError)
        case .exponential:
            let value = SecondElementary.exponential(x)
            // e^D − 1 ≤ 2D for D ≤ 1.
            guard error <= 1 else { return (value, .infinity) }
            let moved = value * (2 * error + SecondElementary.exponentialError)
            return (value, moved * RoundingError.slack + RoundingError.underflow)
        case .activation(let activation):
            let result = PromptRecomputation.apply(activation, to: BoundedNumber(value: x, error: error))
            return (result.value, 2 * result.error)
        }
    }
}
