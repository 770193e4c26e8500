/// Householder's reflections of a matrix, in the order that `MatrixExpression.orthonormal` defines.
struct Reflections {
    /// Column after column, which is how reflections act.
    private var columns: [[Double]]
    private let rows: Int

    /// - Parameter matrix: row-major, with at least as many rows as columns.
    init(matrix: [Double], rows: Int, columns: Int) {
        self.rows = rows
        self.columns = (0..<columns).map { column in (0..<rows).map { matrix[$0 * columns + column] } }
    }

    /// Q, row-major.
    mutating func orthonormal() -> [Double] {
        var vectors: [[Double]] = []
        var factors: [Double] = []
        for step in columns.indices {
            let (vector, factor) = reflection(at: step)
            for column in (step + 1)..<max(columns.count, step + 1) {
                Reflections.reflect(&columns[column], vector, factor, from: step)
            }
            vectors.append(vector)
            factors.append(factor)
        }
        let count = columns.count
        var result = [Double](repeating: 0, count: rows * count)
        for column in 0..<count {
            var unit = [Double](repeating: 0, count: rows)
            unit[column] = 1
            for step in vectors.indices.reversed() { Reflections.reflect(&unit, vectors[step], factors[step], from: step) }
            for row in 0..<rows { result[row * count + column] = unit[row] }
        }
        return result
    }

    /// v with v₀ = 1 at row `step`, and τ.
    private func reflection(at step: Int) -> (vector: [Double], factor: Double) {
        let column = columns[step]
        let first = column[step]
        var squares = 0.0
        for row in step..<rows { squares.addProduct(column[row], column[row]) }
        var vector = [Double](repeating: 0, count: rows)
        vector[step] = 1
        if column[(step + 1)...].allSatisfy({ $0 == 0 }) { return (vector, 0) }
        let norm = squares.squareRoot()
        let beta = first.sign == .minus ? norm : -norm
        let divisor = first - beta
        for row in (step + 1)..<rows { vector[row] = column[row] / divisor }
        return (vector, (beta - first) / beta)
    }

    /// y − (τ·(v·y))·v over the rows from `step` on.
    private static func reflect(_ column: inout [Double], _ vector: [Double], _ factor: Double, from step: Int) {
        var sum = 0.0
        for row in step..<vector.count { sum.addProduct(vector[row], column[row]) }
        let scaled = factor * sum
        for row in step..<vector.count { column[row].addProduct(-scaled, vector[row]) }
    }
}
