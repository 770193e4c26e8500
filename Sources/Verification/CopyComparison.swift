import ByteAccess
import Tensors

/// Compares stored bytes that must be equal, bit for bit.
struct CopyComparison {
    /// Bytes compared at a time: 3·2¹⁸, which holds whole elements of every dtype.
    static let step: UInt64 = 3 << 18

    let dtype: DType

    /// - Parameter first: the position in the tensor of the first element.
    func tally(stored: [UInt8], expected: [UInt8], first: Int) throws -> Tally {
        var tally = Tally()
        if stored == expected { return tally }
        let count = stored.count * 8 / dtype.bits
        let numbers =
            dtype == .c64
            ? nil
            : (
                stored: try Conversion.widened(stored, as: dtype, count: count),
                expected: try Conversion.widened(expected, as: dtype, count: count)
            )
        for element in 0..<count where differs(stored, expected, element) {
            let values = numbers.map { ($0.stored[element], $0.expected[element]) } ?? (.nan, .nan)
            tally.reject(first + element, stored: values.0, expected: values.1)
            if dtype.isMergeable {
                tally.note(stored: values.0, expected: values.1, dtype: dtype)
            } else {
                tally.hasUncountedDistance = true
            }
        }
        if let numbers {
            numbers.stored.withUnsafeBufferPointer { stored in
                numbers.expected.withUnsafeBufferPointer { tally.noteDifferences(stored: stored, expected: $0) }
            }
        }
        return tally
    }

    /// Whether the bits of an element differ; elements of less than a byte are packed from the lowest bit on.
    private func differs(_ stored: [UInt8], _ expected: [UInt8], _ element: Int) -> Bool {
        let start = element * dtype.bits
        let end = start + dtype.bits
        for byte in (start / 8)...((end - 1) / 8) {
            var mask: UInt8 = 0xFF
            if start > byte * 8 { mask &= 0xFF << UInt8(start - byte * 8) }
            if end < byte * 8 + 8 { mask &= 0xFF >> UInt8(byte * 8 + 8 - end) }
            if (stored[byte] ^ expected[byte]) & mask != 0 { return true }
        }
        return false
    }
}
