import ByteAccess

/// Text as XML 1.0 can hold it.
enum XMLText {
    /// `text` inside an element or an attribute in double quotes.
    ///
    /// The five characters with a meaning are written as references, and so are tab and line breaks, which an attribute
    /// would turn into spaces (section 3.3.3). What section 2.2 allows in no document, C0 controls, U+FFFE and U+FFFF,
    /// and what could drive a terminal or turn text around, stands as `\u{..}`.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            // In `]]>` a bare one ends nothing but is still forbidden (section 2.4).
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&apos;"
            case "\t", "\n", "\r": result += "&#\(scalar.value);"
            case "\u{FFFE}", "\u{FFFF}": result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result += String(scalar).printable
            }
        }
        return result
    }
}
