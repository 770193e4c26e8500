/// JSON cut into its tokens.
enum JSONPieces {
    /// Words of JSON that are at the edge of its grammar or of its numbers.
    static let words: [[UInt8]] = [
        "{", "}", "[", "]", ",", ":", "null", "true", "false", "NaN", "Infinity", "-Infinity", "0", "-0", "-1", "1", "4.0", "4e0", "1e400",
        "1E-400", "01", "0x1", "+1", ".5", "5.", "2147483648", "9007199254740993", "9223372036854775807", "9223372036854775808",
        "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "\"\"", "\"\\u0000\"", "\"\\ud800\"",
        "\"\\ud83d\\ude00\"", "\"\\u001b[31m\"", "\"\u{202E}\"", "\"../../x\"", "\"a/b\"", "\"\\\"\"", "\"\\x\"", "\"", "\\", " ", "\n", "\u{FEFF}",
        "{}", "[]", "{\"a\":", "[[[[[[[[", "]]]]]]]]", "{\"a\":{\"a\":{\"a\":",
    ].map { Array($0.utf8) } + [[0x00], [0x1B], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]]

    /// The tokens of a text; what is no token is a piece of one byte.
    static func of(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
        var items: [[UInt8]] = []
        var position = text.startIndex
        while position < text.endIndex {
            let start = position
            position += 1
            switch text[start] {
            case UInt8(ascii: "\""):
                while position < text.endIndex, text[position] != UInt8(ascii: "\"") {
                    position += text[position] == UInt8(ascii: "\\") && position + 1 < text.endIndex ? 2 : 1
                }
                if position < text.endIndex { position += 1 }
            case 0x2B, 0x2D, 0x2E, 0x30...0x39, 0x41...0x5A, 0x61...0x7A:
                while position < text.endIndex, isWordByte(text[position]) { position += 1 }
            case 0x20, 0x09, 0x0A, 0x0D:
                while position < text.endIndex, [0x20, 0x09, 0x0A, 0x0D].contains(text[position]) { position += 1 }
            default: break
            }
            items.append(Array(text[start..<position]))
        }
        return items
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x2B, 0x2D, 0x2E, 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}
