import Adapters
import ByteAccess
import Tensors

/// Compares rows of a stored tensor with what they should be.
///
/// An element is accepted as follows, with v and E of ``Recomputation``.
/// 1. An element that no update reaches has one right answer: the source's bits, or the source rounded to the output's
///    dtype, or the replacing row rounded to it.
/// 2. Where v − E and v + E round to one code, that code is the one right answer: rounding is monotonic, and the
///    defined result lies between the two.
/// 3. Elsewhere the interval leaves a choice: it reaches across a rounding boundary (by chance, or because factors of
///    few bits make exact ties), or the sum nearly cancels, or the dtype is F64; next to zero BLAS leaves the sign
///    open; NaN and infinities have no interval. Such an element is evaluated in the defined order, which leaves one
///    right answer again. It must lie within v ± E as well: if not, one of the two paths is at fault, and nothing is
///    accepted.
/// 4. Terms that decompose the base have no defined order; there every code between the two is accepted.
///
/// So one flipped bit is caught, in every dtype, wherever 1 to 3 decide. A number of steps given by the caller loosens
/// 2 to 4.
struct PanelComparison<Code: FixedWidthInteger & UnsignedInteger & Sendable> {
    let recomputation: Recomputation
    let order: CodeOrder<Code>
    let tolerance: UInt64
    /// The column norms in the defined order, computed when they are first needed.
    let definedNorms: @Sendable () throws -> [[Double]]
    let probes: ProbePlan?

    var recipe: TensorRecipe { recomputation.recipe }

    /// Compares rows whose stored bytes are in the buffers.
    func tally(rows: Range<Int>, _ buffers: inout PanelBuffers) throws -> Tally {
        var tally = Tally()
        let columns = recomputation.columns
        let hasSameDType = recipe.sourceDType == recipe.dtype
        try recomputation.load(rows: rows, &buffers)
        if hasSameDType {
            try putReplacedRows(into: &buffers.raw, from: buffers.start, rows: rows)
        } else {
            try round(buffers.start, into: &buffers.converted)
        }
        try recomputation.sum(rows: rows, &buffers)
        recomputation.magnify(rows: rows, &buffers)
        PanelBuffers.resize(&buffers.scratch, buffers.values.count)
        try roundEnds(-1, buffers.values, buffers.bounds, &buffers.scratch, into: &buffers.low)
        try roundEnds(1, buffers.values, buffers.bounds, &buffers.scratch, into: &buffers.high)
        PanelBuffers.resize(&buffers.storedValues, buffers.values.count)
        try buffers.stored.withUnsafeBytes { stored in
            try buffers.storedValues.withUnsafeMutableBufferPointer {
                try Conversion.widen(stored, as: recipe.dtype, into: $0)
            }
        }

        var definition = DefinedRow(comparison: self, firstRow: rows.lowerBound)
        let (start, storedValues) = (buffers.start, buffers.storedValues)
        var values: [Double] = []
        swap(&values, &buffers.values)
        try values.withUnsafeMutableBufferPointer { values in
            try buffers.bounds.withUnsafeBufferPointer { bounds in
                try withCodes(buffers.stored, hasSameDType ? buffers.raw : buffers.converted, buffers.low, buffers.high) {
                    stored, exact, low, high in
                    for (line, row) in rows.enumerated() {
                        var column = 0
                        for span in computedSpans(row: row) + [columns..<columns] {
                            for index in (line * columns + column)..<(line * columns + span.lowerBound)
                            where stored[index] != exact[index] {
                                tally.note(stored: storedValues[index], expected: start[index], dtype: recipe.dtype)
                                if !hasSameDType, tolerance > 0,
                                    order.isWithin(tolerance, of: exact[index], exact[index], stored[index])
                                {
                                    continue
                                }
                                tally.reject(
                                    rows.lowerBound * columns + index, stored: storedValues[index], expected: start[index])
                            }
                            for index in (line * columns + span.lowerBound)..<(line * columns + span.upperBound) {
                                let code = stored[index]
                                // v is not 0 and E is finite: the interval alone decides.
                                if code == low[index], code == high[index], values[index] != 0, bounds[index] < .infinity {
                                    continue
                                }
                                try judge(
                                    code, low[index], high[index], index: index, row: row, storedValue: storedValues[index],
                                    value: &values[index], bound: bounds[index], start: start, definition: &definition,
                                    tally: &tally)
                            }
                            column = span.upperBound
                        }
                    }
                }
            }
        }
        swap(&values, &buffers.values)
        storedValues.withUnsafeBufferPointer { stored in
            buffers.values.withUnsafeBufferPointer { tally.noteDifferences(stored: stored, expected: $0) }
        }
        try probes?.compare(rows: rows, &buffers, tally: &tally)
        return tally
    }

    /// Rules 2 to 4 for an element that the fast test left over. `value` becomes the defined result where that decided.
    private func judge(
        _ code: Code, _ low: Code, _ high: Code, index: Int, row: Int, storedValue: Double, value: inout Double,
        bound: Double, start: [Double], definition: inout DefinedRow<Code>, tally: inout Tally
    ) throws {
        let isBounded = bound < .infinity
        var (lowest, highest) = (low, high)
        var isAccepted: Bool
        if isBounded, value != 0, low == high {
            isAccepted = code == low
        } else if recomputation.prepared.isDecomposed {
            tally.ambiguous += 1
            if isBounded {
                isAccepted = order.isWithin(0, of: low, high, code)
            } else {
                (lowest, highest) = try (narrowed(value), narrowed(value))
                isAccepted = code == lowest
            }
        } else {
            if !isBounded || low != high { tally.ambiguous += 1 }
            let defined = try definition.element(row: row, column: index % recomputation.columns, start: start)
            let isConsistent = !isBounded || abs(defined.value - value) <= bound
            (lowest, highest) = (defined.code, defined.code)
            isAccepted = isConsistent && code == defined.code
            value = defined.value
        }
        tally.note(stored: storedValue, expected: value, dtype: recipe.dtype)
        if isAccepted {
            if recomputation.prepared.isDecomposed, isBounded, !isTight(storedValue, value, bound) {
                tally.acceptedByLibraryBound += 1
            }
            return
        }
        if tolerance > 0, order.isWithin(tolerance, of: lowest, highest, code) { return }
        tally.reject(
            row * recomputation.columns + index % recomputation.columns, stored: storedValue, expected: value)
    }

    /// Whether an element would be accepted had this machine's LAPACK written it.
    private func isTight(_ stored: Double, _ value: Double, _ bound: Double) -> Bool {
        guard recomputation.prepared.magnitudes.isEmpty else { return true }
        let rest = max(0, bound - recomputation.prepared.libraryBound)
        if abs(stored - value) <= rest { return true }
        return [value - rest, value + rest].contains { Ulp.distance(stored, $0, in: recipe.dtype) == 0 }
    }

    /// Puts replaced rows, rounded, in the place of the source's bytes.
    private func putReplacedRows(into bytes: inout [UInt8], from start: [Double], rows: Range<Int>) throws {
        let size = recipe.dtype.bits / 8
        for replacement in recomputation.prepared.replacements {
            for (line, row) in rows.enumerated() where replacement.rows[row] != nil {
                let first = line * recomputation.columns + replacement.columns.lowerBound
                let range = first..<(first + replacement.columns.count)
                bytes.replaceSubrange(
                    (range.lowerBound * size)..<(range.upperBound * size),
                    with: try Conversion.narrowed(Array(start[range]), to: recipe.dtype))
            }
        }
    }

    /// The columns of a row that updates or magnitudes reach, sorted and apart.
    private func computedSpans(row: Int) -> [Range<Int>] {
        let spans = recomputation.changedRegions.filter { $0.rows.contains(row) && !$0.columns.isEmpty }.map(\.columns)
        if spans.count < 2 { return spans }
        var result: [Range<Int>] = []
        for span in spans.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, span.lowerBound <= last.upperBound {
                result[result.count - 1] = last.lowerBound..<max(last.upperBound, span.upperBound)
            } else {
                result.append(span)
            }
        }
        return result
    }

    /// v + sign·E, rounded to the output's dtype.
    private func roundEnds(
        _ sign: Double, _ values: [Double], _ bounds: [Double], _ ends: inout [Double], into bytes: inout [UInt8]
    ) throws {
        values.withUnsafeBufferPointer { values in
            bounds.withUnsafeBufferPointer { bounds in
                ends.withUnsafeMutableBufferPointer { ends in
                    for index in 0..<ends.count { ends[index] = values[index] + sign * bounds[index] }
                }
            }
        }
        try round(ends, into: &bytes)
    }

    private func round(_ values: [Double], into bytes: inout [UInt8]) throws {
        PanelBuffers.resize(&bytes, values.count * recipe.dtype.bits / 8)
        try values.withUnsafeBufferPointer { values in
            try bytes.withUnsafeMutableBytes { try Conversion.narrow(values, to: recipe.dtype, into: $0) }
        }
    }

    /// The code of one value.
    func narrowed(_ value: Double) throws -> Code {
        try Conversion.narrowed([value], to: recipe.dtype).withUnsafeBytes { $0.loadUnaligned(as: Code.self) }
    }

    private func withCodes(
        _ a: [UInt8], _ b: [UInt8], _ c: [UInt8], _ d: [UInt8],
        _ body: (
            UnsafeBufferPointer<Code>, UnsafeBufferPointer<Code>, UnsafeBufferPointer<Code>, UnsafeBufferPointer<Code>
        ) throws -> Void
    ) throws {
        // The elements of an array are aligned for every integer type: its storage begins at a multiple of 16 bytes.
        try a.withUnsafeBytes { a in
            try b.withUnsafeBytes { b in
                try c.withUnsafeBytes { c in
                    try d.withUnsafeBytes { d in
                        try body(
                            a.bindMemory(to: Code.self), b.bindMemory(to: Code.self), c.bindMemory(to: Code.self),
                            d.bindMemory(to: Code.self))
                    }
                }
            }
        }
    }
}
