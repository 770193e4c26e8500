import ByteAccess

/// The wording that the reports for machines share.
extension Finding {
    /// `tensor "NAME": byte N: MESSAGE`, printable: one line that drives no terminal and turns no text around.
    var sentence: String {
        var text = ""
        if let tensor { text += "tensor \"\(tensor.text.printable)\": " }
        if let offset { text += "byte \(offset): " }
        return text + message.printable
    }

    /// The sentence and what to do about it.
    func sentence(separator: String) -> String { help.map { sentence + separator + $0.printable } ?? sentence }
}

/// Percent-encoding of RFC 3986.
enum URIText {
    /// A path as a relative reference, or as a `file` URI where it is absolute.
    ///
    /// Every byte outside `unreserved`, `/` and the sub-delimiters and signs that a path segment may hold is written as
    /// `%XX`. A first segment with a colon would read as a scheme (section 4.2), so colons are encoded too.
    static func reference(path: String) -> String {
        var text: [UInt8] = path.utf8.first == UInt8(ascii: "/") ? Array("file://".utf8) : []
        for byte in path.utf8 { append(byte, to: &text) }
        return String(decoding: text, as: UTF8.self)
    }

    private static func append(_ byte: UInt8, to text: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "/"), UInt8(ascii: "@"),
            UInt8(ascii: "+"), UInt8(ascii: "="), UInt8(ascii: ","):
            text.append(byte)
        default:
            let digits = Array("0123456789ABCDEF".utf8)
            text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
}
