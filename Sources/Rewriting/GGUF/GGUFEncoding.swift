import ByteAccess
public import Containers
import Tensors

/// How numbers in the Hub's order of rows become the bytes of a tensor in a GGUF file: rows of a head reordered, what the converter
/// adds added, and then rounded once.
///
/// Q8_0 follows `quantize_row_q8_0_ref` in ggml/src/ggml-quants.c of ggml-org/llama.cpp. In float32, for each 32 elements x of a row:
///
///     d = max |x| / 127;  id = d ≠ 0 ? 1 / d : 0;  q = round half away from zero (x · id);  stored: F16(d), q
public struct GGUFEncoding: Sendable, Hashable {
    /// F64, F32, F16, BF16 or Q8_0.
    public let type: GGUFType
    /// Rows of a head whose two halves are written in turn; nil where rows stay in order.
    let headSize: Int?
    /// Whether the tensor is a vector, whose rows are its elements.
    let isVector: Bool
    let shift: Double

    /// The types that can be written.
    static let types: Set<GGUFType> = [.f64, .f32, .f16, .bf16, .q8_0]

    /// Encodes whole heads, or any rows where none are reordered.
    ///
    /// - Returns: the bytes in the order of the file, and the numbers that a reader makes of them, in the order of `values`.
    /// - Throws: `.refused` for a number that Q8_0 cannot hold.
    func encode(_ values: [Double], columns: Int) throws -> (bytes: [UInt8], stored: [Double]) {
        var shifted = values
        if shift != 0 { for index in shifted.indices { shifted[index] += shift } }
        let length = isVector ? 1 : columns
        let ordered = reordered(shifted, length, back: false)
        let bytes: [UInt8]
        var stored: [Double]
        if let dtype = type.dtype {
            bytes = try Conversion.narrowed(ordered, to: dtype)
            stored = try Conversion.widened(bytes, as: dtype, count: ordered.count)
        } else {
            (bytes, stored) = try GGUFEncoding.q8_0(ordered)
        }
        stored = reordered(stored, length, back: true)
        if shift != 0 { for index in stored.indices { stored[index] -= shift } }
        return (bytes, stored)
    }

    /// Rows in the order of the file, or back in the Hub's.
    private func reordered(_ values: [Double], _ length: Int, back: Bool) -> [Double] {
        guard let headSize, headSize > 1, length > 0 else { return values }
        var result = values
        for row in 0..<(values.count / length) {
            let place = row % headSize
            let other = row / headSize * headSize + place % (headSize / 2) * 2 + place / (headSize / 2)
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
