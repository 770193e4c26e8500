import ByteAccess
import Tensors

/// Gaussian elimination with partial pivoting, in the order that `MatrixExpression.solved` defines.
///
/// Every element of the matrix and of the right sides takes its subtractions in the order of the pivots, so those of a block
/// of pivots may wait until the block is done, and are then made at once: the same operations on the same numbers, while they
/// are in the cache.
struct LinearSystem {
    private var left: [Double]
    private var right: [Double]
    private let size: Int
    private let columns: Int

    /// Pivots of a block, and columns that are taken at once: 64 × 48 numbers are 24 KiB, which a core's first cache holds.
    private static let block = 64
    private static let strip = 48

    /// - Parameters:
    ///   - left: `size` × `size`.
    ///   - right: `size` × `columns`.
    init(left: [Double], right: [Double], size: Int, columns: Int) {
        (self.left, self.right, self.size, self.columns) = (left, right, size, columns)
    }

    /// X with left·X = right.
    ///
    /// - Throws: `.refused` where a pivot is zero, or rounding alone: of at most n·2⁻⁵³ of the largest element, which is the error of
    ///   an elimination that is as stable as it can be. Then the equations have no solution, or many, and any digits would be noise.
    mutating func solve() throws(PeftfileError) -> [Double] {
        let largest = left.reduce(0) { max($0, $1.magnitude) }
        let limit = largest.isFinite ? Double(size) * 0x1p-53 * largest : -1
        for first in stride(from: 0, to: size, by: LinearSystem.block) {
            let pivots = first..<min(size, first + LinearSystem.block)
            for pivot in pivots {
                eliminate(pivot, upTo: pivots.upperBound)
                guard left[pivot * size + pivot].magnitude > limit || limit < 0 else {
                    throw PeftfileError(
                        .refused, "a matrix of the adapter is singular (column \(pivot) of \(size)): its inverse, which the method "
                            + "needs for this tensor, does not exist", rule: "SingularMatrix",
                        help: "the adapter is broken; train or save it again")
                }
            }
            let factors = factors(of: pivots)
            LinearSystem.finish(&left, width: size, from: pivots.upperBound, pivots, factors, size: size)
            LinearSystem.finish(&right, width: columns, from: 0, pivots, factors, size: size)
        }
        substitute()
        return right
    }

    /// One pivot within the columns of its block; the multipliers stay where the zeros would be, which nothing reads later.
    private mutating func eliminate(_ pivot: Int, upTo end: Int) {
        exchange(pivot, with: largest(inColumn: pivot))
        let size = size
        left.withUnsafeMutableBufferPointer { left in
            let divisor = left[pivot * size + pivot]
            for row in (pivot + 1)..<max(size, pivot + 1) {
                let factor = left[row * size + pivot] / divisor
                left[row * size + pivot] = factor
                for column in (pivot + 1)..<max(end, pivot + 1) {
                    left[row * size + column].addProduct(-factor, left[pivot * size + column])
                }
            }
        }
    }

    /// The multipliers of a block for all rows from its first on.
    private func factors(of pivots: Range<Int>) -> [Double] {
        (pivots.lowerBound..<size).flatMap { row in left[(row * size + pivots.lowerBound)..<(row * size + pivots.upperBound)] }
    }

    /// Makes the subtractions of a block of pivots in the columns from `first` on.
    private static func finish(
        _ matrix: inout [Double], width: Int, from first: Int, _ pivots: Range<Int>, _ factors: [Double], size: Int
    ) {
        let (depth, top) = (pivots.count, pivots.lowerBound)
        var pack = [Double](repeating: 0, count: depth * strip)
        matrix.withUnsafeMutableBufferPointer { matrix in
            factors.withUnsafeBufferPointer { factors in
                pack.withUnsafeMutableBufferPointer { pack in
                    for column in stride(from: first, to: width, by: strip) {
                        let own = min(strip, width - column)
                        // The block's own rows, each after those above it.
                        for row in 0..<depth {
                            let to = (top + row) * width + column
                            for j in 0..<own { pack[row * own + j] = matrix[to + j] }
                            for k in 0..<row {
                                let factor = -factors[row * depth + k]
                                for j in 0..<own { pack[row * own + j].addProduct(factor, pack[k * own + j]) }
                            }
                            for j in 0..<own { matrix[to + j] = pack[row * own + j] }
                        }
                        guard pivots.upperBound < size else { continue }
                        Kernels.subtractProduct(
                            left: UnsafeBufferPointer(rebasing: factors[(depth * depth)...]), leftStride: depth,
                            right: UnsafeBufferPointer(pack), rows: size - pivots.upperBound, depth: depth, columns: own,
                            from: UnsafeMutableBufferPointer(rebasing: matrix[(pivots.upperBound * width + column)...]),
                            rowStride: width)
                    }
                }
            }
        }
    }

    /// From the last row up, some columns at a time: the sum over the columns to the right ascending, one subtraction, one
    /// division.
    private mutating func substitute() {
        let (size, columns) = (size, columns)
        let width = LinearSystem.strip
        var pack = [Double](repeating: 0, count: size * min(width, columns))
        var sums = [Double](repeating: 0, count: width)
        left.withUnsafeBufferPointer { left in
            right.withUnsafeMutableBufferPointer { right in
                pack.withUnsafeMutableBufferPointer { pack in
                    sums.withUnsafeMutableBufferPointer { sums in
                        for first in stride(from: 0, to: columns, by: width) {
                            let own = min(width, columns - first)
                            for row in stride(from: size - 1, through: 0, by: -1) {
                                for j in 0..<own { sums[j] = -0.0 }
                                Kernels.addLowRank(
                                    left: UnsafeBufferPointer(rebasing: left[(row * size + row + 1)...]),
                                    right: UnsafeBufferPointer(rebasing: pack[((row + 1) * own)...]), rows: 1,
                                    rank: size - row - 1, columns: own, scale: 1, into: sums, rowStride: own)
                                let divisor = left[row * size + row]
                                for j in 0..<own {
                                    let value = (right[row * columns + first + j] - sums[j]) / divisor
                                    pack[row * own + j] = value
                                    right[row * columns + first + j] = value
                                }
                            }
                        }
                    }
                }
            }
        }
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
