extension JSONValue {
    /// The value as JSON text, laid out as Python's `json.dumps(value, indent=indent, ensure_ascii=False)`.
    ///
    /// Without `indent` on one line with ", " and ": " between; with it, one member a line, as transformers and PEFT
    /// write their configs (indent 2). Number texts stand as they were read. Sorting is by code points, as Python sorts
    /// strings, and stable. There is no final newline.
    public func serialized(indent: Int? = nil, sortedKeys: Bool = false) -> String {
        var writer = JSONWriter(indent: indent, sortedKeys: sortedKeys)
        writer.write(self)
        return String(decoding: writer.text, as: UTF8.self)
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
    public func printable(indent: Int? = nil) -> String { JSONValue.escaped(serialized(indent: indent)) }

    /// The text of `printable` in pieces of about 64 KiB, one after another: a long document is then never held whole.
    public func printable(indent: Int?, pieces: @escaping (String) -> Void) {
        serialized(indent: indent) { pieces(JSONValue.escaped(String(decoding: $0, as: UTF8.self))) }
    }

    /// The text of `serialized`, in UTF-8, in pieces of about 64 KiB.
    func serialized(indent: Int?, pieces: @escaping ([UInt8]) -> Void) {
        var writer = JSONWriter(indent: indent, take: pieces)
        writer.write(self)
        writer.flush()
    }

    private static func escaped(_ text: String) -> String {
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

/// Lays a value out as text, and gives away what it has whenever that is much.
private struct JSONWriter {
    /// What was written and not given away.
    var text: [UInt8] = []
    private let indent: Int?
    private let sortedKeys: Bool
    private let take: (([UInt8]) -> Void)?
    private var level = 0

    init(indent: Int?, sortedKeys: Bool = false, take: (([UInt8]) -> Void)? = nil) {
        self.indent = indent
        self.sortedKeys = sortedKeys
        self.take = take
    }

    mutating func write(_ value: JSONValue) {
        switch value {
        case .null: text.append(contentsOf: "null".utf8)
        case .bool(let value): text.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let number): text.append(contentsOf: number.text.utf8)
        case .string(let string): JSONValue.appendQuoted(string, to: &text)
        case .array(let elements): write("[", "]") { writer, isFirst in for element in elements { writer.member(element, &isFirst) } }
        case .sequence(let make): write("[", "]") { writer, isFirst in make { writer.member($0, &isFirst) } }
        case .object(let object):
            write("{", "}") { writer, isFirst in
                let members = writer.sortedKeys ? object.members.sorted { $0.key < $1.key } : object.members
                for member in members { writer.member(member.value, key: member.key.text, &isFirst) }
            }
        }
    }

    /// Gives away what is there.
    mutating func flush() {
        guard let take else { return }
        take(text)
        text.removeAll(keepingCapacity: true)
    }

    private mutating func write(_ opening: String, _ closing: String, _ members: (inout JSONWriter, inout Bool) -> Void) {
        text.append(contentsOf: opening.utf8)
        level += 1
        var isFirst = true
        members(&self, &isFirst)
        level -= 1
        if !isFirst { breakLine() }
        text.append(contentsOf: closing.utf8)
    }

    private mutating func member(_ value: JSONValue, key: String? = nil, _ isFirst: inout Bool) {
        if !isFirst { text.append(contentsOf: (indent == nil ? ", " : ",").utf8) }
        isFirst = false
        breakLine()
        if let key {
            JSONValue.appendQuoted(key, to: &text)
            text.append(contentsOf: ": ".utf8)
        }
        write(value)
        if text.count >= 1 << 16 { flush() }
    }

    private mutating func breakLine() {
        guard let indent else { return }
        text.append(0x0A)
        text.append(contentsOf: repeatElement(0x20, count: indent * level))
    }
}
