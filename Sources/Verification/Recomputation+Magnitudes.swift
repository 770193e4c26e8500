import Adapters
import Tensors

/// The norms of the columns of V, for a magnitude along columns.
struct ColumnNorms: Sendable {
    /// ‖V[:, j]‖₂ over the region's rows.
    var norms: [Double]
    /// ‖E[:, j]‖₂: the norm may be that far off because V is.
    var errors: [Double]
}

/// DoRA's magnitude, y = V·m / ‖line‖₂, after arXiv:2402.09353.
///
/// ## The bound
///
/// Let v and k be the elements of V on the two paths, |v − k| ≤ e, N and M the norms of the line as computed on the two
/// paths, n the length of the line. Each path sums n squares, one rounding for each product and sum at most, and takes
/// a root: N = ‖v‖·(1 + θ), |θ| ≤ γ(n + 1)/2 + u, and M likewise with k. The true norms differ by at most ‖e‖₂. So
/// |N − M| / N ≤ ρ := (‖e‖₂/N + γ(n + 2)) · (1 + small). Then y = fl(v·fl(m/N)) and likewise for k: with f = m/N
///
///     |y_v − y_k|  ≤  |f|·e·(1 + ρ') + |f·v|·(ρ' + 4u),      ρ' = ρ / (1 − ρ)
///
/// Only lines with ‖e‖/N ≤ 2⁻⁸ and 2⁻⁴⁰⁰ < N < 2⁴⁰⁰ are bounded: squares then neither overflow nor vanish together, and
/// all factors "(1 + small)" are below 1 + 2⁻⁶. Others get an infinite bound, and the defined order decides them.
extension Recomputation {
    /// Applies the magnitudes to v and E of rows that are summed, and notes what each row was multiplied by along rows.
    func magnify(rows: Range<Int>, _ buffers: inout PanelBuffers) {
        buffers.rowFactors.removeAll(keepingCapacity: true)
        if prepared.magnitudes.isEmpty { return }
        PanelBuffers.resize(&buffers.rowFactors, rows.count)
        for row in 0..<rows.count { buffers.rowFactors[row] = 1 }
        for magnitude in prepared.magnitudes {
            switch magnitude.axis {
            case .rows: magnifyRows(magnitude, rows, &buffers)
            case .columns: magnifyColumns(magnitude, rows, &buffers)
            }
        }
    }

    private func magnifyRows(
        _ magnitude: PreparedRecipe.Magnitude, _ rows: Range<Int>, _ buffers: inout PanelBuffers
    ) {
        let region = magnitude.region
        for row in region.rows.clamped(to: rows) {
            let start = (row - rows.lowerBound) * columns
            let line = (start + region.columns.lowerBound)..<(start + region.columns.upperBound)
            let factor = Recomputation.factor(
                magnitude.values[row - region.rows.lowerBound], norm: Recomputation.norm(buffers.values[line]),
                error: Recomputation.norm(buffers.bounds[line]), length: region.columns.count)
            buffers.rowFactors[row - rows.lowerBound] *= factor.factor
            for index in line { apply(factor, &buffers.values[index], &buffers.bounds[index]) }
        }
    }

    private func magnifyColumns(
        _ magnitude: PreparedRecipe.Magnitude, _ rows: Range<Int>, _ buffers: inout PanelBuffers
    ) {
        let region = magnitude.region
        let factors = (0..<region.columns.count).map { column in
            Recomputation.factor(
                magnitude.values[column], norm: magnitude.norms?.norms[column] ?? .nan,
                error: magnitude.norms?.errors[column] ?? .nan, length: region.rows.count)
        }
        for row in region.rows.clamped(to: rows) {
            let start = (row - rows.lowerBound) * columns + region.columns.lowerBound
            for column in 0..<factors.count {
                apply(factors[column], &buffers.values[start + column], &buffers.bounds[start + column])
            }
        }
    }

    /// m / N with the bound ρ' + 4u of its relative change, infinite where there is none.
    static func factor(
        _ magnitude: Double, norm: Double, error: Double, length: Int
    ) -> (factor: Double, change: Double) {
        let factor = magnitude / norm
        guard norm > 0x1p-400, norm < 0x1p400, error / norm <= 0x1p-8 else { return (factor, .infinity) }
        let change = error / norm + RoundingError.gamma(length + 2) + 4 * RoundingError.unit
        return (factor, change * (1 + 0x1p-6))
    }

    private func apply(_ factor: (factor: Double, change: Double), _ value: inout Double, _ bound: inout Double) {
        let size = abs(factor.factor)
        let result = value * factor.factor
        // The last part covers the rounding of v ∓ E.
        bound =
            (size * bound * (1 + 0x1p-6) + abs(result) * (factor.change + RoundingError.unit))
            * RoundingError.slack + RoundingError.underflow
        value = result
    }

    /// ‖line‖₂ by eight partial sums, another order than the defined one.
    static func norm(_ line: ArraySlice<Double>) -> Double {
        line.withUnsafeBufferPointer { line in
            var sums = SIMD8<Double>.zero
            var index = 0
            while index + 8 <= line.count {
                let part = SIMD8(
                    line[index], line[index + 1], line[index + 2], line[index + 3], line[index + 4], line[index + 5],
                    line[index + 6], line[index + 7])
                sums += part * part
                index += 8
            }
            var sum = sums.sum()
            while index < line.count {
                sum += line[index] * line[index]
                index += 1
            }
            return sum.squareRoot()
        }
    }

    /// The norms of the columns of a region, streaming down its rows `step` at a time.
    func columnNorms(of region: Region, step: Int) throws -> ColumnNorms {
        var squares = [Double](repeating: 0, count: region.columns.count)
        var errors = squares
        var buffers = PanelBuffers()
        var row = region.rows.lowerBound
        while row < region.rows.upperBound {
            let rows = row..<min(row + step, region.rows.upperBound)
            try load(rows: rows, &buffers)
            try sum(rows: rows, &buffers)
            for line in 0..<rows.count {
                let start = line * columns + region.columns.lowerBound
                for column in 0..<region.columns.count {
                    let (value, bound) = (buffers.values[start + column], buffers.bounds[start + column])
                    squares[column] += value * value
                    errors[column] += bound * bound
                }
            }
            row = rows.upperBound
        }
        return ColumnNorms(
            norms: squares.map { $0.squareRoot() }, errors: errors.map { $0.squareRoot() * RoundingError.slack })
    }
}
