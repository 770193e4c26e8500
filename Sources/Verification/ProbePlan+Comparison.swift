import Adapters
import LinearAlgebra

extension ProbePlan {
    /// Compares some rows; rows that hold infinities or NaN are left to the comparison of elements.
    func compare(rows: Range<Int>, _ buffers: inout PanelBuffers, tally: inout Tally) throws {
        let columns = recomputation.columns
        putStepSizes(of: buffers.storedValues, buffers.bounds, into: &buffers.scratch)
        let factors = buffers.rowFactors
        for segment in segments {
            let part = segment.rows.clamped(to: rows)
            if part.isEmpty { continue }
            let range =
                ((part.lowerBound - rows.lowerBound) * columns)..<((part.upperBound - rows.lowerBound) * columns)
            let found = try product(buffers.storedValues, range, segment.vectors, part.count)
            let tolerances = try product(buffers.scratch, range, segment.magnitudes, part.count)
            var expected = try product(buffers.start, range, segment.reference, part.count)
            var size = [Double](repeating: 0, count: expected.count)
            for (line, first) in stride(from: range.lowerBound, to: range.upperBound, by: columns).enumerated() {
                let norm = Recomputation.norm(buffers.start[first..<(first + columns)]) * RoundingError.slack
                for vector in 0..<vectors { size[line * vectors + vector] = norm * segment.norms[vector] }
            }
            var longest = columns
            var errors = [Double](repeating: 0, count: expected.count)
            for term in segment.terms {
                let length = term.computed == nil
                    ? try add(term, rows: part, expected: &expected, size: &size)
                    : addComputed(term, rows: part, expected: &expected, size: &size, errors: &errors)
                longest = max(longest, length + columns)
            }
            let gamma = RoundingError.gamma(longest + segment.terms.count + 8)
            for (line, row) in part.enumerated() {
                let factor = factors.isEmpty ? 1 : factors[row - rows.lowerBound]
                for vector in 0..<vectors {
                    let index = line * vectors + vector
                    let difference = abs(found[index] - factor * expected[index])
                    let tolerance = (tolerances[index] + abs(factor) * (gamma * size[index] + errors[index])) * RoundingError.slack
                    guard difference.isFinite, tolerance.isFinite else { continue }
                    if vector == 0 { tally.probedRows += 1 }
                    if difference > tolerance { tally.probeFailures += 1 }
                    let ratio = difference == 0 ? 0 : difference / tolerance
                    tally.probeWorst = max(tally.probeWorst, ratio)
                }
            }
        }
    }

    /// Adds scale·E·x with its bounds, the sizes twice, since the elements of W' were rounded on their way as well; returns the roundings in it.
    private func addComputed(
        _ term: Term, rows: Range<Int>, expected: inout [Double], size: inout [Double], errors: inout [Double]
    ) -> Int {
        guard let (first, result, length) = term.computed else { return 0 }
        let prepared = recomputation.prepared.terms[term.index]
        for row in prepared.region.rows.clamped(to: rows) {
            for vector in 0..<vectors {
                let index = (row - rows.lowerBound) * vectors + vector
                let from = (row - first) * vectors + vector
                expected[index] += prepared.scale * result.values[from]
                size[index] += 2 * abs(prepared.scale) * result.sizes[from]
                errors[index] += abs(prepared.scale) * result.errors[from]
            }
        }
        return length + 1
    }

    /// Adds scale·left·(right·x) and the sum of its magnitudes; returns its rank.
    private func add(
        _ term: Term, rows: Range<Int>, expected: inout [Double], size: inout [Double]
    ) throws -> Int {
        let prepared = recomputation.prepared.terms[term.index]
        let region = prepared.region
        let part = region.rows.clamped(to: rows)
        let first = part.lowerBound - region.rows.lowerBound
        let (left, rank): ([Double], Int) =
            switch prepared.numbers {
            case .lowRank(let left, _, let rank): (left, rank)
            case .dense(let values): (values, region.columns.count)
            case .computed: ([], region.columns.count)
            }
        let lines = Array(left[(first * rank)..<((first + part.count) * rank)])
        let image = try BLAS.product(lines, term.image, rows: part.count, columns: vectors, depth: rank)
        for line in 0..<part.count {
            let norm: Double
            if prepared.rowNorms.isEmpty {
                norm = Recomputation.norm(lines[(line * rank)..<((line + 1) * rank)]) * RoundingError.slack
            } else {
                norm = prepared.rowNorms[first + line]
            }
            for vector in 0..<vectors {
                let index = (part.lowerBound - rows.lowerBound + line) * vectors + vector
                expected[index] += prepared.scale * image[line * vectors + vector]
                size[index] += abs(prepared.scale) * norm * term.norms[vector]
            }
        }
        return rank
    }

    /// h + 2E + γ(n + 1)·|W'| for every element.
    private func putStepSizes(of stored: [Double], _ bounds: [Double], into sizes: inout [Double]) {
        let gamma = RoundingError.gamma(recomputation.columns + 1)
        let (least, halfStep) = (smallestNormal, halfStep)
        stored.withUnsafeBufferPointer { stored in
            bounds.withUnsafeBufferPointer { bounds in
                sizes.withUnsafeMutableBufferPointer { sizes in
                    for index in 0..<stored.count {
                        // The power of two at or below |W'|: its exponent bits alone. Infinity stays infinity.
                        let power = Double(bitPattern: stored[index].bitPattern & 0x7FF0_0000_0000_0000)
                        sizes[index] = max(power, least) * halfStep + 2 * bounds[index] + gamma * abs(stored[index])
                    }
                }
            }
        }
    }

    private func product(_ matrix: [Double], _ range: Range<Int>, _ vectors: [Double], _ rows: Int) throws -> [Double] {
        var result = [Double](repeating: 0, count: rows * self.vectors)
        try matrix.withUnsafeBufferPointer { matrix in
            try vectors.withUnsafeBufferPointer { vectors in
                try result.withUnsafeMutableBufferPointer { result in
                    try BLAS.multiply(
                        UnsafeBufferPointer(rebasing: matrix[range]), vectors, into: result, rows: rows,
                        columns: self.vectors, depth: recomputation.columns)
                }
            }
        }
        return result
    }
}
