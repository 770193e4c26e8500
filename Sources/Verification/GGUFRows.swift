import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The rows of a matrix in a GGUF file, made again and compared byte by byte.
struct GGUFRows {
    private let recomputation: Recomputation
    private let type: GGUFType
    /// For each row of the Hub's the stored one; nil where they are the same.
    private let storedRows: [Int]?
    /// How the file's tensor lies in the Hub's; nil where it is the same, but for the order of rows.
    private let cut: GGUFCut?
    /// Where it lies there in runs: for each of the Hub's rows and columns the stored one.
    private let runRows: [Int: Int]?
    private let runColumns: [Int: Int]?
    private let shift: Double

    init(
        _ recipe: TensorRecipe, _ type: GGUFType, order: GGUFTensor.Order?, cut: GGUFCut?, shift: Double, base: Checkpoint, adapters: [Adapter],
        numbers: AdapterNumbers
    ) throws {
        var exact = recipe
        exact.dtype = .f64
        if cut != nil, recipe.shape.count == 3 { exact.isExpertStack = true }
        self.type = type
        storedRows = order.map(PlainDequantisation.storedRows)
        self.cut = cut
        runRows = PlainDequantisation.places(cut?.rowRuns)
        runColumns = PlainDequantisation.places(cut?.columnRuns)
        self.shift = shift
        let source = try SourceRows(exact, base: base, adapters: adapters)
        var prepared = try PreparedRecipe(exact, source: source, numbers: numbers)
        for index in prepared.magnitudes.indices where prepared.magnitudes[index].axis == .columns {
            prepared.magnitudes[index].norms = try Recomputation(recipe: exact, source: source, prepared: prepared)
                .columnNorms(of: prepared.magnitudes[index].region, step: max(1, (1 << 16) / max(1, exact.columns)))
        }
        recomputation = Recomputation(recipe: exact, source: source, prepared: prepared)
    }

    private var recipe: TensorRecipe { recomputation.recipe }

    /// Compares all rows with the bytes that `read` gives for a range of the matrix's.
    func tally(read: (Range<UInt64>) throws -> [UInt8]) throws -> Tally {
        var tally = Tally()
        let columns = recipe.columns
        let isVector = storedRows != nil && recipe.shape.count < 2
        let step = max(1, (1 << 16) / max(1, columns))
        // Of a turned matrix the stored rows that are being filled.
        var turned: [[Double]] = []
        var row = 0
        while row < recipe.rows {
            let rows = row..<min(row + step, recipe.rows)
            let buffers = try recomputation.panel(rows: rows)
            let comparison = PanelComparison(
                recomputation: recomputation, order: CodeOrder<UInt64>(infinity: 0x7FF0_0000_0000_0000), tolerance: 0,
                definedNorms: { try DefinedOrder(recomputation: recomputation).columnNorms() }, probes: nil)
            var definition = DefinedRow(comparison: comparison, firstRow: rows.lowerBound)
            for line in rows {
                let first = (line - rows.lowerBound) * columns
                let (block, place) = cut.map { (line / $0.blockRows, line % $0.blockRows) } ?? (0, line)
                if let runRows, runRows[line] == nil { continue }
                if let cut, runRows == nil, cut.isTurned ? place >= cut.width : place < cut.first || place >= cut.first + cut.height { continue }
                var numbers = try decided(line, first, buffers, &definition, &tally)
                // −0 + 0 would be +0.
                if shift != 0 { for index in numbers.indices { numbers[index] += shift } }
                if let cut, cut.isTurned {
                    if place == 0 { turned = [[Double]](repeating: [], count: cut.height) }
                    for stored in 0..<cut.height { turned[stored].append(numbers[cut.first + stored * cut.step]) }
                    guard place == cut.width - 1 else { continue }
                    for (stored, numbers) in turned.enumerated() {
                        let bytes = try encoded(numbers)
                        let start = UInt64(block * cut.height + stored) * UInt64(bytes.count)
                        compare(
                            try read(start..<(start + UInt64(bytes.count))), bytes, numbers,
                            first: block * cut.blockRows * columns + cut.first + stored * cut.step, by: columns, &tally)
                    }
                    continue
                }
                if isVector {
                    try compareVector(numbers, &tally, read)
                    continue
                }
                if let runColumns {
                    var ordered = numbers
                    for (column, value) in numbers.enumerated() { ordered[runColumns[column] ?? column] = value }
                    numbers = ordered
                }
                let bytes = try encoded(numbers)
                let storedRow = runRows?[line] ?? cut.map { block * $0.height + place - $0.first } ?? storedRows?[line] ?? line
                let start = UInt64(storedRow) * UInt64(bytes.count)
                let stored = try read(start..<(start + UInt64(bytes.count)))
                compare(stored, bytes, numbers, first: line * columns, &tally)
            }
            row = rows.upperBound
        }
        return tally
    }

    /// The row's numbers, each of which rounds to the one right result.
    private func decided(
        _ row: Int, _ first: Int, _ buffers: PanelBuffers, _ definition: inout DefinedRow<UInt64>, _ tally: inout Tally
    ) throws -> [Double] {
        let columns = recipe.columns
        var numbers = Array(buffers.start[first..<(first + columns)])
        for region in recipe.changedRegions where region.rows.contains(row) {
            for column in region.columns {
                let (value, bound) = (buffers.values[first + column], buffers.bounds[first + column])
                numbers[column] = value
                if recomputation.prepared.isDecomposed { continue }
                if value != 0, bound < .infinity, rounded(value - bound + shift) == rounded(value + bound + shift) { continue }
                tally.ambiguous += 1
                numbers[column] = try definition.element(row: row, column: column, start: buffers.start).value
                if bound < .infinity, !((numbers[column] - value).magnitude <= bound) {
                    tally.reject(row * columns + column, stored: numbers[column], expected: value)
                }
            }
        }
        return numbers
    }

    /// The number that is rounded first: blocks are made of F32.
    private func rounded(_ value: Double) -> Double {
        switch type {
        case .f64: value
        case .f16: Double(Float16(value))
        case .bf16: (try? Conversion.widened(Conversion.narrowed([value], to: .bf16), as: .bf16, count: 1))?.first ?? .nan
        default: Double(Float(value))
        }
    }

    private func compareVector(_ numbers: [Double], _ tally: inout Tally, _ read: (Range<UInt64>) throws -> [UInt8]) throws {
        var ordered = numbers
        for (index, value) in numbers.enumerated() { ordered[storedRows?[index] ?? index] = value }
        let bytes = try encoded(ordered)
        compare(try read(0..<UInt64(bytes.count)), bytes, ordered, first: 0, &tally)
    }

    private func encoded(_ numbers: [Double]) throws -> [UInt8] {
        if let dtype = type.dtype { return try Conversion.narrowed(numbers, to: dtype) }
        guard type == .q8_0, numbers.count % 32 == 0 else {
            throw PeftfileError(.unsupported, "is stored in \(type.name), in which no merge writes", rule: "GGUFOutputType")
        }
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: numbers.count, by: 32) {
            let block = numbers[start..<(start + 32)].map { Float($0) }
            let magnitudes = block.map { $0 < 0 ? -$0 : $0 }
            let scale = (magnitudes.max() ?? 0) / Float(127)
            let half = Float16(scale).bitPattern
            bytes += [UInt8(truncatingIfNeeded: half), UInt8(truncatingIfNeeded: half >> 8)]
            let factor: Float = scale == 0 ? 0 : 1 / scale
            for x in block {
                // Half away from zero: the whole part, and one more where half or more is left; both are exact.
                let product = x * factor
                let whole = product.rounded(.towardZero)
                let rest = product - whole
                let code = whole + (rest >= 0.5 ? 1 : rest <= -0.5 ? -1 : 0)
                bytes.append(code.isFinite ? UInt8(bitPattern: Int8(clamping: Int(code))) : 0)
            }
        }
        return bytes
    }

    private func compare(_ stored: [UInt8], _ bytes: [UInt8], _ numbers: [Double], first: Int, by step: Int = 1, _ tally: inout Tally) {
        guard stored != bytes else { return }
        if let dtype = type.dtype {
            let width = dtype.bits / 8
            let values = (try? Conversion.widened(stored, as: dtype, count: numbers.count)) ?? []
            for index in numbers.indices
            where stored[(index * width)..<((index + 1) * width)] != bytes[(index * width)..<((index + 1) * width)] {
                tally.note(stored: values[index], expected: numbers[index], dtype: dtype)
                tally.reject(first + index * step, stored: values[index], expected: numbers[index])
            }
        } else {
            tally.hasUncountedDistance = true
            for block in 0..<(numbers.count / 32) {
                let place = block * 34
                let scale = Double(Float16(bitPattern: UInt16(stored[place]) | UInt16(stored[place + 1]) << 8))
                let isOtherScale = stored[place] != bytes[place] || stored[place + 1] != bytes[place + 1]
                for index in 0..<32 where isOtherScale || stored[place + 2 + index] != bytes[place + 2 + index] {
                    let value = scale * Double(Int8(bitPattern: stored[place + 2 + index]))
                    tally.reject(first + (block * 32 + index) * step, stored: value, expected: numbers[block * 32 + index])
                }
            }
        }
    }
}
