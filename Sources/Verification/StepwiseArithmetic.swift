import Adapters

/// The arithmetic of expressions written out in plain Swift, one operation after the other in the defined order.
///
/// It judges the elements for which a bound leaves more than one answer, as ``DefinedOrder`` does for terms of stored
/// factors. It shares no code with what writes merges.
struct StepwiseArithmetic: MatrixArithmetic {
    typealias Matrix = [Double]

    func exact(_ values: [Double]) -> [Double] { values }

    func gathered(_ matrix: [Double], count: Int, _ index: (Int) -> Int) -> [Double] {
        (0..<count).map { matrix[index($0)] }
    }

    func joined(_ parts: [[Double]]) -> [Double] { parts.flatMap { $0 } }

    func product(_ left: [Double], _ right: [Double], rows: Int, columns: Int, depth: Int) -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(rows * columns)
        for row in 0..<rows {
            var sums = [Double](repeating: 0, count: columns)
            for k in 0..<depth {
                let factor = left[row * depth + k]
                for column in 0..<columns { sums[column] = sums[column].addingProduct(factor, right[k * columns + column]) }
            }
            result += sums
        }
        return result
    }

    func elementwise(
        _ operation: ElementOperation, _ left: Spread<[Double]>, _ right: Spread<[Double]>, rows: Int, columns: Int
    ) -> [Double] {
        (0..<(rows * columns)).map { index in
            let (row, column) = index.quotientAndRemainder(dividingBy: columns)
            return operation(left[row, column], right[row, column])
        }
    }

    func applied(_ function: ElementFunction, to matrix: [Double]) -> [Double] { matrix.map { function($0) } }

    func scaled(_ matrix: [Double], by scale: Double) -> [Double] { matrix.map { $0 * scale } }

    func rowNorms(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        (0..<rows).map { row in
            matrix[(row * columns)..<((row + 1) * columns)].reduce(0.0) { $0.addingProduct($1, $1) }.squareRoot()
        }
    }

    func solved(_ left: [Double], _ right: [Double], size: Int, columns: Int) -> [Double] {
        elimination(left, right, size: size, columns: columns).solution
    }

    /// The solution, and the largest magnitude that elimination met.
    ///
    /// The rows stay where they are; `order` says which takes which place.
    func elimination(
        _ left: [Double], _ right: [Double], size: Int, columns: Int
    ) -> (solution: [Double], largest: Double) {
        var matrix = (0..<size).map { Array(left[($0 * size)..<(($0 + 1) * size)]) }
        var sides = (0..<size).map { Array(right[($0 * columns)..<(($0 + 1) * columns)]) }
        var order = Array(0..<size)
        var largest = 0.0
        for step in 0..<size {
            let candidates = (step..<size).map { matrix[order[$0]][step].magnitude }
            // A NaN is larger than nothing, so the first of several stays.
            var best = 0
            for (index, candidate) in candidates.enumerated() where candidate > candidates[best] { best = index }
            order.swapAt(step, step + best)
            let pivot = order[step]
            largest = matrix[pivot].reduce(largest) { max($0, $1.magnitude) }
            for row in order[(step + 1)...] {
                let factor = matrix[row][step] / matrix[pivot][step]
                for column in 0..<size where column > step {
                    matrix[row][column] = matrix[row][column].addingProduct(-factor, matrix[pivot][column])
                }
                for column in 0..<columns {
                    sides[row][column] = sides[row][column].addingProduct(-factor, sides[pivot][column])
                }
            }
        }
        var solution = [[Double]](repeating: [], count: size)
        for step in (0..<size).reversed() {
            let row = order[step]
            solution[step] = (0..<columns).map { column in
                var sum = 0.0
                for k in 0..<size where k > step { sum = sum.addingProduct(matrix[row][k], solution[k][column]) }
                return (sides[row][column] - sum) / matrix[row][step]
            }
        }
        return (solution.flatMap { $0 }, largest)
    }

    /// Q by reflections v_k = x_k / (x_k₀ − β): the last column's first, applied to the rows of Q as they are built.
    func orthonormal(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        var work = matrix
        var reflections: [(tau: Double, tail: [Double])] = []
        func dot(_ tail: [Double], _ column: Int, _ from: Int, _ values: [Double]) -> Double {
            tail.indices.reduce(0) { $0.addingProduct(tail[$1], values[(from + $1) * columns + column]) }
        }
        func apply(_ reflection: (tau: Double, tail: [Double]), to column: Int, from: Int, _ values: inout [Double]) {
            let factor = reflection.tau * dot(reflection.tail, column, from, values)
            for (offset, part) in reflection.tail.enumerated() {
                let index = (from + offset) * columns + column
                values[index] = values[index].addingProduct(-factor, part)
            }
        }
        for step in 0..<columns {
            let x = (step..<rows).map { work[$0 * columns + step] }
            let length = x.reduce(0.0) { $0.addingProduct($1, $1) }.squareRoot()
            let beta = x[0].sign == .minus ? length : -length
            let isZeroBelow = !x.dropFirst().contains { $0 != 0 }
            let tail = [1] + x.dropFirst().map { isZeroBelow ? 0 : $0 / (x[0] - beta) }
            let reflection = (tau: isZeroBelow ? 0 : (beta - x[0]) / beta, tail: tail)
            for column in 0..<columns where column > step { apply(reflection, to: column, from: step, &work) }
            reflections.append(reflection)
        }
        var result = (0..<(rows * columns)).map { $0 / columns == $0 % columns ? 1.0 : 0 }
        for (step, reflection) in reflections.enumerated().reversed() {
            for column in 0..<columns { apply(reflection, to: column, from: step, &result) }
        }
        return result
    }

    func scattered(_ values: [Double], places: [(value: Int, target: Int)], count: Int) -> [Double] {
        places.reduce(into: [Double](repeating: 0, count: count)) { $0[$1.target] += values[$1.value] }
    }
}

extension Spread<[Double]> {
    subscript(row: Int, column: Int) -> Double { matrix[row * rowStride + column * columnStride] }
}
