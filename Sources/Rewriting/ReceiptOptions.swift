import ByteAccess

/// The options in a receipt. One that is absent or null was not given; a value that this version does not know is refused, and never
/// passed over: the result would be judged by other options than it was made with.
struct ReceiptOptions {
    private let object: JSONObject
    private let malformed: (String) -> PeftfileError

    /// - Parameters:
    ///   - known: the keys that such a receipt has.
    ///   - malformed: the error for a receipt that has no usable such thing.
    /// - Throws: that error where there are no options, or one with another key.
    init(_ json: JSONValue?, known: [ExactString], malformed: @escaping (String) -> PeftfileError) throws {
        guard let object = json?.objectValue else { throw malformed("options") }
        if let other = object.keys.first(where: { !known.contains($0) }) { throw malformed("option \(other.text.printable)") }
        self.object = object
        self.malformed = malformed
    }

    /// The option as `read` makes it of its value; nil where it was not given.
    func value<Value>(_ key: String, _ read: (JSONValue) -> Value?) throws -> Value? {
        guard let stored = object[ExactString(key)], !stored.isNull else { return nil }
        guard let value = read(stored) else { throw malformed("option \(key)") }
        return value
    }

    /// One of the words that the option may be; nil where it was not given.
    func choice<Value: RawRepresentable<String>>(_ key: String) throws -> Value? {
        try value(key) { $0.stringValue.flatMap(Value.init(rawValue:)) }
    }

    /// A list of which every element must be readable; empty where it was not given.
    func list<Element>(_ key: String, _ read: (JSONValue) -> Element?) throws -> [Element] {
        try value(key) { stored in
            let elements = stored.arrayValue?.map(read)
            return elements.flatMap { $0.allSatisfy { $0 != nil } ? $0.compactMap { $0 } : nil }
        } ?? []
    }

    /// An option that every such receipt has.
    func required<Value>(_ key: String, _ value: Value?) throws -> Value {
        guard let value else { throw malformed("option \(key)") }
        return value
    }
}
