import TestSupport
import Testing
@testable import Tensors

/// The step of an elimination, by every form of the kernel, against the loop that defines it.
@Suite struct EliminationTests {
    @Test(arguments: [(1, 1, 1), (4, 3, 12), (7, 5, 13), (9, 64, 48), (13, 17, 50), (3, 2, 100), (5, 0, 4)])
    func subtractsInTheOrderOfTheDepth(rows: Int, depth: Int, columns: Int) {
        var generator = SplitMix64(seed: UInt64(rows * 10_000 + depth * 100 + columns))
        let (leftStride, stride) = (depth + 2, columns + 3)
        let left = generator.doubles(rows * leftStride, exponents: -20...20)
        let right = generator.doubles(max(1, depth * columns), exponents: -20...20)
        let start = generator.doubles(rows * stride, exponents: -20...20)
        var expected = start
        for row in 0..<rows {
            for column in 0..<columns {
                for k in 0..<depth {
                    expected[row * stride + column].addProduct(-left[row * leftStride + k], right[k * columns + column])
                }
            }
        }
        for path in KernelPath.available {
            var found = start
            left.withUnsafeBufferPointer { left in
                right.withUnsafeBufferPointer { right in
                    found.withUnsafeMutableBufferPointer {
                        Kernels.subtractProduct(
                            left: left, leftStride: leftStride, right: right, rows: rows, depth: depth, columns: columns,
                            from: $0, rowStride: stride, by: path)
                    }
                }
            }
            #expect(found.map(\.bitPattern) == expected.map(\.bitPattern), "\(path)")
        }
    }
}
