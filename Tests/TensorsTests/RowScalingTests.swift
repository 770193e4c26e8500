import TestSupport
import Testing
@testable import Tensors

/// DoRA's magnitudes and the tally of updates, against plain loops.
@Suite struct RowScalingTests {
    @Test(arguments: [(1, 1), (3, 7), (8, 16), (9, 33), (17, 100), (5, 0)])
    func rowsAreScaledInTheDefinedOrder(rows: Int, columns: Int) {
        var generator = SplitMix64(seed: UInt64(rows * 1000 + columns))
        let stride = columns + 3
        var values = generator.doubles(rows * stride, exponents: -40...40)
        let magnitudes = generator.doubles(rows)
        var expected = values
        for row in 0..<rows {
            var squares = 0.0
            for column in 0..<columns {
                squares = squares.addingProduct(values[row * stride + column], values[row * stride + column])
            }
            let factor = magnitudes[row] / squares.squareRoot()
            for column in 0..<columns { expected[row * stride + column] *= factor }
        }
        values.withUnsafeMutableBufferPointer { values in
            magnitudes.withUnsafeBufferPointer {
                Kernels.scaleRows(values, columns: columns, rowStride: stride, magnitudes: $0)
            }
        }
        #expect(values.map(\.bitPattern) == expected.map(\.bitPattern))
    }

    @Test(arguments: [(1, 1), (3, 7), (9, 33), (17, 100)])
    func columnsAreScaledInTheDefinedOrder(rows: Int, columns: Int) {
        var generator = SplitMix64(seed: UInt64(rows * 1000 + columns))
        let stride = columns + 2
        var values = generator.doubles(rows * stride, exponents: -40...40)
        let factors = generator.doubles(columns)
        var expected = values
        var squares = [Double](repeating: 0, count: columns)
        for row in 0..<rows {
            for column in 0..<columns {
                let value = values[row * stride + column]
                squares[column] = squares[column].addingProduct(value, value)
                expected[row * stride + column] *= factors[column]
            }
        }
        for path in KernelPath.available {
            var found = [Double](repeating: 0, count: columns)
            values.withUnsafeBufferPointer { values in
                found.withUnsafeMutableBufferPointer {
                    Kernels.addSquares(of: values, rows: rows, rowStride: stride, to: $0, by: path)
                }
            }
            #expect(found.map(\.bitPattern) == squares.map(\.bitPattern), "\(path)")
        }
        values.withUnsafeMutableBufferPointer { values in
            factors.withUnsafeBufferPointer {
                Kernels.scaleColumns(values, rows: rows, rowStride: stride, factors: $0)
            }
        }
        #expect(values.map(\.bitPattern) == expected.map(\.bitPattern))
    }

    @Test func updatesAreCountedAsTheyAre() {
        let original: [Double] = [1, 2, 3, .nan, 5, .infinity, 7]
        let exact: [Double] = [1, 2.5, 3.25, .nan, .infinity, .infinity, .nan]
        let stored: [Double] = [1, 2, 3.5, .nan, .infinity, .infinity, .nan]
        let figures = original.withUnsafeBufferPointer { original in
            exact.withUnsafeBufferPointer { exact in
                stored.withUnsafeBufferPointer { Kernels.tally(original: original, exact: exact, stored: $0) }
            }
        }
        // 2.5 and 3.25 differ from W and so do those that are not finite; 2.5 is lost, 3.25 stored as 3.5.
        #expect(figures.unchanged == 1)
        #expect(figures.nonfinite == 2)
        #expect(figures.updateSquares == 0.25 + 0.0625)
        #expect(figures.storedSquares == 0.25)
    }
}
