extension LocatedDocument {
    /// Reads JSON; a key that stands twice is refused.
    init(json bytes: [UInt8], file: String?) throws {
        self.init(file: file)
        value = try bytes.withUnsafeBytes { buffer in
            var walk = JSONWalk(reader: JSONReader(buffer, file: file), bytes: buffer)
            let value = try walk.value(at: [], into: &self)
            try walk.reader.finish()
            return value
        }
    }

    /// A reader and the line that it has come to.
    private struct JSONWalk {
        var reader: JSONReader
        let bytes: UnsafeRawBufferPointer
        private var counted = 0
        private var line = 1

        init(reader: JSONReader, bytes: UnsafeRawBufferPointer) {
            self.reader = reader
            self.bytes = bytes
        }

        private mutating func currentLine() -> Int {
            line += bytes[counted..<reader.position].count { $0 == 0x0A }
            counted = reader.position
            return line
        }

        mutating func value(at path: [Step], into document: inout LocatedDocument) throws -> JSONValue {
            guard path.count <= LocatedDocument.depthLimit else {
                throw document.error("more than \(LocatedDocument.depthLimit) levels", at: path, rule: "DocumentDepth")
            }
            switch try reader.peek() {
            case .object:
                var members: [(key: ExactString, value: JSONValue)] = []
                var seen: Set<ExactString> = []
                try reader.beginObject()
                while let text = try reader.nextKey() {
                    let key = ExactString(reader.decoded(text))
                    let place = path + [.key(key)]
                    document.note(place, line: currentLine())
                    guard seen.insert(key).inserted else { throw document.duplicate(key, at: place) }
                    members.append((key, try value(at: place, into: &document)))
                }
                return .object(JSONObject(members))
            case .array:
                var elements: [JSONValue] = []
                try reader.beginArray()
                while try reader.nextElement() {
                    let place = path + [.index(elements.count)]
                    // To the value's first byte, past the line breaks before it.
                    _ = try reader.peek()
                    document.note(place, line: currentLine())
                    elements.append(try value(at: place, into: &document))
                }
                return .array(elements)
            case .string, .number, .bool, .null: return try reader.readValue()
            }
        }
    }

    func duplicate(_ key: ExactString, at place: [Step]) -> PeftfileError {
        error("\"\(key.text.printable)\" stands here a second time", at: place, rule: "DuplicateKey", help: "leave one of them")
    }
}
