import Adapters

extension Recomputation {
    /// Puts the rows of a transform, with their bounds, in the place of the start.
    func place(
        _ part: ComputedPart, rows: Range<Int>, panel: [Double], values: inout [Double], bounds: inout [Double]
    ) throws {
        try eachElement(of: part, rows: rows, panel) { index, value, error in
            values[index] = value
            bounds[index] = error
        }
    }

    /// Adds a computed term and its bound.
    func add(
        _ part: ComputedPart, _ term: PreparedTerm, rows: Range<Int>, _ panel: [Double], sums: inout [Double],
        bounds: inout [Double]
    ) throws {
        let (scale, relative, isAlone) = (term.scale, term.relative, term.isAlone)
        try eachElement(of: part, rows: rows, panel) { index, value, error in
            sums[index] += scale * value
            if error != 0 || !isAlone { bounds[index] += abs(scale) * error + relative * abs(value) + RoundingError.underflow }
        }
    }

    private func eachElement(
        of part: ComputedPart, rows: Range<Int>, _ panel: [Double], _ body: (Int, Double, Double) -> Void
    ) throws {
        let own = part.region.rows.clamped(to: rows)
        if own.isEmpty { return }
        let width = part.region.columns.count
        let result = try part.rows(own, panel: panel, first: rows.lowerBound)
        for line in 0..<own.count {
            let start = (own.lowerBound - rows.lowerBound + line) * columns + part.region.columns.lowerBound
            for column in 0..<width {
                body(start + column, result.values[line * width + column], result.error(line * width + column))
            }
        }
    }
}
