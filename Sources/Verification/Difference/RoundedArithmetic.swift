import Adapters
import ByteAccess
import LinearAlgebra

/// The arithmetic of expressions with what rounding the stored numbers does to every result.
///
/// A matrix is three: the values; the variances of the results if every stored number had been rounded with a relative
/// error of the unit u, independent of all others, to first order,
///
///     var(x + y) = var x + var y      var(x·y) = x² var y + y² var x      var f(x) = f'(x)² var x
///
/// and the sizes, the same expression over magnitudes, which say how much cancels. For a product of two factors the sum of
/// all variances is u_A²·Σ‖b_k‖²‖a_k‖² + u_B²·…, the first part of ρ in ``UpdateComparison``. Numbers that the formula brings
/// along are taken for stored ones, which allows a little more.
///
/// The values themselves are float64 and off by far less: products are OpenBLAS's.
struct RoundedArithmetic: MatrixArithmetic {
    struct Matrix: Sendable {
        var values: [Double]
        var variances: [Double]
        var sizes: [Double]

        init(_ values: [Double], _ variances: [Double], _ sizes: [Double]) {
            (self.values, self.variances, self.sizes) = (values, variances, sizes)
        }

        /// Each of the three by itself.
        init(_ part: ([Double]) -> [Double], of matrix: Matrix) {
            self.init(part(matrix.values), part(matrix.variances), part(matrix.sizes))
        }
    }

    /// The relative rounding error of a stored number.
    let unit: Double

    func exact(_ values: [Double]) -> Matrix {
        Matrix(values, values.map { $0 * $0 * unit * unit }, values.map(abs))
    }

    func gathered(_ matrix: Matrix, count: Int, _ index: (Int) -> Int) -> Matrix {
        let places = (0..<count).map(index)
        return Matrix({ part in places.map { part[$0] } }, of: matrix)
    }

    func joined(_ parts: [Matrix]) -> Matrix {
        Matrix(parts.flatMap(\.values), parts.flatMap(\.variances), parts.flatMap(\.sizes))
    }

    func product(_ left: Matrix, _ right: Matrix, rows: Int, columns: Int, depth: Int) throws -> Matrix {
        func times(_ a: [Double], _ b: [Double]) throws -> [Double] {
            try BLAS.product(a, b, rows: rows, columns: columns, depth: depth)
        }
        let first = try times(left.values.map { $0 * $0 }, right.variances)
        let second = try times(left.variances, right.values.map { $0 * $0 })
        return Matrix(
            try times(left.values, right.values), zip(first, second).map { $0 + $1 }, try times(left.sizes, right.sizes))
    }

    func elementwise(
        _ operation: ElementOperation, _ left: Spread<Matrix>, _ right: Spread<Matrix>, rows: Int, columns: Int
    ) -> Matrix {
        var result = Matrix([], [], [])
        result.values.reserveCapacity(rows * columns)
        result.variances.reserveCapacity(rows * columns)
        result.sizes.reserveCapacity(rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                let i = row * left.rowStride + column * left.columnStride
                let j = row * right.rowStride + column * right.columnStride
                let (x, y) = (left.matrix.values[i], right.matrix.values[j])
                let (a, b) = (left.matrix.variances[i], right.matrix.variances[j])
                let (s, t) = (left.matrix.sizes[i], right.matrix.sizes[j])
                result.values.append(operation(x, y))
                switch operation {
                case .sum, .difference:
                    result.variances.append(a + b)
                    result.sizes.append(s + t)
                case .product:
                    result.variances.append(x * x * b + y * y * a)
                    result.sizes.append(s * t)
                case .quotient:
                    result.variances.append((a + x * x / (y * y) * b) / (y * y))
                    result.sizes.append(s / abs(y))
                }
            }
        }
        return result
    }

    /// f'(x)² var x by the values of f one deviation to either side, which also sees corners.
    func applied(_ function: ElementFunction, to matrix: Matrix) -> Matrix {
        let values = matrix.values.map { function($0) }
        let variances = zip(zip(matrix.values, matrix.variances), values).map { input, value in
            let deviation = input.1.squareRoot()
            let change = max(abs(function(input.0 + deviation) - value), abs(function(input.0 - deviation) - value))
            return change * change
        }
        return Matrix(values, variances, values.map(abs))
    }

    func scaled(_ matrix: Matrix, by scale: Double) -> Matrix {
        Matrix(matrix.values.map { $0 * scale }, matrix.variances.map { $0 * scale * scale }, matrix.sizes.map { $0 * abs(scale) })
    }

    /// d‖x‖ = Σ x_i dx_i / ‖x‖.
    func rowNorms(_ matrix: Matrix, rows: Int, columns: Int) -> Matrix {
        var result = Matrix([], [], [])
        for row in 0..<rows {
            let range = (row * columns)..<((row + 1) * columns)
            let norm = matrix.values[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
            let sum = range.reduce(0) { $0 + matrix.values[$1] * matrix.values[$1] * matrix.variances[$1] }
            result.values.append(norm)
            result.variances.append(norm > 0 ? sum / (norm * norm) : range.reduce(0) { $0 + matrix.variances[$1] })
            result.sizes.append(norm)
        }
        return result
    }

    func solved(_ left: Matrix, _ right: Matrix, size: Int, columns: Int) throws -> Matrix { throw RoundedArithmetic.refusal }

    func orthonormal(_ matrix: Matrix, rows: Int, columns: Int) throws -> Matrix { throw RoundedArithmetic.refusal }

    private static let refusal = PeftfileError(
        .refused, "its formula solves equations, and what rounding does to these is not known", rule: "Expression")

    func scattered(_ values: Matrix, places: [(value: Int, target: Int)], count: Int) -> Matrix {
        Matrix(
            { part in
                var result = [Double](repeating: 0, count: count)
                for place in places { result[place.target] += part[place.value] }
                return result
            }, of: values)
    }
}
