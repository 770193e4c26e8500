extension JSONValue {
    /// The value as JSON text, laid out as Python's `json.dumps(value, indent=indent, ensure_ascii=False)`.
    ///
    /// Without `indent` on one line with ", " and ": " between; with it, one member a line, as transformers and PEFT
    /// write their configs (indent 2). Number texts stand as they were read. Sorting is by code points, as Python sorts
    /// strings, and stable. There is no final newline.
    public func serialized(indent: Int? = nil, sortedKeys: Bool = false) -> String {
        var text: [UInt8] = []
        append(to: &text, indent: indent, sortedKeys: sortedKeys, level: 0)
        return String(decoding: text, as: UTF8.self)
    }

    private func append(to text: inout [UInt8], indent: Int?, sortedKeys: Bool, level: Int) {
        switch self {
        case .null: text.append(contentsOf: "null".utf8)
        case .bool(let value): text.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let number): text.append(contentsOf: number.text.utf8)
        case .string(let string): JSONValue.appendQuoted(string, to: &text)
        case .array(let elements):
            JSONValue.appendMembers(elements, "[", "]", to: &text, indent: indent, level: level) { element, text in
                element.append(to: &text, indent: indent, sortedKeys: sortedKeys, level: level + 1)
            }
        case .object(let object):
            let members = sortedKeys ? object.members.sorted { $0.key < $1.key } : object.members
            JSONValue.appendMembers(members, "{", "}", to: &text, indent: indent, level: level) { member, text in
                JSONValue.appendQuoted(member.key.text, to: &text)
                text.append(contentsOf: ": ".utf8)
                member.value.append(to: &text, indent: indent, sortedKeys: sortedKeys, level: level + 1)
            }
        }
    }

    private static func appendMembers<Member>(
        _ members: [Member], _ opening: String, _ closing: String, to text: inout [UInt8], indent: Int?, level: Int,
        _ append: (Member, inout [UInt8]) -> Void
    ) {
        func breakLine(_ level: Int) {
            guard let indent else { return }
            text.append(0x0A)
            text.append(contentsOf: repeatElement(0x20, count: indent * level))
        }
        text.append(contentsOf: opening.utf8)
        for (index, member) in members.enumerated() {
            if index > 0 { text.append(contentsOf: (indent == nil ? ", " : ",").utf8) }
            breakLine(level + 1)
            append(member, &text)
        }
        if !members.isEmpty { breakLine(level) }
        text.append(contentsOf: closing.utf8)
    }

    /// Appends `string` as a JSON string: quote, backslash and control characters below U+0020 escaped (the five short
    /// forms where JSON has them, else `\u00xx`), everything else as it is.
    public static func appendQuoted(_ string: String, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text.append(contentsOf: [UInt8(ascii: "\\"), byte])
            case 0x08: text.append(contentsOf: "\\b".utf8)
            case 0x09: text.append(contentsOf: "\\t".utf8)
            case 0x0A: text.append(contentsOf: "\\n".utf8)
            case 0x0C: text.append(contentsOf: "\\f".utf8)
            case 0x0D: text.append(contentsOf: "\\r".utf8)
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                text.append(contentsOf: (digits.utf8.count == 1 ? "\\u000" : "\\u00").utf8)
                text.append(contentsOf: digits.utf8)
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }
}

extension JSONValue {
    /// The text as `serialized` gives it, with every character that could drive a terminal or turn text around as its `\u` escape. They
    /// stand in strings alone, where both say the same; those below U+0020 are escaped in any case.
    public func printable(indent: Int? = nil) -> String {
        let text = serialized(indent: indent)
        func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
            scalar.value >= 0x7F && String(scalar).printable.utf8.first == UInt8(ascii: "\\")
        }
        guard text.unicodeScalars.contains(where: isUnsafe) else { return text }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if isUnsafe(scalar) {
                let digits = String(scalar.value, radix: 16)
                result.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }
}
