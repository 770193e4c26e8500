public import ByteAccess
public import Tensors

/// A weight of unsigned codes that are stored transposed, (in, out) against the plain (out, in): GPTQ and AWQ.
///
///     W[o, i] = s[g, o] · (q[i, o] − z[g, o]),   g = gIndex[i], or i / groupSize
///
/// GPTQ packs codes down the input axis: column o of `codes` (in·bits/32, out) is a little-endian bit stream; zeros along the
/// output axis. AWQ packs both along the output axis, eight columns a word, in the order 0 2 4 6 1 3 5 7. Everything is exact in
/// float64. Sources: `QuantLinear.forward` in auto_gptq/nn_modules/qlinear/qlinear_cuda.py, `dequantize_gemm` in
/// awq/utils/packing_utils.py.
public struct ColumnPackedWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// Bits of a code, 2 to 8.
    public let bits: Int
    /// (groups, out).
    public let scale: StoredTensor
    /// Packed zero points, (groups, out·bits/32).
    public let zero: StoredTensor
    /// How codes lie in their words.
    public let packing: Packing
    /// The group of each input; nil where they follow each other.
    public let groupIndex: StoredTensor?
    /// Inputs of a group where there is no index.
    public let groupSize: Int

    /// How codes lie in 32-bit words.
    public enum Packing: Sendable, Hashable {
        /// Bit streams along the input; the stored zero is one less than the zero where `zerosAreLess` is set.
        case inputs(zerosAreLess: Bool)
        /// Eight outputs a word, in AWQ's order.
        case outputs
    }

    public var components: [StoredTensor] { [codes, scale, zero] + [groupIndex].compactMap { $0 } }
    /// Rows of the plain weight.
    public var outputs: Int { shape.matrix.rows }
    /// Columns of the plain weight.
    public var inputs: Int { shape.matrix.columns }
    /// Groups of inputs with one scale each.
    public var groups: Int { scale.shape.first ?? 0 }

    /// Where column 8c + j of AWQ stands in its word.
    static let awqField = [0, 4, 1, 5, 2, 6, 3, 7]

    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty else { return }
        let rows = (elements.lowerBound / inputs)..<((elements.upperBound - 1) / inputs + 1)
        if elements.lowerBound == rows.lowerBound * inputs, elements.upperBound == rows.upperBound * inputs {
            return try read(rows: rows, components, into: result)
        }
        // A range that begins or ends within a row: whole rows, and a copy of what was asked for.
        let whole = try [Double](unsafeUninitializedCapacity: rows.count * inputs) { buffer, count in
            buffer.initialize(repeating: 0)
            try read(rows: rows, components, into: UnsafeMutableBufferPointer(rebasing: buffer[..<(rows.count * inputs)]))
            count = rows.count * inputs
        }
        let start = elements.lowerBound - rows.lowerBound * inputs
        for index in 0..<elements.count { result[index] = whole[start + index] }
    }

    private func read(rows: Range<Int>, _ components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>) throws {
        let order = try order(components)
        let table = try groupTable(rows, components)
        let isStraight = 32 % bits == 0 && groupSize % (32 / bits) == 0
            && (groupIndex == nil || order.indices.allSatisfy { order[$0] == $0 / groupSize })
        // Transposed: the words of one column of codes lie behind each other, and a row of the plain weight is read in one go.
        let columns: Range<Int>
        let length: Int
        switch packing {
        case .inputs: (columns, length) = (rows, codes.shape[0])
        case .outputs: (columns, length) = ((rows.lowerBound / 8)..<((rows.upperBound - 1) / 8 + 1), inputs)
        }
        let strip = try strip(columns, words: length, components)
        strip.withUnsafeBufferPointer { strip in
            table.scales.withUnsafeBufferPointer { scales in
                table.zeros.withUnsafeBufferPointer { zeros in
                    order.withUnsafeBufferPointer { order in
                        for row in rows {
                            let line = row - rows.lowerBound
                            let column = packing == .outputs ? row / 8 - columns.lowerBound : line
                            let source = Line(
                                words: UnsafeBufferPointer(rebasing: strip[(column * length)..<((column + 1) * length)]),
                                scales: UnsafeBufferPointer(rebasing: scales[(line * groups)..<((line + 1) * groups)]),
                                zeros: UnsafeBufferPointer(rebasing: zeros[(line * groups)..<((line + 1) * groups)]),
                                order: order)
                            let target = UnsafeMutableBufferPointer(rebasing: result[(line * inputs)..<((line + 1) * inputs)])
                            switch packing {
                            case .outputs: unpack(source, field: ColumnPackedWeight.awqField[row % 8], into: target)
                            case .inputs where isStraight: unpackWords(source, into: target)
                            case .inputs: unpackStream(source, into: target)
                            }
                        }
                    }
                }
            }
        }
    }

    /// What one row of the plain weight is made of.
    private struct Line {
        /// The words of its column of codes.
        let words: UnsafeBufferPointer<UInt32>
        /// One of each group.
        let scales: UnsafeBufferPointer<Double>
        let zeros: UnsafeBufferPointer<Double>
        /// The group of each input.
        let order: UnsafeBufferPointer<Int>
    }

    /// AWQ: one field of each word.
    private func unpack(_ line: Line, field: Int, into result: UnsafeMutableBufferPointer<Double>) {
        let shift = UInt32(4 * field)
        for group in 0..<groups {
            let (scale, zero) = (line.scales[group], line.zeros[group])
            for input in (group * groupSize)..<((group + 1) * groupSize) {
                let code = line.words[input] &>> shift & 15
                result[input] = scale * (Double(Int32(truncatingIfNeeded: code)) - zero)
            }
        }
    }

    /// GPTQ where no word has codes of two groups, nor a code bits of two words.
    private func unpackWords(_ line: Line, into result: UnsafeMutableBufferPointer<Double>) {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        let fields = 32 / bits
        var input = 0
        while input < inputs {
            let group = input / groupSize
            let (scale, zero) = (line.scales[group], line.zeros[group])
            let end = min(inputs, (group + 1) * groupSize)
            while input < end {
                var packed = line.words[input / fields]
                for field in input..<(input + fields) {
                    result[field] = scale * (Double(Int32(truncatingIfNeeded: packed & mask)) - zero)
                    packed &>>= UInt32(bits)
                }
                input += fields
            }
        }
    }

    /// GPTQ with codes of any width in any order of groups.
    private func unpackStream(_ line: Line, into result: UnsafeMutableBufferPointer<Double>) {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        var (held, count, next) = (UInt64(0), 0, 0)
        for input in 0..<inputs {
            if count < bits {
                held |= UInt64(line.words[next]) &<< UInt64(count)
                (count, next) = (count + 32, next + 1)
            }
            let group = line.order[input]
            result[input] = line.scales[group] * (Double(UInt32(truncatingIfNeeded: held) & mask) - line.zeros[group])
            held &>>= UInt64(bits)
            count -= bits
        }
    }

    /// The group of each input, checked.
    private func order(_ components: ComponentReader) throws -> [Int] {
        guard let groupIndex else { return (0..<inputs).map { $0 / groupSize } }
        let order = try components.values(groupIndex)
        return try order.enumerated().map { input, group in
            guard group >= 0, group < Double(groups) else {
                throw PeftfileError(
                    .refused, "input \(input) has group \(Text.whole(group)), and there are \(groups)", tensor: groupIndex.name,
                    rule: QuantisationRule.groupIndex.rawValue)
            }
            return Int(group)
        }
    }

    /// Words `columns` of every row of the codes, transposed: one column behind the other.
    private func strip(_ columns: Range<Int>, words rows: Int, _ components: ComponentReader) throws -> [UInt32] {
        try [UInt32](unsafeUninitializedCapacity: rows * columns.count) { result, initialized in
            var column = columns.lowerBound
            while column < columns.upperBound {
                let piece = try components.columns(codes, around: column)
                let end = min(columns.upperBound, piece.columns.upperBound)
                piece.bytes.withUnsafeBytes { bytes in
                    // Sixteen columns at a time: of each row that is a line of the processor's cache, and few are written at once.
                    while column < end {
                        let tile = column..<min(end, column + 16)
                        for row in 0..<rows {
                            let start = row * piece.columns.count - piece.columns.lowerBound
                            for column in tile {
                                let word = bytes.loadUnaligned(fromByteOffset: (start + column) * 4, as: UInt32.self)
                                result.initializeElement(
                                    at: (column - columns.lowerBound) * rows + row, to: UInt32(littleEndian: word))
                            }
                        }
                        column = tile.upperBound
                    }
                }
            }
            initialized = rows * columns.count
        }
    }

    /// Scales and zeros of some outputs, (outputs, groups).
    private func groupTable(_ rows: Range<Int>, _ components: ComponentReader) throws -> (scales: [Double], zeros: [Double]) {
        let allScales = try components.bytes(scale)
        let allZeros = try components.bytes(zero)
        let size = scale.dtype.bits / 8
        var scales = [Double](repeating: 0, count: rows.count * groups)
        var zeros = scales
        for group in 0..<groups {
            let start = (group * outputs + rows.lowerBound) * size
            let values = try Conversion.widened(
                Array(allScales[start..<(start + rows.count * size)]), as: scale.dtype, count: rows.count)
            allZeros.withUnsafeBytes { words in
                for line in 0..<rows.count {
                    scales[line * groups + group] = values[line]
                    zeros[line * groups + group] = Double(zeroPoint(words, group: group, output: rows.lowerBound + line))
                }
            }
        }
        return (scales, zeros)
    }

    /// The zero point of one group and output.
    private func zeroPoint(_ words: UnsafeRawBufferPointer, group: Int, output: Int) -> UInt32 {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        let width = zero.shape[1]
        func word(_ index: Int) -> UInt32 {
            UInt32(littleEndian: words.loadUnaligned(fromByteOffset: (group * width + index) * 4, as: UInt32.self))
        }
        switch packing {
        case .outputs: return word(output / 8) >> UInt32(4 * ColumnPackedWeight.awqField[output % 8]) & 15
        case .inputs(let zerosAreLess):
            if 32 % bits == 0 {
                // Adding one to every field of the word at once undoes how the writer took it off, borrows included.
                let value = word(output * bits / 32) &+ (zerosAreLess ? ~0 / mask : 0)
                return value >> UInt32(output * bits % 32) & mask
            }
            let (index, shift) = (output * bits / 32, UInt64(output * bits % 32))
            let high = shift + UInt64(bits) > 32 ? UInt64(word(index + 1)) : 0
            let field = UInt32(truncatingIfNeeded: (high << 32 | UInt64(word(index))) >> shift) & mask
            return field + (zerosAreLess ? 1 : 0)
        }
    }

    public func inspect(_ components: ComponentReader) throws -> String? {
        _ = try order(components)
        guard case .inputs(zerosAreLess: true) = packing, try hasFullField(components) else { return nil }
        guard 32 % bits == 0 else {
            throw PeftfileError(
                .refused, "a stored zero point has all bits set, which every reader takes for another number",
                tensor: zero.name, rule: QuantisationRule.zeroPoint.rawValue,
                help: "save the base in the format gptq_v2, which stores zero points as they are")
        }
        return "stored zero points with all bits set, which readers disagree about: read as GPTQModel writes them, with one "
            + "added to the whole word; AutoGPTQ's kernels read \(1 << bits) or 0 in their place [\(QuantisationRule.zeroPoint.rawValue)]"
    }

    /// Whether a stored zero has all bits set: v1 stores z − 1, so that is z = 0 with a borrow, or z = 2^bits.
    private func hasFullField(_ components: ComponentReader) throws -> Bool {
        let mask = (UInt64(1) << UInt64(bits)) - 1
        let width = zero.shape[1]
        return try components.bytes(zero).withUnsafeBytes { words in
            for group in 0..<groups {
                for output in 0..<outputs {
                    let (index, shift) = (group * width + output * bits / 32, UInt64(output * bits % 32))
                    let low = UInt64(UInt32(littleEndian: words.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
                    let high = shift + UInt64(bits) > 32
                        ? UInt64(UInt32(littleEndian: words.loadUnaligned(fromByteOffset: index * 4 + 4, as: UInt32.self))) : 0
                    if (high << 32 | low) >> shift & mask == mask { return true }
                }
            }
            return false
        }
    }
}

/// Numbers in messages.
enum Text {
    /// A whole number that was widened.
    static func whole(_ value: Double) -> String { Int64(exactly: value).map { String($0) } ?? "\(value)" }
}
