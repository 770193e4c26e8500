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
        let count = rows.count
        switch packing {
        case .inputs:
            // The strip of words of these outputs: one short run of each row of words.
            let strip = try strip(rows, words: codes.shape[0], width: outputs, components)
            strip.withUnsafeBufferPointer { strip in
                table.scales.withUnsafeBufferPointer { scales in
                    table.zeros.withUnsafeBufferPointer { zeros in
                        order.withUnsafeBufferPointer { order in
                            unpack(strip, scales, zeros, order, rows: count, into: result)
                        }
                    }
                }
            }
        case .outputs:
            let words = (rows.lowerBound / 8)..<((rows.upperBound - 1) / 8 + 1)
            let strip = try strip(words, words: inputs, width: outputs / 8, components)
            strip.withUnsafeBufferPointer { strip in
                for row in rows {
                    let shift = UInt32(4 * ColumnPackedWeight.awqField[row % 8])
                    let (line, word) = (row - rows.lowerBound, row / 8 - words.lowerBound)
                    for input in 0..<inputs {
                        let code = strip[input * words.count + word] >> shift & 15
                        let g = order[input] * count + line
                        result[line * inputs + input] = table.scales[g] * (Double(code) - table.zeros[g])
                    }
                }
            }
        }
    }

    /// GPTQ: `strip` has for each row of words one word of each output.
    private func unpack(
        _ strip: UnsafeBufferPointer<UInt32>, _ scales: UnsafeBufferPointer<Double>, _ zeros: UnsafeBufferPointer<Double>,
        _ order: UnsafeBufferPointer<Int>, rows count: Int, into result: UnsafeMutableBufferPointer<Double>
    ) {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        if 32 % bits == 0 {
            let fields = 32 / bits
            for word in 0..<(inputs / fields) {
                for line in 0..<count {
                    var packed = strip[word * count + line]
                    let start = line * inputs + word * fields
                    for field in 0..<fields {
                        let g = order[word * fields + field] * count + line
                        result[start + field] = scales[g] * (Double(packed & mask) - zeros[g])
                        packed >>= UInt32(bits)
                    }
                }
            }
            return
        }
        for input in 0..<inputs {
            let bit = input * bits
            let (word, shift) = (bit / 32, UInt64(bit % 32))
            for line in 0..<count {
                let low = UInt64(strip[word * count + line])
                let high = shift + UInt64(bits) > 32 ? UInt64(strip[(word + 1) * count + line]) : 0
                let code = UInt32(truncatingIfNeeded: (high << 32 | low) >> shift) & mask
                let g = order[input] * count + line
                result[line * inputs + input] = scales[g] * (Double(code) - zeros[g])
            }
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

    /// Words `columns` of every row of a (rows, width) tensor of 32-bit words, one row behind the other.
    private func strip(_ columns: Range<Int>, words rows: Int, width: Int, _ components: ComponentReader) throws -> [UInt32] {
        func append(_ bytes: UnsafeRawBufferPointer, from start: Int, to result: inout [UInt32]) {
            for index in 0..<columns.count {
                result.append(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + index * 4, as: UInt32.self)))
            }
        }
        var result: [UInt32] = []
        result.reserveCapacity(rows * columns.count)
        if components.keeps(codes) {
            try components.bytes(codes).withUnsafeBytes { bytes in
                for row in 0..<rows { append(bytes, from: (row * width + columns.lowerBound) * 4, to: &result) }
            }
            return result
        }
        for row in 0..<rows {
            let start = (row * width + columns.lowerBound) * 4
            try components.bytes(codes, start..<(start + columns.count * 4)).withUnsafeBytes { append($0, from: 0, to: &result) }
        }
        return result
    }

    /// Scales and zeros of some outputs, (groups, outputs).
    private func groupTable(_ rows: Range<Int>, _ components: ComponentReader) throws -> (scales: [Double], zeros: [Double]) {
        let allScales = try components.bytes(scale)
        let allZeros = try components.bytes(zero)
        let size = scale.dtype.bits / 8
        var scales: [Double] = []
        var zeros: [Double] = []
        for group in 0..<groups {
            let start = (group * outputs + rows.lowerBound) * size
            scales += try Conversion.widened(
                Array(allScales[start..<(start + rows.count * size)]), as: scale.dtype, count: rows.count)
            allZeros.withUnsafeBytes { words in
                for row in rows { zeros.append(Double(zeroPoint(words, group: group, output: row))) }
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
