extension JSONReader {
    /// A string in the bytes, checked and not yet decoded: where it begins and ends between its quotes.
    public struct Text: Sendable {
        let start: Int
        let end: Int
        let isEscaped: Bool
    }

    /// Reads a string and decodes it.
    ///
    /// - Throws: `.malformed`, as ``readText()`` does.
    public mutating func readString() throws -> String { decoded(try readText()) }

    /// Reads a string without decoding it.
    ///
    /// - Throws: `.malformed` with the reader's rule where no string stands here, or one without its end, with a control character,
    ///   or with an escape that is unknown or half a surrogate pair.
    public mutating func readText() throws -> Text {
        guard try nextByte(wanted: "a string") == UInt8(ascii: "\"") else { throw failure("expected a string") }
        let text = try scanString()
        afterValue = true
        return text
    }

    /// Whether the string is `literal`, byte for byte, after its escapes are resolved.
    public func matches(_ text: Text, _ literal: StaticString) -> Bool {
        if text.isEscaped {
            return decoded(text).utf8.elementsEqual(
                UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
        }
        guard text.end - text.start == literal.utf8CodeUnitCount else { return false }
        return UnsafeRawBufferPointer(rebasing: bytes[text.start..<text.end])
            .hasSameBytes(as: UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// The string with its escapes resolved.
    public func decoded(_ text: Text) -> String {
        let raw = UnsafeRawBufferPointer(rebasing: bytes[text.start..<text.end])
        guard text.isEscaped else { return String(decoding: raw, as: UTF8.self) }
        var result: [UInt8] = []
        result.reserveCapacity(raw.count)
        var index = 0
        while index < raw.count {
            guard raw[index] == UInt8(ascii: "\\") else {
                result.append(raw[index])
                index += 1
                continue
            }
            // `scanString` has checked every escape: what follows is one of the eight letters, or `u` and four hex
            // digits, and a high surrogate is followed by the escape of a low one.
            let letter = raw[index + 1]
            guard letter == UInt8(ascii: "u") else {
                result.append(Self.unescaped(letter) ?? letter)
                index += 2
                continue
            }
            var value = UInt32(Self.hexadecimal(raw, at: index + 2) ?? 0)
            index += 6
            if 0xD800...0xDBFF ~= value {
                let low = UInt32(Self.hexadecimal(raw, at: index + 2) ?? 0)
                value = 0x1_0000 + (value - 0xD800) << 10 + (low - 0xDC00)
                index += 6
            }
            if let scalar = Unicode.Scalar(value) { result.append(contentsOf: UTF8.encode(scalar) ?? .init()) }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Scans from the opening quote at the position to past the closing one, checking control characters and escapes.
    mutating func scanString() throws -> Text {
        let count = bytes.count
        let start = position + 1
        var index = start
        var isEscaped = false
        while true {
            index = skipPlain(from: index)
            guard index < count else { throw failure("the JSON ends inside a string", at: count) }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                position = index + 1
                return Text(start: start, end: index, isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                index = try endOfEscape(at: index)
            default:
                throw failure("a control character inside a string", at: index)
            }
        }
    }

    /// The index of the first quote, backslash or control character at or after `index`, eight bytes at a time.
    ///
    /// For a word x, `(x - 0x01..01) & ~x & 0x80..80` marks the zero bytes of x; borrows can mark bytes above a zero
    /// byte wrongly, but the lowest mark is always right, and only that one is used. The same with 0x20 in place of
    /// 0x01 marks bytes below 0x20.
    @inline(__always)
    private func skipPlain(from index: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        let count = bytes.count
        var index = index
        while index + 8 <= count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5C)
            let marks =
                ((quote &- ones) & ~quote | (backslash &- ones) & ~backslash | (word &- ones &* 0x20) & ~word) & tops
            if marks != 0 { return index + marks.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < count, bytes[index] >= 0x20, bytes[index] != 0x22, bytes[index] != 0x5C { index += 1 }
        return index
    }

    /// Checks the escape whose backslash stands at `index`, with the second half of a surrogate pair, and returns the
    /// index after it.
    private func endOfEscape(at index: Int) throws -> Int {
        guard index + 1 < bytes.count else { throw failure("the JSON ends inside a string", at: bytes.count) }
        let letter = bytes[index + 1]
        guard letter == UInt8(ascii: "u") else {
            guard Self.unescaped(letter) != nil else { throw failure("an unknown escape in a string", at: index) }
            return index + 2
        }
        guard let first = Self.hexadecimal(bytes, at: index + 2) else {
            throw failure("\\u without four hexadecimal digits", at: index)
        }
        switch first {
        case 0xD800...0xDBFF:
            let next = index + 6
            guard next + 1 < bytes.count, bytes[next] == UInt8(ascii: "\\"), bytes[next + 1] == UInt8(ascii: "u"),
                let second = Self.hexadecimal(bytes, at: next + 2), 0xDC00...0xDFFF ~= second
            else { throw failure("a high surrogate without a low one", at: index) }
            return next + 6
        case 0xDC00...0xDFFF: throw failure("a low surrogate without a high one", at: index)
        default: return index + 6
        }
    }

    /// The byte that a one-letter escape stands for.
    private static func unescaped(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }

    /// The value of the four hexadecimal digits at `index`.
    private static func hexadecimal(_ bytes: UnsafeRawBufferPointer, at index: Int) -> UInt16? {
        guard index + 4 <= bytes.count else { return nil }
        var value: UInt16 = 0
        for digit in bytes[index..<index + 4] {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt16(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt16(digit - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt16(digit - UInt8(ascii: "A") + 10)
            default: return nil
            }
        }
        return value
    }
}
