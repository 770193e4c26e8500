/// The tables of bitsandbytes' 4-bit and blockwise 8-bit types, in F32.
public enum NF4Tables {
    /// The NF4 values (QLoRA, arXiv:2305.14314, appendix E): quantiles of the normal distribution with an exact zero, as
    /// bitsandbytes' `_NF4_QUANT_TABLE` gives them.
    public static let nf4: [Float] = [
        -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
        -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
    ]

    /// The midpoints between neighbours, each rounded to F32.
    static let thresholds: [Float] = (0..<15).map { (nf4[$0] + nf4[$0 + 1]) / 2 }

    /// The signed dynamic map of 256 entries (8-bit optimizers, arXiv:2110.02861): for e = 0 … 6 the midpoints of 2^e equal parts of
    /// [0.1, 1], times 10^(e − 6), with both signs; 0 and 1. The parts are cut as torch.linspace does, from both ends, by one fused
    /// multiply-add each. Source: `create_dynamic_map` in bitsandbytes/functional.py.
    public static let dynamicMap: [Float] = {
        let powers: [Float] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
        var entries: [Float] = [0, 1]
        for (exponent, power) in powers.enumerated() {
            let parts = 1 << exponent
            let step = (Float(1) - Float(0.1)) / Float(parts)
            let borders = (0...parts).map { index in
                index < (parts + 1) / 2
                    ? Float(0.1).addingProduct(step, Float(index)) : Float(1).addingProduct(-step, Float(parts - index))
            }
            for index in 0..<parts {
                let middle = power * ((borders[index] + borders[index + 1]) / 2)
                entries += [middle, -middle]
            }
        }
        return entries.sorted()
    }()

    /// The code that bitsandbytes' CPU kernel gives a value from −1 to 1: the nearest entry to the nearest of 65536 values. `csrc` is
    /// built with fused multiply-add, and so is this.
    static func dynamicCode(_ value: Float) -> Int {
        let clamped = min(1, max(-1, value))
        let bin = Float(0.5).addingProduct((clamped + 1) * 0.5, 65535)
        guard bin >= 0 else { return 0 }
        return Int(bins[min(65535, Int(bin))])
    }

    private static let bins: [UInt8] = {
        let middles = (0..<255).map { 0.5 * (dynamicMap[$0] + dynamicMap[$0 + 1]) }
        var code = 0
        return (0..<65536).map { index in
            let value = Float(-1) + Float(2 * index) / 65535
            while code < 255, middles[code] < value { code += 1 }
            return UInt8(code)
        }
    }()
}
