/// `Tensor.uniform_(from, to)` on the CPU: one draw for each element in order, whatever the size.
///
/// An element is `(bits mod 2²⁴)·2⁻²⁴·(to − from) + from` in float32, product and sum in one rounding: so the kernels for
/// x86-64 with AVX2 are compiled, while those for processors without FMA round twice. A bfloat16 element is that number
/// rounded once more. What rounding made `to` becomes `from`. (Torch of 2024 and before drew 8 bits for a bfloat16.)
/// Source: `uniform_kernel` in aten/src/ATen/native/cpu/DistributionTemplates.h, `uniform_real` in
/// aten/src/ATen/core/TransformationHelper.h.
enum TorchUniform {
    /// Float32 elements.
    static func single(_ count: Int, from: Float, to: Float, _ generator: inout MersenneTwister) -> [Float] {
        (0..<max(0, count)).map { _ in single(from: from, to: to, &generator) }
    }

    static func single(from: Float, to: Float, _ generator: inout MersenneTwister) -> Float {
        let unit = Float(generator.random() & 0xff_ffff) * 0x1p-24
        let value = from.addingProduct(unit, to - from)
        return value == to ? from : value
    }

    /// Bfloat16 elements, as the float32 numbers that they are.
    static func brain(_ count: Int, from: Float, to: Float, _ generator: inout MersenneTwister) -> [Float] {
        let (low, high) = (BrainFloat.rounded(from), BrainFloat.rounded(to))
        return (0..<max(0, count)).map { _ in
            let value = BrainFloat.rounded(single(from: from, to: to, &generator))
            return value == high ? low : value
        }
    }

    /// `torch.nn.init.kaiming_uniform_`'s limit, in float64: √3·gain / √fan, gain = √(2 / (1 + a²)).
    ///
    /// - Parameters:
    ///   - fan: elements that enter one output: the second dimension times all after it.
    ///   - slope: a, the slope of the leaky ReLU.
    static func kaimingLimit(fan: Int, slope: Double = 0) -> Double {
        let gain = (2 / (1 + slope * slope)).squareRoot()
        return 3.0.squareRoot() * (gain / Double(fan).squareRoot())
    }
}

/// bfloat16 arithmetic as torch does it: in float32, each result rounded to 8 digits, ties to even.
enum BrainFloat {
    static func rounded(_ value: Float) -> Float {
        guard value.isFinite else { return value }
        let bits = value.bitPattern
        return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
    }
}
