import Adapters
import LinearAlgebra

/// The arithmetic of expressions by OpenBLAS in float64, each number with a bound of its distance from the one that the
/// defined order gives.
///
/// ## The bound
///
/// Let v be the number computed here and k the one of the defined order, |v − k| ≤ D. Stored numbers have D = 0. An
/// operation on single elements is the same on both paths, one rounding to nearest: with D = 0 for all that enters it, v
/// and k are the same number. So only products, whose sums OpenBLAS forms in an order nobody knows, and eˣ bring
/// differences in, and from there each operation passes them on:
///
/// | operation | D of the result |
/// |---|---|
/// | Σ a·b of length n > 1 | Σ (2γ(n + 1)·|a|·|b| + |a|·D_b + D_a·(|b| + D_b)) |
/// | a ± b | D_a + D_b + 2u·|v| |
/// | a·b | |a|·D_b + |b|·D_a + D_a·D_b + 2u·|v| |
/// | a / b | (D_a + |v|·D_b) / (|b| − D_b) + 2u·|v|, no bound where |b| ≤ D_b |
/// | max, min, relu | D, for they never stretch a distance |
/// | sin, cos, functions between layers | slope·D + twice what ``SecondElementary`` and ours are off by |
/// | 1 / a | D_a / (|a|·(|a| − D_a)) + 2u·|v| |
/// | Q of A = Q·R | 0 where D_A is 0, else no bound |
/// | eˣ | (2D + 2⁻⁴⁷)·|v|, by another series than the merge's; no bound where D > 1 |
/// | ‖row‖₂ | ‖D_row‖₂ + 2γ(n + 2)·|v| |
/// | A⁻¹·B | |A⁻¹|·(D_B + D_A·|X| + 2γ(3n + 3)·n·g·Σ|X|), g the largest number of the elimination |
///
/// A sum of one product is that product on both paths. The last line: both paths solve a system whose matrix is off by
/// D_A and the backward error of elimination, at most γ(3n)·|L|·|U| with |L| ≤ 1 (Higham, theorem 9.4); A⁻¹ is computed
/// here, and trusted to a factor of 2, so there is no bound where the condition number exceeds 2⁴⁰.
struct BoundedArithmetic: MatrixArithmetic {
    struct Matrix: Sendable {
        var values: [Double]
        /// D of each element; empty where it is 0 for all.
        var errors: [Double] = []

        var isExact: Bool { errors.isEmpty }
        func error(_ index: Int) -> Double { errors.isEmpty ? 0 : errors[index] }
    }

    private let stepwise = StepwiseArithmetic()

    func exact(_ values: [Double]) -> Matrix { Matrix(values: values) }

    func gathered(_ matrix: Matrix, count: Int, _ index: (Int) -> Int) -> Matrix {
        Matrix(
            values: stepwise.gathered(matrix.values, count: count, index),
            errors: matrix.isExact ? [] : stepwise.gathered(matrix.errors, count: count, index))
    }

    func joined(_ parts: [Matrix]) -> Matrix {
        let isExact = parts.allSatisfy(\.isExact)
        return Matrix(
            values: parts.flatMap(\.values),
            errors: isExact ? [] : parts.flatMap { $0.isExact ? $0.values.map { _ in 0 } : $0.errors })
    }

    func product(_ left: Matrix, _ right: Matrix, rows: Int, columns: Int, depth: Int) throws -> Matrix {
        func multiply(_ a: [Double], _ b: [Double]) throws -> [Double] {
            try BLAS.product(a, b, rows: rows, columns: columns, depth: depth)
        }
        let values = try multiply(left.values, right.values)
        if depth <= 1, left.isExact, right.isExact { return Matrix(values: values) }
        let gamma = 2 * RoundingError.gamma(depth + 1)
        let sizes = right.values.map(abs)
        let spread = right.isExact ? sizes.map { gamma * $0 } : zip(sizes, right.errors).map { gamma * $0 + $1 }
        var errors = try multiply(left.values.map(abs), spread)
        if !left.isExact {
            let passed = right.isExact ? sizes : zip(sizes, right.errors).map { $0 + $1 }
            for (index, part) in try multiply(left.errors, passed).enumerated() { errors[index] += part }
        }
        return Matrix(values: values, errors: errors.map { widened($0) })
    }

    /// Room for the rounding errors of the bound itself, and for results that underflow.
    private func widened(_ error: Double) -> Double {
        error == 0 ? 0 : error * RoundingError.slack + RoundingError.underflow
    }

    func elementwise(
        _ operation: ElementOperation, _ left: Spread<Matrix>, _ right: Spread<Matrix>, rows: Int, columns: Int
    ) -> Matrix {
        let (a, b) = (left.values, right.values)
        let values = stepwise.elementwise(operation, a, b, rows: rows, columns: columns)
        if left.matrix.isExact, right.matrix.isExact { return Matrix(values: values) }
        let errors = values.indices.map { index -> Double in
            let (row, column) = index.quotientAndRemainder(dividingBy: columns)
            let (x, y) = (abs(a[row, column]), abs(b[row, column]))
            let (dx, dy) = (left.error(row, column), right.error(row, column))
            if dx == 0, dy == 0 { return 0 }
            let rounding = 2 * RoundingError.unit * abs(values[index])
            switch operation {
            case .sum, .difference: return widened(dx + dy + rounding)
            case .product: return widened(x * dy + y * dx + dx * dy + rounding)
            case .quotient: return y > dy ? widened((dx + abs(values[index]) * dy) / (y - dy) + rounding) : .infinity
            }
        }
        return Matrix(values: values, errors: errors)
    }

    func applied(_ function: ElementFunction, to matrix: Matrix) -> Matrix {
        guard matrix.values.indices.contains(0) else { return matrix }
        if function.isSteady { return Matrix(values: stepwise.applied(function, to: matrix.values), errors: matrix.errors) }
        var result = matrix
        if result.isExact { result.errors = [Double](repeating: 0, count: matrix.values.count) }
        for (index, value) in matrix.values.enumerated() {
            (result.values[index], result.errors[index]) = function.second(of: value, error: matrix.error(index))
        }
        return result
    }

    func orthonormal(_ matrix: Matrix, rows: Int, columns: Int) throws -> Matrix {
        let values = stepwise.orthonormal(matrix.values, rows: rows, columns: columns)
        // The same operations on both paths; of numbers that differ there is no bound, and the defined order decides.
        return Matrix(values: values, errors: matrix.isExact ? [] : values.map { _ in .infinity })
    }

    func scaled(_ matrix: Matrix, by scale: Double) -> Matrix {
        let values = stepwise.scaled(matrix.values, by: scale)
        let errors = matrix.errors.enumerated().map { index, error in
            error == 0 ? 0 : widened(abs(scale) * error + 2 * RoundingError.unit * abs(values[index]))
        }
        return Matrix(values: values, errors: errors)
    }

    func rowNorms(_ matrix: Matrix, rows: Int, columns: Int) -> Matrix {
        let values = stepwise.rowNorms(matrix.values, rows: rows, columns: columns)
        if matrix.isExact { return Matrix(values: values) }
        let passed = stepwise.rowNorms(matrix.errors, rows: rows, columns: columns)
        let gamma = 2 * RoundingError.gamma(columns + 2)
        return Matrix(
            values: values,
            errors: zip(values, passed).map { norm, change in
                // Squares of numbers this small or large may vanish or overflow on one path alone.
                norm > 0x1p-400 && norm < 0x1p400 ? widened(change + gamma * norm) : .infinity
            })
    }

    func solved(_ left: Matrix, _ right: Matrix, size: Int, columns: Int) throws -> Matrix {
        let (values, largest) = stepwise.elimination(left.values, right.values, size: size, columns: columns)
        if left.isExact, right.isExact { return Matrix(values: values) }
        let identity = (0..<(size * size)).map { $0 % (size + 1) == 0 ? 1.0 : 0.0 }
        let inverse = stepwise.solved(left.values, identity, size: size, columns: size).map(abs)
        let condition = (inverse.max() ?? 0) * (left.values.map(abs).max() ?? 0) * Double(size * size)
        guard condition < 0x1p40 else {
            return Matrix(values: values, errors: values.map { _ in .infinity })
        }
        let elimination = 2 * RoundingError.gamma(3 * size + 3) * Double(size) * largest
        let sizes = values.map(abs)
        let moved = (0..<(size * size)).map { left.error($0) + elimination }
        var change = try BLAS.product(moved, sizes, rows: size, columns: columns, depth: size)
        for index in change.indices { change[index] += right.error(index) }
        let errors = try BLAS.product(inverse, change, rows: size, columns: columns, depth: size)
        return Matrix(values: values, errors: errors.map { widened(2 * $0) })
    }

    func scattered(_ values: Matrix, places: [(value: Int, target: Int)], count: Int) -> Matrix {
        let sums = stepwise.scattered(values.values, places: places, count: count)
        if values.isExact { return Matrix(values: sums) }
        // Sums of n numbers round n times at most, each by no more than the sum of magnitudes.
        let sizes = stepwise.scattered(values.values.map(abs), places: places, count: count)
        let errors = stepwise.scattered(values.errors, places: places, count: count)
        let gamma = 2 * RoundingError.gamma(places.count + 1)
        return Matrix(values: sums, errors: zip(errors, sizes).map { $0 == 0 ? 0 : widened($0 + gamma * $1) })
    }
}

extension Spread<BoundedArithmetic.Matrix> {
    var values: Spread<[Double]> { Spread<[Double]>(matrix: matrix.values, rowStride: rowStride, columnStride: columnStride) }
    func error(_ row: Int, _ column: Int) -> Double { matrix.error(row * rowStride + column * columnStride) }
}
