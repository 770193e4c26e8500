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
    /// So many that whole lines of the processor's cache are transposed.
    public var rowsReadTogether: Int { 48 }
    /// Rows of the plain weight.
    public var outputs: Int { shape.matrix.rows }
    /// Columns of the plain weight.
    public var inputs: Int { shape.matrix.columns }
    /// Groups of inputs with one scale each.
    public var groups: Int { scale.shape.first ?? 0 }

    /// Where column 8c + j of AWQ stands in its word.
    static let awqField = [0, 4, 1, 5, 2, 6, 3, 7]

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: `.refused` with rule `GroupIndex` where an entry of `groupIndex` is no group; what ``Checkpoint/read(_:bytes:)`` and
    ///   ``Checkpoint/read(_:at:into:)`` throw for the components.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        try readRows(of: elements, columns: inputs, into: result) { try read(rows: $0, components, into: $1) }
    }

    private func read(rows: Range<Int>, _ components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>) throws {
        let order = try order(components)
        let table = try groupTable(rows, components)
        // Transposed: the words of one column of codes lie behind each other, and a row of the plain weight is read in one go.
        let columns: Range<Int>
        let length: Int
        switch packing {
        case .inputs: (columns, length) = (rows, codes.shape[0])
        case .outputs: (columns, length) = ((rows.lowerBound / 8)..<((rows.upperBound - 1) / 8 + 1), inputs)
        }
        let strip = try strip(columns, words: length, components)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: inputs) { codes in
            for row in rows {
                let line = row - rows.lowerBound
                let column = packing == .outputs ? row / 8 - columns.lowerBound : line
                strip[(column * length)..<((column + 1) * length)].withUnsafeBufferPointer { unpack($0, row, into: codes) }
                let target = UnsafeMutableBufferPointer(rebasing: result[(line * inputs)..<((line + 1) * inputs)])
                let groups = (line * groups)..<((line + 1) * groups)
                compute(UnsafeBufferPointer(codes), order, table.scales[groups], table.zeros[groups], into: target)
            }
        }
    }

    /// The codes of one row of the plain weight from the words of its column.
    private func unpack(_ words: UnsafeBufferPointer<UInt32>, _ row: Int, into codes: UnsafeMutableBufferPointer<UInt8>) {
        switch packing {
        case .inputs: CodeKernels.unpack(UnsafeRawBufferPointer(words), bits: bits, into: codes)
        case .outputs: CodeKernels.fields(words, shift: 4 * ColumnPackedWeight.awqField[row % 8], into: codes)
        }
    }

    /// One row: scales and zeros of its groups.
    private func compute(
        _ codes: UnsafeBufferPointer<UInt8>, _ order: [Int]?, _ scales: ArraySlice<Double>, _ zeros: ArraySlice<Double>,
        into result: UnsafeMutableBufferPointer<Double>
    ) {
        scales.withUnsafeBufferPointer { scales in
            zeros.withUnsafeBufferPointer { zeros in
                guard let order else {
                    return CodeKernels.affine(codes, group: groupSize, zeros: zeros, scales: scales, into: result)
                }
                order.withUnsafeBufferPointer { order in
                    for input in 0..<inputs {
                        let group = order[input]
                        result[input] = scales[group] * (Double(Int32(codes[input])) - zeros[group])
                    }
                }
            }
        }
    }

    /// The group of each input, checked; nil where they follow each other.
    private func order(_ components: ComponentReader) throws -> [Int]? {
        guard let groupIndex else { return nil }
        let order = try components.values(groupIndex)
        var isStraight = true
        let result = try order.enumerated().map { input, group in
            guard group >= 0, group < Double(groups) else {
                throw PeftfileError(
                    .refused, "input \(input) has group \(Text.whole(group)), and there are \(groups)", tensor: groupIndex.name,
                    rule: QuantisationRule.groupIndex.rawValue)
            }
            isStraight = isStraight && Int(group) == input / groupSize
            return Int(group)
        }
        return isStraight ? nil : result
    }

    /// Words `columns` of every row of the codes, transposed: one column behind the other.
    private func strip(_ columns: Range<Int>, words rows: Int, _ components: ComponentReader) throws -> [UInt32] {
        try [UInt32](unsafeUninitializedCapacity: rows * columns.count) { result, initialized in
            var column = columns.lowerBound
            while column < columns.upperBound {
                let piece = try components.columns(codes, around: column)
                let end = min(columns.upperBound, piece.columns.upperBound)
                piece.bytes.withUnsafeBytes { bytes in
                    CodeKernels.turnWords(
                        UnsafeRawBufferPointer(rebasing: bytes[((column - piece.columns.lowerBound) * 4)...]), stride: piece.columns.count,
                        rows: rows, columns: end - column,
                        into: UnsafeMutableBufferPointer(rebasing: result[((column - columns.lowerBound) * rows)..<((end - columns.lowerBound) * rows)]))
                }
                column = end
            }
            initialized = rows * columns.count
        }
    }

    /// Scales and zeros of some outputs, (outputs, groups).
    private func groupTable(_ rows: Range<Int>, _ components: ComponentReader) throws -> (scales: [Double], zeros: [Double]) {
        var scales = [Double](repeating: 0, count: rows.count * groups)
        var zeros = scales
        // The words that have the zero points of these outputs, in each group.
        let width = zero.shape[1]
        let fields = packing == .outputs ? (rows.lowerBound / 8 * 8)..<((rows.upperBound + 7) / 8 * 8) : rows
        let words = (fields.lowerBound * bits / 32)..<min(width, (fields.upperBound * bits + 31) / 32)
        let scaleParts = try components.parts(scale), zeroParts = try components.parts(zero)
        for group in 0..<groups {
            let values = try scaleParts.values((group * outputs + rows.lowerBound)..<(group * outputs + rows.upperBound))
            let packed = try zeroParts.bytes(((group * width + words.lowerBound) * 4)..<((group * width + words.upperBound) * 4))
            packed.withUnsafeBytes { packed in
                for line in 0..<rows.count {
                    scales[line * groups + group] = values[line]
                    zeros[line * groups + group] = Double(zeroPoint(packed, from: words.lowerBound, output: rows.lowerBound + line))
                }
            }
        }
        return (scales, zeros)
    }

    /// The zero point of one output, from the words of its group from word number `first` on.
    private func zeroPoint(_ words: UnsafeRawBufferPointer, from first: Int, output: Int) -> UInt32 {
        let mask = (UInt32(1) << UInt32(bits)) - 1
        func word(_ index: Int) -> UInt32 {
            UInt32(littleEndian: words.loadUnaligned(fromByteOffset: (index - first) * 4, as: UInt32.self))
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

    /// Looks at the groups of the inputs and at the stored zero points.
    ///
    /// - Returns: a warning where stored zero points have all bits set and readers take them differently; else nil.
    /// - Throws: `.refused` with rule `GroupIndex` where an entry of `groupIndex` is no group, with `ZeroPoint` where a zero point that
    ///   is stored less one has all bits set and `bits` does not divide 32; what ``Checkpoint/read(_:bytes:)`` throws for the two
    ///   tensors.
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
