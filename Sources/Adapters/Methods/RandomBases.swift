import ByteAccess
import Tensors

/// RandLoRA's random bases, made again from their seed; its page says how.
struct RandomBases {
    let rank: Int
    let small: Int
    let large: Int

    var bases: Int { (small + rank - 1) / rank }

    private typealias Matrix = SharedProjection.Matrix

    /// Bfloat16 numbers. torch sums their deviations in float32, in an order that depends on its threads; where another
    /// order could round the deviation to another bfloat16, the numbers are not known.
    ///
    /// - Throws: `.refused` in that case.
    func dense(
        _ generator: inout MersenneTwister, _ module: MethodModule
    ) throws -> (SharedProjection.Matrix, SharedProjection.Matrix, note: String) {
        func draw(_ count: Int, fan: Int) -> [Float] {
            let limit = Float(TorchUniform.kaimingLimit(fan: fan, slope: 5.0.squareRoot()))
            return TorchUniform.brain(count, from: -limit, to: limit, &generator)
        }
        let first = draw(rank * small, fan: small)
        var second = [Float](repeating: 0, count: large * bases * rank)
        for basis in 0..<bases {
            for (index, value) in draw(large * rank, fan: rank).enumerated() {
                second[(index / rank * bases + basis) * rank + index % rank] = value
            }
        }
        func normalized(_ values: [Float]) throws -> NumberTable {
            let exact = BrainFloat.rounded(Float(StandardDeviation.exact(values)))
            guard exact == BrainFloat.rounded(StandardDeviation.sequential(values)) else {
                throw module.refusal(
                    "needs a random projection whose last rounding depends on how many threads the training had",
                    rule: "ProjectionUnsure", help: "save the adapter again with save_projection=True")
            }
            return NumberTable(values.map { Double(BrainFloat.rounded($0 / exact)) })
        }
        return (
            Matrix(numbers: try normalized(first), rows: rank, columns: small),
            Matrix(numbers: try normalized(second), rows: large, columns: bases * rank),
            " on x86-64 with AVX2, torch drawing bfloat16 as 2.13 does"
        )
    }

    /// Numbers −1, 0 and 1 over their deviation, which torch sums in float64 around the float32 mean.
    func sparse(
        _ sparsity: Double, _ generator: inout MersenneTwister
    ) -> (SharedProjection.Matrix, SharedProjection.Matrix, note: String) {
        func draw(_ count: Int) -> NumberTable {
            let (low, high) = (Float(1 / (2 * sparsity)), Float(1 - 1 / (2 * sparsity)))
            let signs = TorchUniform.single(count, from: 0, to: 1, &generator).map { value -> Float in
                value > high ? 1 : value < low ? -1 : 0
            }
            let deviation = Float(StandardDeviation.exact(signs))
            return NumberTable(signs.map { Double($0 / deviation) })
        }
        return (
            Matrix(numbers: draw(rank * small), rows: rank, columns: small),
            Matrix(numbers: draw(large * bases * rank), rows: large, columns: bases * rank), ""
        )
    }
}

/// The standard deviation of a sample, √(Σ(x − mean)² / (n − 1)).
enum StandardDeviation {
    /// In float64, around the mean rounded to float32.
    static func exact(_ values: [Float]) -> Double {
        let mean = Double(Float(values.reduce(0.0) { $0 + Double($1) } / Double(values.count)))
        let squares = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
        return (squares / Double(values.count - 1)).squareRoot()
    }

    /// By B. P. Welford's recurrence in float32, one element after the other, as one thread of torch does.
    static func sequential(_ values: [Float]) -> Float {
        var (mean, squares): (Float, Float) = (0, 0)
        for (index, value) in values.enumerated() {
            let delta = value - mean
            mean += delta / Float(index + 1)
            squares += delta * (value - mean)
        }
        return (squares / Float(values.count - 1)).squareRoot()
    }
}
