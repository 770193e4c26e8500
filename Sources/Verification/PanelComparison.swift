import Adapters
import ByteAccess
import Tensors

/// Compares rows of a stored tensor with what they should be.
///
/// An element is accepted as follows, with v and E of ``Recomputation``.
/// 1. An element that no update reaches has one right answer: the source's bits, or the source rounded to the output's
///    dtype, or the replacing row rounded to it.
/// 2. Where v − E and v + E round to one code, that code is the one right answer: rounding is monotonic, and the defined
///    result lies between the two.
/// 3. Elsewhere the interval leaves a choice: it reaches across a rounding boundary (by chance, or because factors of few
///    bits make exact ties), or the sum nearly cancels, or the dtype is F64; next to zero BLAS leaves the sign open; NaN
///    and infinities have no interval. Such an element is evaluated in the defined order, which leaves one right answer
///    again. It must lie within v ± E as well: if not, one of the two paths is at fault, and nothing is accepted.
/// 4. Terms that decompose the base have no defined order; there every code between the two is accepted.
///
/// So one flipped bit is caught, in every dtype. A number of steps given by the caller loosens 2 to 4.
struct PanelComparison<Code: FixedWidthInteger & UnsignedInteger & Sendable> {
    let recomputation: Recomputation
    let order: CodeOrder<Code>
    let tolerance: UInt64
    /// The column norms in the defined order, computed when they are first needed.
    let definedNorms: @Sendable () throws -> [[Double]]
    let probes: ProbePlan?

    private var recipe: TensorRecipe { recomputation.recipe }

    func tally(rows: Range<Int>, stored: [UInt8]) throws -> Tally {
        var tally = Tally()
        let columns = recipe.columns
        let raw = try recomputation.source.bytes(rows: rows)
        let count = rows.count * columns
        let storedValues = try Conversion.widened(stored, as: recipe.dtype, count: count)
        var start = try Conversion.widened(raw, as: recipe.sourceDType, count: count)
        recomputation.replace(&start, rows: rows)
        let exact = try exactBytes(raw, start, rows: rows)

        var (values, bounds) = try recomputation.sums(rows: rows, start: start)
        let factors = recomputation.magnify(&values, bounds: &bounds, rows: rows)
        let low = try narrowed(values, bounds, -1)
        let high = try narrowed(values, bounds, 1)

        var definition = DefinedRow(comparison: self, start: start, firstRow: rows.lowerBound)
        try withCodes(stored, exact, low, high) { stored, exact, low, high in
            for (line, row) in rows.enumerated() {
                var column = 0
                for span in computedSpans(row: row) + [columns..<columns] {
                    for index in (line * columns + column)..<(line * columns + span.lowerBound) {
                        if stored[index] == exact[index] { continue }
                        tally.note(stored: storedValues[index], expected: start[index], dtype: recipe.dtype)
                        let isLoosened = recipe.sourceDType != recipe.dtype && tolerance > 0
                        if isLoosened, order.isWithin(tolerance, of: exact[index], exact[index], stored[index]) { continue }
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
                            value: &values[index], bound: bounds[index], definition: &definition, tally: &tally)
                    }
                    column = span.upperBound
                }
            }
        }
        storedValues.withUnsafeBufferPointer { stored in
            values.withUnsafeBufferPointer { tally.noteDifferences(stored: stored, expected: $0) }
        }
        try probes?.compare(
            rows: rows, stored: storedValues, start: start, bounds: bounds, factors: factors, tally: &tally)
        return tally
    }

    /// Rules 2 to 4 for an element that the fast test left over. `value` becomes the defined result where that decided.
    private func judge(
        _ code: Code, _ low: Code, _ high: Code, index: Int, row: Int, storedValue: Double, value: inout Double,
        bound: Double, definition: inout DefinedRow, tally: inout Tally
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
            let defined = try definition.element(row: row, column: index % recipe.columns)
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
        tally.reject(row * recipe.columns + index % recipe.columns, stored: storedValue, expected: value)
    }

    /// Whether an element would be accepted had this machine's LAPACK written it.
    private func isTight(_ stored: Double, _ value: Double, _ bound: Double) -> Bool {
        guard recomputation.prepared.magnitudes.isEmpty else { return true }
        let rest = max(0, bound - recomputation.prepared.libraryBound)
        if abs(stored - value) <= rest { return true }
        return [value - rest, value + rest].contains { Ulp.distance(stored, $0, in: recipe.dtype) == 0 }
    }

    /// The bits of elements that no update reaches.
    private func exactBytes(_ raw: [UInt8], _ start: [Double], rows: Range<Int>) throws -> [UInt8] {
        guard recipe.sourceDType == recipe.dtype else { return try Conversion.narrowed(start, to: recipe.dtype) }
        guard recomputation.prepared.replacements.contains(where: { rows.contains(where: $0.rows.keys.contains) }) else {
            return raw
        }
        var bytes = raw
        let rounded = try Conversion.narrowed(start, to: recipe.dtype)
        let size = recipe.dtype.bits / 8
        for replacement in recomputation.prepared.replacements {
            for (line, row) in rows.enumerated() where replacement.rows[row] != nil {
                let first = (line * recipe.columns + replacement.columns.lowerBound) * size
                let range = first..<(first + replacement.columns.count * size)
                bytes.replaceSubrange(range, with: rounded[range])
            }
        }
        return bytes
    }

    /// The columns of a row that updates or magnitudes reach, sorted and apart.
    private func computedSpans(row: Int) -> [Range<Int>] {
        let spans = recipe.changedRegions.filter { $0.rows.contains(row) && !$0.columns.isEmpty }.map(\.columns)
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
    private func narrowed(_ values: [Double], _ bounds: [Double], _ sign: Double) throws -> [UInt8] {
        let ends = [Double](unsafeUninitializedCapacity: values.count) { buffer, count in
            values.withUnsafeBufferPointer { values in
                bounds.withUnsafeBufferPointer { bounds in
                    for index in 0..<values.count { buffer[index] = values[index] + sign * bounds[index] }
                }
            }
            count = values.count
        }
        return try Conversion.narrowed(ends, to: recipe.dtype)
    }

    fileprivate func narrowed(_ value: Double) throws -> Code {
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

    /// The elements that are evaluated in the defined order: one by one, or the whole row where that is needed for a norm
    /// or saves work.
    private struct DefinedRow {
        /// Elements of one row that are evaluated alone. An element reads a column of the right factor, which costs about
        /// as much as a dozen elements of a row that is evaluated as a whole.
        private let limit = 8

        let comparison: PanelComparison
        let start: [Double]
        let firstRow: Int
        private var row = -1
        private var asked = 0
        private var values: [Double] = []
        private var codes: [UInt8] = []

        init(comparison: PanelComparison, start: [Double], firstRow: Int) {
            self.comparison = comparison
            self.start = start
            self.firstRow = firstRow
        }

        mutating func element(row: Int, column: Int) throws -> (value: Double, code: Code) {
            let definition = DefinedOrder(recomputation: comparison.recomputation)
            let first = (row - firstRow) * comparison.recipe.columns
            if self.row != row { (self.row, asked, values) = (row, 0, []) }
            asked += 1
            if asked <= limit, comparison.recipe.magnitudes.isEmpty {
                let value = definition.element(row: row, column: column, start: start[first + column])
                return (value, try comparison.narrowed(value))
            }
            if values.isEmpty {
                values = definition.row(
                    row, start: start[first..<(first + comparison.recipe.columns)],
                    columnNorms: try comparison.definedNorms())
                codes = try Conversion.narrowed(values, to: comparison.recipe.dtype)
            }
            let code = codes.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: column * MemoryLayout<Code>.size, as: Code.self)
            }
            return (values[column], code)
        }
    }
}
