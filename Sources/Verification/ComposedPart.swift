import Adapters
import ByteAccess
import Tensors

/// The factors of a term that applies a linear map behind a layer, multiplied out once more in plain Swift.
///
/// Their elements are defined: sums by fused multiply-add from +0 in ascending order, rounded to float64. So this gives the
/// numbers that the writing has, by code of its own and not by its kernels, and the bound of ``PreparedTerm`` covers the rest.
struct ComposedPart {
    /// (rows, rank)
    let left: [Double]
    /// (rank, columns)
    let right: [Double]

    init(
        _ composition: BaseComposition, of stored: [Double], rows: Int, columns: Int, numbers: any FactorSource
    ) throws {
        let rank = composition.rank
        let down = try composition.down.matrix(from: numbers)
        let up = try composition.upTransposed.matrix(from: numbers)
        guard composition.outputsAreRows else {
            var product = [Double](repeating: 0, count: rows * rank)
            for i in 0..<rows {
                try Interruption.check()
                for k in 0..<rank {
                    var sum = 0.0
                    for j in 0..<columns { sum = sum.addingProduct(stored[i * columns + j], down[k * columns + j]) }
                    product[i * rank + k] = sum
                }
            }
            (left, right) = (product, up)
            return
        }
        var turned = [Double](repeating: 0, count: rows * rank)
        for i in 0..<rows { for k in 0..<rank { turned[i * rank + k] = up[k * rows + i] } }
        var product = [Double](repeating: 0, count: rank * columns)
        for k in 0..<rank {
            try Interruption.check()
            for i in 0..<rows {
                let factor = down[k * rows + i]
                for j in 0..<columns {
                    product[k * columns + j] = product[k * columns + j].addingProduct(factor, stored[i * columns + j])
                }
            }
        }
        (left, right) = (turned, product)
    }
}
