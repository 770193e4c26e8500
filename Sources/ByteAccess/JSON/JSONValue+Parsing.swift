/// Which extensions of RFC 8259 a parse allows.
public typealias JSONDialect = JSONReader.Dialect

extension JSONValue {
    /// Parses a whole JSON text.
    ///
    /// Key order, duplicate keys and the text of numbers are kept.
    ///
    /// - Throws: `.malformed` with rule `InvalidUTF8` or `InvalidJSON`, and the byte.
    public static func parse(
        _ bytes: [UInt8], file: String? = nil, allowing dialect: JSONDialect = .strict
    ) throws -> JSONValue {
        try bytes.withUnsafeBytes { buffer in
            if let index = UTF8Validation.firstInvalidByte(in: buffer) {
                throw PeftfileError(
                    .malformed, "the JSON is not UTF-8", file: file, offset: UInt64(index), rule: "InvalidUTF8")
            }
            var reader = JSONReader(buffer, file: file, allowing: dialect)
            let value = try reader.readValue()
            try reader.finish()
            return value
        }
    }
}

extension JSONReader {
    /// Reads a value of any kind as a tree. The recursion is bounded by `depthLimit`.
    ///
    /// - Throws: `.malformed` with the reader's rule where no well-formed value stands here, or one deeper than ``depthLimit``.
    public mutating func readValue() throws -> JSONValue {
        switch try peek() {
        case .object: return .object(try readObject())
        case .array:
            var elements: [JSONValue] = []
            try beginArray()
            while try nextElement() { elements.append(try readValue()) }
            return .array(elements)
        case .string: return .string(try readString())
        case .number: return .number(try readNumber())
        case .bool: return .bool(try readBool())
        case .null:
            try readNull()
            return .null
        }
    }

    /// Reads an object as a tree.
    ///
    /// - Throws: `.malformed` with the reader's rule where no well-formed object stands here, or one deeper than ``depthLimit``.
    public mutating func readObject() throws -> JSONObject {
        var members: [(key: ExactString, value: JSONValue)] = []
        try beginObject()
        while let key = try nextKey() { members.append((ExactString(decoded(key)), try readValue())) }
        return JSONObject(members)
    }
}
