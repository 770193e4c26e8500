import Adapters
import ByteAccess
public import Checkpoints
public import Containers
import Tensors

/// How numbers in the Hub's order of rows become the bytes of a tensor in a GGUF file: rows reordered by heads, a matrix turned or cut
/// as GGUF has it, what the converter adds added, and then rounded once.
///
/// Q8_0 follows `quantize_row_q8_0_ref` in ggml/src/ggml-quants.c of ggml-org/llama.cpp. In float32, for each 32 elements x of a row:
///
///     d = max |x| / 127;  id = d ≠ 0 ? 1 / d : 0;  q = round half away from zero (x · id);  stored: F16(d), q
public struct GGUFEncoding: Sendable, Hashable {
    /// F64, F32, F16, BF16 or Q8_0.
    public let type: GGUFType
    /// The order of the rows in the file; nil where it is the Hub's.
    let order: GGUFTensor.Order?
    /// How the file's tensor lies in the Hub's; nil where it is the same, but for the order of rows.
    let cut: GGUFCut?
    /// Whether the tensor is a vector, whose rows are its elements.
    let isVector: Bool
    let shift: Double

    /// The types that can be written.
    static let types: Set<GGUFType> = [.f64, .f32, .f16, .bf16, .q8_0]

    init(type: GGUFType, order: GGUFTensor.Order? = nil, cut: GGUFCut? = nil, isVector: Bool, shift: Double) {
        (self.type, self.order, self.cut, self.isVector, self.shift) = (type, order, cut, isVector, shift)
    }

    /// How the rows of a matrix are cut into pieces that each lie in one place of the file, in the order of the file.
    ///
    /// - Parameter step: so many rows of a piece are enough.
    func pieces(of rows: Int, step: Int) -> [Range<Int>] {
        if let cut { return cut.pieces(step: step) }
        guard let order, !isVector else { return GGUFEncoding.cut(0..<rows, step) }
        guard order.runLength == 1 else {
            let runs = stride(from: 0, to: rows, by: order.runLength).sorted { order.storedRows[$0] < order.storedRows[$1] }
            return runs.flatMap { GGUFEncoding.cut($0..<($0 + order.runLength), step) }
        }
        return GGUFEncoding.cut(0..<rows, max(1, step / order.groupSize) * order.groupSize)
    }

    private static func cut(_ rows: Range<Int>, _ step: Int) -> [Range<Int>] {
        stride(from: rows.lowerBound, to: rows.upperBound, by: step).map { $0..<min($0 + step, rows.upperBound) }
    }

    /// The first row in the file of a piece.
    func firstRow(of piece: Range<Int>) -> Int {
        guard let order, !isVector, order.runLength > 1 else { return piece.lowerBound }
        return order.storedRows[piece.lowerBound]
    }

    /// Encodes a piece.
    ///
    /// - Parameter rows: which rows of the Hub's matrix the values are.
    /// - Returns: the bytes in the order of the file, and the numbers that a reader makes of them, in the order of `values`.
    /// - Throws: `.refused` for a number that Q8_0 cannot hold.
    func encode(_ values: [Double], rows: Range<Int>, columns: Int) throws -> (bytes: [UInt8], stored: [Double]) {
        var shifted = values
        if shift != 0 { for index in shifted.indices { shifted[index] += shift } }
        let ordered = cut.map { gathered(shifted, rows, $0) } ?? arranged(shifted, rows, columns, back: false)
        let bytes: [UInt8]
        var stored: [Double]
        if let dtype = type.dtype {
            bytes = try Conversion.narrowed(ordered, to: dtype)
            stored = try Conversion.widened(bytes, as: dtype, count: ordered.count)
        } else {
            (bytes, stored) = try GGUFEncoding.q8_0(ordered)
        }
        if let cut {
            // What the other part has stays as it is: no one looks at it here.
            var whole = shifted
            var number = 0
            cut.forEachElement(of: rows) { place in
                whole[place] = stored[number]
                number += 1
            }
            stored = whole
        } else {
            stored = arranged(stored, rows, columns, back: true)
        }
        if shift != 0 { for index in stored.indices { stored[index] -= shift } }
        return (bytes, stored)
    }

    /// Those of a piece's numbers that the file's tensor has, in its order.
    private func gathered(_ values: [Double], _ rows: Range<Int>, _ cut: GGUFCut) -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(cut.elements(of: rows).count)
        cut.forEachElement(of: rows) { result.append(values[$0]) }
        return result
    }

    /// Numbers in the order of the file, or back in the Hub's.
    private func arranged(_ values: [Double], _ rows: Range<Int>, _ columns: Int, back: Bool) -> [Double] {
        guard let order, isVector || order.runLength == 1, columns > 0 else { return values }
        // A piece of whole heads begins where it does in the file; a vector is one piece, and its elements are the rows.
        let length = isVector ? 1 : columns
        let first = isVector ? 0 : rows.lowerBound
        var result = values
        for row in 0..<(values.count / length) {
            let other = order.storedRows[first + row] - first
            let (from, to) = back ? (other, row) : (row, other)
            for column in 0..<length { result[to * length + column] = values[from * length + column] }
        }
        return result
    }

    private static func q8_0(_ values: [Double]) throws -> (bytes: [UInt8], stored: [Double]) {
        var bytes: [UInt8] = []
        var stored: [Double] = []
        bytes.reserveCapacity(values.count / 32 * 34)
        stored.reserveCapacity(values.count)
        for start in stride(from: 0, to: values.count, by: 32) {
            var largest: Float = 0
            var isFinite = true
            for value in values[start..<(start + 32)] {
                let x = Float(value).magnitude
                isFinite = isFinite && x.isFinite
                largest = max(largest, x)
            }
            let d = largest / 127
            let scale = Float16(d)
            guard isFinite, scale.isFinite else {
                throw PeftfileError(
                    .refused, "has a result that Q8_0 cannot hold: NaN, infinite, or beyond 127 · 65504", rule: "GGUFNumber",
                    help: "give --dtype f32 or bf16")
            }
            let inverse = d != 0 ? 1 / d : 0
            withUnsafeBytes(of: scale.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
            for value in values[start..<(start + 32)] {
                let code = Int8((Float(value) * inverse).rounded(.toNearestOrAwayFromZero))
                bytes.append(UInt8(bitPattern: code))
                stored.append(Double(scale) * Double(code))
            }
        }
        return (bytes, stored)
    }
}
