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
        if let result = SparseProduct(left, rows: rows, depth: depth)?.times(right, columns: columns) { return result }
        // -0 is the neutral element of addition, and 1 that of multiplication: what is left is the sum alone.
        var result = [Double](repeating: -0.0, count: rows * columns)
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                result.withUnsafeMutableBufferPointer { result in
                    DefinedArithmetic.add(left, right, rows: rows, depth: depth, columns: columns, to: result)
                }
            }
        }
        return result
    }

    /// Elements of `right` that a core's cache holds while rows of `left` pass: 2¹⁵ numbers are 256 KiB.
    private static let stripElements = 1 << 15

    /// The kernel goes down `right` for a few columns at a time. Rows of a power of two lie at the same place of the cache, so
    /// a deep factor is cut into strips of columns, each copied to where its rows are neighbours. The sums are the same.
    private static func add(
        _ left: UnsafeBufferPointer<Double>, _ right: UnsafeBufferPointer<Double>, rows: Int, depth: Int, columns: Int,
        to result: UnsafeMutableBufferPointer<Double>
    ) {
        // Strips are whole tiles of the kernel, which are 12 columns wide.
        let width = depth > 64 && rows >= 8 ? max(12, stripElements / depth / 12 * 12) : columns
        guard width < columns else {
            Kernels.addLowRank(
                left: left, right: right, rows: rows, rank: depth, columns: columns, scale: 1, into: result, rowStride: columns)
            return
        }
        var strip = [Double](repeating: 0, count: depth * width)
        strip.withUnsafeMutableBufferPointer { strip in
            for first in stride(from: 0, to: columns, by: width) {
                let own = min(width, columns - first)
                for k in 0..<depth {
                    for column in 0..<own { strip[k * own + column] = right[k * columns + first + column] }
                }
                Kernels.addLowRank(
                    left: left, right: UnsafeBufferPointer(strip), rows: rows, rank: depth, columns: own, scale: 1,
                    into: UnsafeMutableBufferPointer(rebasing: result[first...]), rowStride: columns)
            }
        }
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

    func solved(_ left: [Double], _ right: [Double], size: Int, columns: Int) throws -> [Double] {
        var system = LinearSystem(left: left, right: right, size: size, columns: columns)
        return try system.solve()
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
