import Tensors

/// The function between two linear layers, element by element, in float64 with exp, tanh, σ and erf of our own.
///
/// | name | value |
/// |---|---|
/// | `tanh`, `sigmoid`, `linear` | as it says |
/// | `relu`, `relu2`, `relu6` | max(x, 0); its square; min of it and 6 |
/// | `leakyrelu` | x, or 0.01 x below 0 |
/// | `silu`, `quick_gelu` | x σ(x), x σ(1.702 x) |
/// | `gelu`, `gelu_10` | (0.5 x) (1 + erf(x √½)); the same held between −10 and 10 |
/// | `gelu_new` | (0.5 x) (1 + tanh(√(2/π) (x + 0.044715 x³))) |
/// | `gelu_fast` | (0.5 x) (1 + tanh(0.7978845608 x (1 + 0.044715 x²))) |
/// | `mish` | x n / (n + 2), n = eˣ (eˣ + 2), which is x tanh(ln(1 + eˣ)) |
/// | `hardswish` | x min(max(x + 3, 0), 6) / 6 |
/// | `laplace` | 0.5 (1 + erf((x − 0.707107) / (0.282095 √2))) |
///
/// The names are those of transformers' `ACT2FN`, where AdapterHub's `Activation_Function_Class` and OpenDelta's
/// `Activations` look them up. Not here are its functions with parameters of their own (`prelu`, `xielu`), and
/// `sqrtsoftplus`. Source: transformers/activations.py, adapters/methods/modeling.py,
/// opendelta/delta_models/layers/activations.py.
public enum PromptActivation: String, Sendable, Hashable, CaseIterable {
    /// By the names that transformers' `ACT2FN` has for them.
    case tanh, relu, relu2, relu6, sigmoid, silu, gelu, mish, hardswish, laplace
    /// x, and 0.01·x below 0.
    case leakyReLU = "leakyrelu"
    /// GELU, held between −10 and 10.
    case clippedGELU = "gelu_10"
    /// GELU by its tanh formula.
    case geluTanh = "gelu_new"
    /// GELU by its tanh formula, multiplied out otherwise.
    case fastGELU = "gelu_fast"
    /// x·σ(1.702·x).
    case quickGELU = "quick_gelu"
    /// x.
    case identity = "linear"

    /// Other names of the same functions.
    private static let synonyms: [String: PromptActivation] = [
        "swish": .silu, "leaky_relu": .leakyReLU, "gelu_python": .gelu, "gelu_orig": .gelu, "gelu_pytorch_tanh": .geluTanh,
        "gelu_python_tanh": .geluTanh, "gelu_accurate": .geluTanh, "identity": .identity,
    ]

    /// The function that a config names, in upper or lower case.
    public init?(name: String) {
        let name = name.lowercased()
        guard let function = PromptActivation(rawValue: name) ?? PromptActivation.synonyms[name] else { return nil }
        self = function
    }

    /// √(2/π), and √½.
    public static let rootTwoByPi = 0.797_884_560_802_865_4
    /// √½, rounded to float64.
    public static let rootHalf = 0.707_106_781_186_547_6
    /// What `laplace` takes away and divides by.
    public static let laplaceMean = 0.707107
    /// σ·√2 of the Laplace activation.
    public static let laplaceWidth = 0.282095 * 1.414_213_562_373_095_1

    /// The function's value.
    public func apply(_ x: Double) -> Double {
        switch self {
        case .identity: return x
        case .tanh: return Elementary.tanh(x)
        case .sigmoid: return Elementary.sigmoid(x)
        // Not max(x, 0), which would lose a NaN.
        case .relu: return x < 0 ? 0 : x
        case .relu2: return x < 0 ? 0 : x * x
        case .relu6: return x < 0 ? 0 : x > 6 ? 6 : x
        case .leakyReLU: return x < 0 ? 0.01 * x : x
        case .silu: return x * Elementary.sigmoid(x)
        case .quickGELU: return x * Elementary.sigmoid(1.702 * x)
        case .gelu: return 0.5 * x * (1 + Elementary.erf(x * PromptActivation.rootHalf))
        case .clippedGELU:
            let value = PromptActivation.gelu.apply(x)
            return value > 10 ? 10 : value < -10 ? -10 : value
        case .geluTanh:
            let inner = PromptActivation.rootTwoByPi * (x + 0.044715 * (x * x * x))
            return 0.5 * x * (1 + Elementary.tanh(inner))
        case .fastGELU: return 0.5 * x * (1 + Elementary.tanh(0.797_884_560_8 * x * (1 + 0.044715 * (x * x))))
        case .mish:
            // From 20 on the quotient is 1 − 2/e⁴⁰, which rounds to 1, and eˣ squared may overflow.
            if x > 20 { return x }
            let power = Elementary.exp(x)
            let numerator = power * (power + 2)
            return x * (numerator / (numerator + 2))
        case .hardswish:
            let shifted = x + 3
            return x * (shifted < 0 ? 0 : shifted > 6 ? 6 : shifted) / 6
        case .laplace:
            return 0.5 * (1 + Elementary.erf((x - PromptActivation.laplaceMean) / PromptActivation.laplaceWidth))
        }
    }
}
