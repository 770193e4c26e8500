public import ByteAccess
public import Tensors

/// A weight of unsigned codes packed along the row: a little-endian bit stream, with a scale and an offset for each group of
/// columns.
///
///     W[r, c] = s[r, g] · (q[r, c] − z[r, g])          compressed-tensors, z the zero point and half of the range
///     W[r, c] = s[r, g] · q[r, c] + b[r, g]            MLX
///
/// with g = c / groupSize, or g = gIndex[c]. A stack of matrices is read as one matrix of all their rows: MLX's experts are
/// (experts, out, in). In float64 a code times a scale is exact, and so is the sum for 16-bit scales and
/// offsets of like size; else it rounds once. Sources: `unpack_from_int32` and `dequantize` in compressed-tensors;
/// `affine_dequantize` in mlx/backend/metal/kernels/quantized.h.
public struct RowPackedWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// Bits of a code.
    public let bits: Int
    /// Columns of a group; the last may be short.
    public let groupSize: Int
    /// (rows, groups); of a stack (matrices, rows, groups).
    public let scale: StoredTensor
    /// What makes zero zero.
    public let offset: Offset
    /// The group of each column, where they are not in order.
    public let groupIndex: StoredTensor?
    let others: [StoredTensor]

    /// What makes zero zero.
    public enum Offset: Sendable {
        /// The code of zero is 2^(bits − 1).
        case middle
        /// Zero points packed along the output axis, like the codes above the middle.
        case zeroPoints(StoredTensor)
        /// Added after scaling.
        case biases(StoredTensor)
    }

    public var components: [StoredTensor] {
        var all = [codes, scale] + [groupIndex].compactMap { $0 } + others
        switch offset {
        case .middle: break
        case .zeroPoints(let tensor), .biases(let tensor): all.append(tensor)
        }
        return all
    }

    /// Rows of the plain weight, of a stack those of all its matrices.
    public var rows: Int { columns == 0 ? 0 : (shape.elementCount ?? 0) / columns }
    /// Columns of the plain weight.
    public var columns: Int { shape.last ?? 0 }
    /// Words of a row.
    public var rowWords: Int { codes.shape.last ?? 0 }
    /// Groups of a row.
    public var groups: Int { scale.shape.last ?? 1 }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: `.refused` with rule `GroupIndex` where a column that is asked for is in a group that is not there; what
    ///   ``Checkpoint/read(_:bytes:)`` throws for the components.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty, let base = result.baseAddress else { return }
        let first = elements.lowerBound / columns
        let last = (elements.upperBound - 1) / columns
        let grid = (first * groups)..<((last + 1) * groups)
        let scales = try components.values(scale, grid)
        let offsets = try offsets(first...last, count: scales.count, components)
        let order = try groupIndex.map { try components.values($0).map { Int($0) } }
        try forEachUnpackedRow(of: elements, columns: columns, packed: codes, bits: bits, from: components) { row, columnRange, place, codes in
            let line = row * groups
            if let order {
                for (index, column) in columnRange.enumerated() {
                    guard order[column] >= 0, order[column] < groups else { throw outOfRange }
                    let g = line + order[column]
                    base[place + index] = value(Double(codes[column]), scales[g], offsets[g])
                }
                return
            }
            scales.withUnsafeBufferPointer { scales in
                offsets.withUnsafeBufferPointer { offsets in
                    var column = columnRange.lowerBound
                    while column < columnRange.upperBound {
                        // Up to the end of a group that is cut, else all that follow.
                        let group = column / groupSize
                        let end = column % groupSize == 0 ? columnRange.upperBound : min(columnRange.upperBound, (group + 1) * groupSize)
                        let places = (line + group)..<(line + (end - 1) / groupSize + 1)
                        let marks = UnsafeBufferPointer(rebasing: offsets[places])
                        CodeKernels.affine(
                            UnsafeBufferPointer(rebasing: codes[column..<end]), group: groupSize, zeros: isBiased ? nil : marks,
                            scales: UnsafeBufferPointer(rebasing: scales[places]), offsets: isBiased ? marks : nil,
                            into: UnsafeMutableBufferPointer(start: base + (place + column - columnRange.lowerBound), count: end - column))
                        column = end
                    }
                }
            }
        }
    }

    private var isBiased: Bool { if case .biases = offset { true } else { false } }

    private func value(_ code: Double, _ scale: Double, _ offset: Double) -> Double {
        isBiased ? code * scale + offset : (code - offset) * scale
    }

    /// The zero points of some rows, or the biases.
    private func offsets(_ rows: ClosedRange<Int>, count: Int, _ components: ComponentReader) throws -> [Double] {
        switch offset {
        case .middle: return [Double](repeating: Double(1 << (bits - 1)), count: count)
        case .biases(let tensor):
            return try components.values(tensor, (rows.lowerBound * groups)..<((rows.upperBound + 1) * groups))
        case .zeroPoints(let tensor):
            let words = try components.bytes(tensor)
            return words.withUnsafeBytes { words in
                var result: [Double] = []
                for row in rows {
                    for group in 0..<groups {
                        let code = PackedBits.field(words, row % (32 / bits), bits: bits, word: row / (32 / bits) * groups + group)
                        result.append(Double(code))
                    }
                }
                return result
            }
        }
    }

    private var outOfRange: PeftfileError {
        PeftfileError(.refused, "a column's group is not there", tensor: groupIndex?.name ?? name, rule: QuantisationRule.groupIndex.rawValue)
    }

    /// Looks at the groups of the columns, where they are not in order.
    ///
    /// - Returns: nil: there is nothing to warn of.
    /// - Throws: `.refused` with rule `GroupIndex` where an entry of `groupIndex` is no group; what ``Checkpoint/read(_:)`` throws for
    ///   it.
    public func inspect(_ components: ComponentReader) throws -> String? {
        guard let groupIndex else { return nil }
        guard try components.values(groupIndex).allSatisfy({ $0 >= 0 && $0 < Double(groups) }) else { throw outOfRange }
        return nil
    }
}
