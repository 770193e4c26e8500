/// ln, sin and cos in float32 by the polynomials of the Cephes library (S. L. Moshier, `logf`, `sinf`, `cosf`): what torch's
/// AVX2 code computes in each lane, bit for bit.
///
/// They are written down here because output bytes depend on them: any other logarithm differs in the last digit.
/// Coefficients and order are those of Cephes in J. Pommier's vector form. A product that only a sum takes is fused with it
/// to one rounding, of two products in a sum the first: so GCC compiles torch's kernels for processors with FMA.
/// Source: `log256_ps`, `sincos256_ps` in aten/src/ATen/native/cpu/avx_mathfun.h.
enum SingleFunctions {
    private static let logarithmTerms: [Float] = [
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ]

    /// ln x for a normal x > 0: x = 2^e·m with √½ ≤ m < √2, then a polynomial in m − 1.
    static func logarithm(_ x: Float) -> Float {
        let bits = x.bitPattern
        var exponent = Float(Int32(bits >> 23) - 0x7e)
        var part = Float(bitPattern: bits & 0x007f_ffff | 0x3f00_0000)
        if part < 0.707106781186547524 {
            exponent -= 1
            part = (part - 1) + part
        } else {
            part -= 1
        }
        let square = part * part
        var sum = logarithmTerms[0]
        for term in logarithmTerms.dropFirst() { sum = term.addingProduct(sum, part) }
        sum = (exponent * -2.12194440e-4).addingProduct(sum * part, square)
        sum.addProduct(-0.5, square)
        return (part + sum).addingProduct(exponent, 0.693359375)
    }

    /// sin x and cos x for 0 ≤ x < 8192: x is reduced by multiples of π/4 in three parts.
    static func sineAndCosine(_ x: Float) -> (sine: Float, cosine: Float) {
        let octant = (Int32(x * 1.27323954473516) + 1) & ~1
        let multiple = Float(octant)
        var rest = x.addingProduct(multiple, -0.78515625)
        rest.addProduct(multiple, -2.4187564849853515625e-4)
        rest.addProduct(multiple, -3.77489497744594108e-8)
        let square = rest * rest

        var cosine: Float = 2.443315711809948e-5
        cosine = (-1.388731625493765e-3 as Float).addingProduct(cosine, square)
        cosine = (4.166664568298827e-2 as Float).addingProduct(cosine, square)
        cosine = (-(square * 0.5)).addingProduct(cosine * square, square) + 1

        var sine: Float = -1.9515295891e-4
        sine = (8.3321608736e-3 as Float).addingProduct(sine, square)
        sine = (-1.6666654611e-1 as Float).addingProduct(sine, square)
        sine = rest.addingProduct(sine * square, rest)

        let isSwapped = octant & 2 != 0
        let (first, second) = isSwapped ? (cosine, sine) : (sine, cosine)
        return (octant & 4 == 0 ? first : -first, (octant - 2) & 4 != 0 ? second : -second)
    }
}
