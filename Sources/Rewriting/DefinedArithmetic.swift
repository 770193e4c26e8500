import Adapters
import Tensors

/// The arithmetic of expressions that merged bytes come from: each operation in the order that `MatrixExpression`
/// defines, products by the kernel that has the same bits on every CPU.
struct DefinedArithmetic: MatrixArithmetic {
    typealias Matrix = [Double]

    func exact(_ values: [Double]) -> [Double] { values }

    func gathered(_ matrix: [Double], count: Int, _ index: (Int) -> Int) -> [Double] {
        matrix.withUnsafeBufferPointer { matrix in
            [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
                for position in 0..<count { buffer[position] = matrix[index(position)] }
                initialized = count
            }
        }
    }

    func joined(_ parts: [[Double]]) -> [Double] { parts.count == 1 ? parts[0] : Array(parts.joined()) }

    func product(_ left: [Double], _ right: [Double], rows: Int, columns: Int, depth: Int) -> [Double] {
        // -0 is the neutral element of addition, and 1 that of multiplication: what is left is the sum alone.
        var result = [Double](repeating: -0.0, count: rows * columns)
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                result.withUnsafeMutableBufferPointer { result in
                    Kernels.addLowRank(
                        left: left, right: right, rows: rows, rank: depth, columns: columns, scale: 1, into: result,
                        rowStride: columns)
                }
            }
        }
        return result
    }

    func elementwise(
        _ operation: ElementOperation, _ left: Spread<[Double]>, _ right: Spread<[Double]>, rows: Int, columns: Int
    ) -> [Double] {
        switch operation {
        case .sum: combine(left, right, rows, columns) { $0 + $1 }
        case .difference: combine(left, right, rows, columns) { $0 - $1 }
        case .product: combine(left, right, rows, columns) { $0 * $1 }
        case .quotient: combine(left, right, rows, columns) { $0 / $1 }
        }
    }

    /// One loop for all operations, compiled for each of them.
    @inline(__always)
    private func combine(
        _ left: Spread<[Double]>, _ right: Spread<[Double]>, _ rows: Int, _ columns: Int,
        _ operation: (Double, Double) -> Double
    ) -> [Double] {
        [Double](unsafeUninitializedCapacity: rows * columns) { buffer, count in
            left.matrix.withUnsafeBufferPointer { a in
                right.matrix.withUnsafeBufferPointer { b in
                    for row in 0..<rows {
                        let (first, second) = (row * left.rowStride, row * right.rowStride)
                        for column in 0..<columns {
                            buffer[row * columns + column] = operation(
                                a[first + column * left.columnStride], b[second + column * right.columnStride])
                        }
                    }
                }
            }
            count = rows * columns
        }
    }

    func applied(_ function: ElementFunction, to matrix: [Double]) -> [Double] { matrix.map { function($0) } }

    func scaled(_ matrix: [Double], by scale: Double) -> [Double] { matrix.map { scale * $0 } }

    func rowNorms(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        (0..<rows).map { row in
            var squares = 0.0
            for index in (row * columns)..<((row + 1) * columns) {
                squares = squares.addingProduct(matrix[index], matrix[index])
            }
            return squares.squareRoot()
        }
    }

    func solved(_ left: [Double], _ right: [Double], size: Int, columns: Int) -> [Double] {
        var system = LinearSystem(left: left, right: right, size: size, columns: columns)
        return system.solve()
    }

    func orthonormal(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        var reflections = Reflections(matrix: matrix, rows: rows, columns: columns)
        return reflections.orthonormal()
    }

    func scattered(_ values: [Double], places: [(value: Int, target: Int)], count: Int) -> [Double] {
        var result = [Double](repeating: 0, count: count)
        for place in places { result[place.target] += values[place.value] }
        return result
    }
}

/// Gaussian elimination with partial pivoting, in the order that `MatrixExpression.solved` defines.
private struct LinearSystem {
    var left: [Double]
    var right: [Double]
    let size: Int
    let columns: Int

    mutating func solve() -> [Double] {
        for pivot in 0..<size {
            exchange(pivot, with: largest(inColumn: pivot))
            for row in (pivot + 1)..<max(size, pivot + 1) {
                let factor = left[row * size + pivot] / left[pivot * size + pivot]
                for column in (pivot + 1)..<max(size, pivot + 1) {
                    left[row * size + column].addProduct(-factor, left[pivot * size + column])
                }
                for column in 0..<columns {
                    right[row * columns + column].addProduct(-factor, right[pivot * columns + column])
                }
            }
        }
        for row in stride(from: size - 1, through: 0, by: -1) {
            for column in 0..<columns {
                var sum = 0.0
                for k in (row + 1)..<max(size, row + 1) { sum.addProduct(left[row * size + k], right[k * columns + column]) }
                right[row * columns + column] = (right[row * columns + column] - sum) / left[row * size + row]
            }
        }
        return right
    }

    /// The first row of the largest magnitude on or below the diagonal.
    private func largest(inColumn pivot: Int) -> Int {
        var best = pivot
        for row in (pivot + 1)..<max(size, pivot + 1)
        where left[row * size + pivot].magnitude > left[best * size + pivot].magnitude { best = row }
        return best
    }

    private mutating func exchange(_ row: Int, with other: Int) {
        guard row != other else { return }
        for column in 0..<size { left.swapAt(row * size + column, other * size + column) }
        for column in 0..<columns { right.swapAt(row * columns + column, other * columns + column) }
    }
}
