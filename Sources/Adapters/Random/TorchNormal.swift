/// `torch.normal(mean, std, size)` in float32 on the CPU, in the form that x86-64 processors with AVX2 compute.
///
/// From 16 elements on, all are first drawn uniform in [0, 1). Then in each group of 16 elements j and j + 8 are made
/// normal together (Box and Muller): r = √(−2·ln(1 − u_j)), θ = 2π·u_(j+8), and the pair becomes r·cos θ and r·sin θ, each
/// times std plus mean in one rounding. Where the size is no multiple of 16, the last 16 elements are drawn again and
/// made anew. Logarithm, sine and cosine are ``SingleFunctions``. Builds without AVX2 (AArch64, old processors) take the C
/// library's, which may differ in the last digits; a receipt says that the first was assumed.
///
/// Below 16 elements each is drawn alone in float64: from two uniform numbers of 53 bits u and v, r = √(−2·ln(1 − v)) and
/// θ = 2π·u give r·cos θ, and r·sin θ is kept for the next element.
///
/// Source: `normal_kernel`, `normal_fill_AVX2` in aten/src/ATen/native/cpu/DistributionTemplates.h, `normal_distribution`
/// in aten/src/ATen/core/DistributionsHelper.h.
enum TorchNormal {
    static func single(_ count: Int, mean: Double, deviation: Double, _ generator: inout MersenneTwister) -> [Float] {
        guard count >= 16 else { return few(max(0, count), mean, deviation, &generator) }
        var values = TorchUniform.single(count, from: 0, to: 1, &generator)
        for start in stride(from: 0, through: count - 16, by: 16) { fill(&values, start, Float(mean), Float(deviation)) }
        if count % 16 != 0 {
            for index in (count - 16)..<count { values[index] = TorchUniform.single(from: 0, to: 1, &generator) }
            fill(&values, count - 16, Float(mean), Float(deviation))
        }
        return values
    }

    private static func fill(_ values: inout [Float], _ start: Int, _ mean: Float, _ deviation: Float) {
        for index in start..<(start + 8) {
            let radius = (-2 * SingleFunctions.logarithm(1 - values[index])).squareRoot()
            let (sine, cosine) = SingleFunctions.sineAndCosine(0x1.921fb6p+2 * values[index + 8])
            values[index] = mean.addingProduct(radius * cosine, deviation)
            values[index + 8] = mean.addingProduct(radius * sine, deviation)
        }
    }

    private static func few(
        _ count: Int, _ mean: Double, _ deviation: Double, _ generator: inout MersenneTwister
    ) -> [Float] {
        var kept: Double?
        return (0..<count).map { _ in
            if let value = kept {
                kept = nil
                return Float(value * deviation + mean)
            }
            let unit = uniform(&generator)
            let radius = (-2 * DoubleFunctions.logarithm(1 - uniform(&generator))).squareRoot()
            let angle = 2 * Double.pi * unit
            kept = radius * DoubleFunctions.sine(angle)
            return Float(radius * DoubleFunctions.cosine(angle) * deviation + mean)
        }
    }

    /// A float64 in [0, 1): 53 of 64 bits.
    private static func uniform(_ generator: inout MersenneTwister) -> Double {
        Double(generator.random64() & (1 << 53 - 1)) * 0x1p-53
    }
}
