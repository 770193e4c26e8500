import Peftfile
import TestSupport
import Testing

/// Matrices that are large enough for blocks of pivots, strips of columns and products without zeros: the same bits as the
/// plain loops of the definition.
@Suite struct WideFormulaTests {
    /// FRoD, whose formula solves a system and multiplies by a matrix that is nearly diagonal.
    @Test func frodHasTheBitsOfItsDefinition() throws {
        let (rows, size, more) = (20, 260, 3)
        var generator = SplitMix64(seed: 5)
        let w = generator.doubles(rows * size, exponents: -3...0)
        var v = generator.doubles(size * size, exponents: -6 ... -4)
        // A large element in every row and column, so that there is a solution and pivots move.
        for index in 0..<size { v[index * size + index * 7 % size] += 2 }
        let diagonal = generator.doubles(size, exponents: -1...0), values = generator.doubles(more, exponents: -1...0)
        let places: [(Int, Int)] = [(3, 200), (259, 0), (70, 71)]
        let model = try SmallModel()
        try model.base([SmallTensor(name: "self_attn.q.weight", shape: [rows, size], values: w, dtype: .f64)])
        func tensor(_ name: ExactString, _ shape: Shape, _ values: [Double]) -> SmallTensor {
            SmallTensor(name: name, shape: shape, values: values, dtype: .f64)
        }
        try model.adapter(
            [
                tensor("self_attn.q.frod_lambda_l", [size], diagonal), tensor("self_attn.q.frod_lambda_s_values", [more], values),
                tensor("frod_V.self_attn_q", [size, size], v),
                tensor("frod_s_indices.self_attn_q", [2, more], places.map { Double($0.0) } + places.map { Double($0.1) }),
            ], peftType: "FROD", shared: "")
        _ = try PlanExecutor(plan: .merge(model.binding()), target: model.directory.path("out")).run()
        let result = try Checkpoint.open(model.directory.path("out")).numbers("self_attn.q.weight")

        var x = Self.solution(v, Plain.transposed(w, rows, size), size, rows)
        for row in 0..<size {
            var squares = 0.0
            for column in 0..<rows { squares.addProduct(x[row * rows + column], x[row * rows + column]) }
            let factor = 1 / squares.squareRoot()
            for column in 0..<rows { x[row * rows + column] *= factor }
        }
        var rotation = [Double](repeating: 0, count: size * size)
        for (place, value) in zip(places, values) { rotation[place.0 * size + place.1] += value }
        for index in 0..<size { rotation[index * (size + 1)] += diagonal[index] }
        let right = Self.product(rotation, Plain.transposed(v, size, size), size, size, size)
        let expected = Self.product(Plain.transposed(x, size, rows), right, rows, size, size)
        #expect(result.map(\.bitPattern) == expected.map(\.bitPattern))
    }

    /// Σ_k by fused multiply-add, k ascending from +0.
    private static func product(_ left: [Double], _ right: [Double], _ m: Int, _ r: Int, _ n: Int) -> [Double] {
        var result = [Double](repeating: 0, count: m * n)
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                result.withUnsafeMutableBufferPointer { result in
                    for i in 0..<m {
                        for k in 0..<r { for j in 0..<n { result[i * n + j].addProduct(left[i * r + k], right[k * n + j]) } }
                    }
                }
            }
        }
        return result
    }

    /// `MatrixExpression.solved`, one pivot after the other.
    private static func solution(_ matrix: [Double], _ sides: [Double], _ size: Int, _ columns: Int) -> [Double] {
        var (a, b) = (matrix, sides)
        a.withUnsafeMutableBufferPointer { a in
            b.withUnsafeMutableBufferPointer { b in
                for pivot in 0..<size {
                    var best = pivot
                    for row in pivot..<size where a[row * size + pivot].magnitude > a[best * size + pivot].magnitude { best = row }
                    if best != pivot {
                        for column in 0..<size { a.swapAt(pivot * size + column, best * size + column) }
                        for column in 0..<columns { b.swapAt(pivot * columns + column, best * columns + column) }
                    }
                    for row in (pivot + 1)..<max(size, pivot + 1) {
                        let factor = a[row * size + pivot] / a[pivot * size + pivot]
                        for column in (pivot + 1)..<max(size, pivot + 1) {
                            a[row * size + column].addProduct(-factor, a[pivot * size + column])
                        }
                        for column in 0..<columns { b[row * columns + column].addProduct(-factor, b[pivot * columns + column]) }
                    }
                }
                for row in stride(from: size - 1, through: 0, by: -1) {
                    for column in 0..<columns {
                        var sum = 0.0
                        for k in (row + 1)..<max(size, row + 1) { sum.addProduct(a[row * size + k], b[k * columns + column]) }
                        b[row * columns + column] = (b[row * columns + column] - sum) / a[row * size + row]
                    }
                }
            }
        }
        return b
    }
}
