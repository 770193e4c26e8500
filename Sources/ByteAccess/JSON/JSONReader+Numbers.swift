extension JSONReader {
    /// Reads a number and keeps its text.
    ///
    /// - Throws: `.malformed` with the reader's rule where no number stands here, or one beyond float64.
    public mutating func readNumber() throws -> JSONNumber {
        let range = try scanNumber()
        return JSONNumber(text: String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self))
    }

    /// Reads a plain unsigned integer: digits only, no sign, point or exponent, below 2⁶⁴.
    ///
    /// - Throws: `.malformed` with the reader's rule where something else stands here: a sign, a leading zero, 2⁶⁴ or more.
    public mutating func readUInt64() throws -> UInt64 {
        let first = try nextByte(wanted: "an unsigned integer")
        let start = position
        var index = start
        var value: UInt64 = 0
        while index < bytes.count, case let digit = bytes[index] &- UInt8(ascii: "0"), digit < 10 {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
            if overflow || carry { throw failure("an integer of 2^64 or more", at: start) }
            value = sum
            index += 1
        }
        guard index > start else { throw failure("expected an unsigned integer") }
        if first == UInt8(ascii: "0"), index > start + 1 { throw failure("a number with a leading zero") }
        if index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
                throw failure("expected an unsigned integer, without a point or an exponent")
            default: break
            }
        }
        position = index
        afterValue = true
        return value
    }

    /// Scans a number by the grammar of RFC 8259 and returns where it stands.
    mutating func scanNumber() throws -> Range<Int> {
        _ = try nextByte(wanted: "a number")
        let start = position
        if dialect == .python {
            for literal: StaticString in ["NaN", "Infinity", "-Infinity"] where hasLiteral(literal) {
                position += literal.utf8CodeUnitCount
                afterValue = true
                return start..<position
            }
        }
        var index = start
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let integer = digits(from: index)
        guard integer > index else { throw failure("expected a number") }
        if bytes[index] == UInt8(ascii: "0"), integer > index + 1 { throw failure("a number with a leading zero") }
        // With at most 300 digits before the point and no exponent a number is below 10^300 and fits a float64.
        var mayOverflow = integer - index > 300
        index = integer
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            let fraction = digits(from: index + 1)
            guard fraction > index + 1 else { throw failure("expected a digit after the point", at: fraction) }
            index = fraction
        }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            mayOverflow = true
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") {
                index += 1
            }
            let exponent = digits(from: index)
            guard exponent > index else { throw failure("expected a digit in the exponent", at: exponent) }
            index = exponent
        }
        if mayOverflow {
            let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<index]), as: UTF8.self)
            guard let value = Double(text), value.isFinite else {
                throw failure("a number beyond the range of float64")
            }
        }
        position = index
        afterValue = true
        return start..<index
    }

    /// The index after the run of digits that begins at `index`.
    private func digits(from index: Int) -> Int {
        var index = index
        while index < bytes.count, bytes[index] &- UInt8(ascii: "0") < 10 { index += 1 }
        return index
    }
}
