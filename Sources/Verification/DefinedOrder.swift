import Adapters
import Tensors

/// The defined order of evaluation, written out in plain Swift, one operation after the other.
///
/// It judges the few elements for which the bound leaves more than one answer: ties, sums that nearly cancel, those
/// next to zero whose sign BLAS does not promise, infinities and NaN, and F64 tensors. It shares no code with what
/// writes merges.
///
///     acc = +0;  for k in 0..<r { acc = fma(left[i, k], right[k, j], acc) };  term = scale * acc
///     update = -0;  for every term in order { update = update + term }
///     V = W + update;   then per magnitude   V = V * (m / sqrt(Σ fma(V, V)))
struct DefinedOrder {
    let recomputation: Recomputation

    private var columns: Int { recomputation.columns }

    /// W + Σ terms of one element.
    func element(row: Int, column: Int, start: Double) throws -> Double {
        var start = start
        for part in recomputation.prepared.transforms
        where part.region.rows.contains(row) && part.region.columns.contains(column) {
            start = try part.definedRow(row)[column - part.region.columns.lowerBound]
        }
        var update = -0.0
        for term in recomputation.prepared.terms
        where term.region.rows.contains(row) && term.region.columns.contains(column) {
            let width = term.region.columns.count
            let (line, position) = (row - term.region.rows.lowerBound, column - term.region.columns.lowerBound)
            switch term.numbers {
            case .dense(let dense): update += term.scale * dense[line * width + position]
            case .computed(let part): update += term.scale * (try part.definedRow(row)[position])
            case .lowRank(let left, let right, let rank):
                var sum = 0.0
                for k in 0..<rank { sum = sum.addingProduct(left[line * rank + k], right[k * width + position]) }
                update += term.scale * sum
            }
        }
        return start + update
    }

    /// W + Σ terms of one row.
    func sums(row: Int, start: ArraySlice<Double>) throws -> [Double] {
        var start = Array(start)
        for part in recomputation.prepared.transforms where part.region.rows.contains(row) {
            start.replaceSubrange(part.region.columns, with: try part.definedRow(row))
        }
        var update = [Double](repeating: -0.0, count: columns)
        for term in recomputation.prepared.terms where term.region.rows.contains(row) {
            let width = term.region.columns.count
            let first = term.region.columns.lowerBound
            let line = row - term.region.rows.lowerBound
            switch term.numbers {
            case .computed(let part):
                for (column, value) in try part.definedRow(row).enumerated() { update[first + column] += term.scale * value }
            case .dense(let dense):
                for column in 0..<width { update[first + column] += term.scale * dense[line * width + column] }
            case .lowRank(let left, let right, let rank):
                var sum = [Double](repeating: 0, count: width)
                for k in 0..<rank {
                    let factor = left[line * rank + k]
                    for column in 0..<width {
                        sum[column] = sum[column].addingProduct(factor, right[k * width + column])
                    }
                }
                for column in 0..<width { update[first + column] += term.scale * sum[column] }
            }
        }
        return zip(start, update).map { $0 + $1 }
    }

    /// The finished row. `columnNorms` holds, for each magnitude along columns, the norms in the defined order.
    func row(_ row: Int, start: ArraySlice<Double>, columnNorms: [[Double]]) throws -> [Double] {
        var values = try sums(row: row, start: start)
        for (index, magnitude) in recomputation.prepared.magnitudes.enumerated() {
            let region = magnitude.region
            guard region.rows.contains(row) else { continue }
            switch magnitude.axis {
            case .rows:
                var squares = 0.0
                for column in region.columns { squares = squares.addingProduct(values[column], values[column]) }
                let factor = magnitude.values[row - region.rows.lowerBound] / squares.squareRoot()
                for column in region.columns { values[column] *= factor }
            case .columns:
                for (position, column) in region.columns.enumerated() {
                    values[column] *= magnitude.values[position] / columnNorms[index][position]
                }
            }
        }
        return values
    }

    /// ‖V[:, j]‖₂ for each magnitude along columns; empty for the others.
    func columnNorms() throws -> [[Double]] {
        try recomputation.prepared.magnitudes.map { magnitude in
            guard magnitude.axis == .columns else { return [] }
            var squares = [Double](repeating: 0, count: magnitude.region.columns.count)
            var buffers = PanelBuffers()
            for row in magnitude.region.rows {
                try recomputation.load(rows: row..<(row + 1), &buffers)
                let values = try sums(row: row, start: buffers.start[...])
                for (position, column) in magnitude.region.columns.enumerated() {
                    squares[position] = squares[position].addingProduct(values[column], values[column])
                }
            }
            return squares.map { $0.squareRoot() }
        }
    }
}
