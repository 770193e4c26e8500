import Tensors

/// A binary floating-point type as its standard defines it, in plain arithmetic and apart from the kernels.
struct FloatDefinition: Sendable {
    enum Specials { case none, ieee, oneNaN, zeroNaN }

    let dtype: DType
    let exponentBits: Int
    let fractionBits: Int
    let bias: Int
    let specials: Specials

    static let f16 = FloatDefinition(dtype: .f16, exponentBits: 5, fractionBits: 10, bias: 15, specials: .ieee)
    static let bf16 = FloatDefinition(dtype: .bf16, exponentBits: 8, fractionBits: 7, bias: 127, specials: .ieee)

    /// The formats of 8 bits and less.
    static let small = [
        FloatDefinition(dtype: .f4, exponentBits: 2, fractionBits: 1, bias: 1, specials: .none),
        FloatDefinition(dtype: .f6E2M3, exponentBits: 2, fractionBits: 3, bias: 1, specials: .none),
        FloatDefinition(dtype: .f6E3M2, exponentBits: 3, fractionBits: 2, bias: 3, specials: .none),
        FloatDefinition(dtype: .f8E5M2, exponentBits: 5, fractionBits: 2, bias: 15, specials: .ieee),
        FloatDefinition(dtype: .f8E4M3, exponentBits: 4, fractionBits: 3, bias: 7, specials: .oneNaN),
        FloatDefinition(dtype: .f8E4M3FNUZ, exponentBits: 4, fractionBits: 3, bias: 8, specials: .zeroNaN),
        FloatDefinition(dtype: .f8E5M2FNUZ, exponentBits: 5, fractionBits: 2, bias: 16, specials: .zeroNaN),
    ]

    var bits: Int { 1 + exponentBits + fractionBits }
    var codeCount: Int { 1 << bits }
    var infinity: Int { ((1 << exponentBits) - 1) << fractionBits }

    /// The number that a code stands for: (-1)^s * 2^(e - bias) * 1.f, or (-1)^s * 2^(1 - bias) * 0.f.
    func value(_ code: Int) -> Double {
        let sign = code >> (bits - 1) == 1
        let exponent = code >> fractionBits & ((1 << exponentBits) - 1)
        let fraction = code & ((1 << fractionBits) - 1)
        let allOnes = code & (codeCount / 2 - 1) == codeCount / 2 - 1
        switch specials {
        case .ieee where exponent == (1 << exponentBits) - 1:
            return fraction != 0 ? .nan : sign ? -.infinity : .infinity
        case .oneNaN where allOnes: return .nan
        case .zeroNaN where code == codeCount / 2: return .nan
        default: break
        }
        let whole = Double(fraction) / Double(1 << fractionBits)
        let magnitude = exponent == 0
            ? Double(sign: .plus, exponent: 1 - bias, significand: 1) * whole
            : Double(sign: .plus, exponent: exponent - bias, significand: 1) * (1 + whole)
        return sign ? -magnitude : magnitude
    }
}
