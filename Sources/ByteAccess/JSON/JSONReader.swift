/// A strict pull parser for JSON (RFC 8259), straight from bytes.
///
/// The caller asks for what the format says comes next (`beginObject`, `nextKey`, `readUInt64`, ...) and so reads a
/// file in its own order, without a tree in between. It serves safetensors headers, shard indexes and config files
/// alike. Strict means: no comments, no trailing commas, no leading zeros, no raw control characters in strings, no
/// lone surrogate escapes, no numbers beyond float64, and at most 127 arrays and objects inside each other; all of it
/// holds for skipped values too. Time is linear in the bytes, and nothing is copied but the strings that are asked for.
///
/// The bytes must be well-formed UTF-8 (`UTF8Validation`) and must outlive the reader.
///
/// Source of the limits: serde_json, which the reference reader of safetensors uses (its recursion limit of 128 lets
/// 127 levels through).
public struct JSONReader {
    /// Which extensions of RFC 8259 are read.
    public enum Dialect: Sendable, Hashable {
        /// None.
        case strict
        /// `NaN`, `Infinity` and `-Infinity`, as Python's json module writes them.
        case python
    }

    /// What kind of value comes next.
    public enum Kind: Sendable, Hashable {
        /// The six kinds of JSON value (RFC 8259).
        case object, array, string, number, bool, null
    }

    /// How many arrays and objects may be open at once.
    public static let depthLimit = 127

    let bytes: UnsafeRawBufferPointer
    let dialect: Dialect
    let origin: UInt64
    let file: String?
    let rule: String

    /// The index in the bytes of what is read next.
    public internal(set) var position = 0
    /// How many arrays and objects are open.
    public private(set) var depth = 0
    /// Whether a value has ended since the innermost array or object began or the last comma was read: what comes next
    /// is then a comma or the end of that array or object.
    var afterValue = false

    /// Reads `bytes`, which are well-formed UTF-8.
    ///
    /// - Parameters:
    ///   - file: the file that errors name.
    ///   - origin: where in `file` the bytes begin, so that errors name the byte in the file.
    ///   - rule: the rule that errors name.
    public init(
        _ bytes: UnsafeRawBufferPointer, file: String? = nil, origin: UInt64 = 0, rule: String = "InvalidJSON",
        allowing dialect: Dialect = .strict
    ) {
        self.bytes = bytes
        self.file = file
        self.origin = origin
        self.rule = rule
        self.dialect = dialect
    }

    // MARK: Structure

    /// The kind of the value that comes next.
    ///
    /// - Throws: `.malformed` with the reader's rule where no value begins here, or the bytes end.
    public mutating func peek() throws -> Kind {
        switch try nextByte(wanted: "a value") {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): return .number
        case UInt8(ascii: "N"), UInt8(ascii: "I"):
            if dialect == .python { return .number }
            fallthrough
        default: throw failure("expected a value")
        }
    }

    /// Reads `{`.
    ///
    /// - Throws: `.malformed` with the reader's rule where something else stands here, or ``depthLimit`` arrays and objects are open.
    public mutating func beginObject() throws { try open(UInt8(ascii: "{"), "an object") }

    /// Reads `[`.
    ///
    /// - Throws: `.malformed` with the reader's rule where something else stands here, or ``depthLimit`` arrays and objects are open.
    public mutating func beginArray() throws { try open(UInt8(ascii: "["), "an array") }

    /// Reads the next key of the innermost object and its colon, or `}` and returns nil.
    ///
    /// - Throws: `.malformed` with the reader's rule where a comma, key or colon is missing, where a comma stands before `}`, where the
    ///   key is no well-formed string, or where the bytes end.
    public mutating func nextKey() throws -> Text? {
        guard try nextMember(closing: UInt8(ascii: "}"), "an object") else { return nil }
        guard try nextByte(wanted: "a key") == UInt8(ascii: "\"") else { throw failure("expected a string as key") }
        let key = try scanString()
        guard try nextByte(wanted: "\":\"") == UInt8(ascii: ":") else { throw failure("expected \":\"") }
        position += 1
        return key
    }

    /// Whether the innermost array has another element; reads the comma before it, or `]`.
    ///
    /// - Throws: `.malformed` with the reader's rule where a comma is missing or stands before `]`, or the bytes end.
    public mutating func nextElement() throws -> Bool { try nextMember(closing: UInt8(ascii: "]"), "an array") }

    /// Checks that nothing but whitespace follows.
    ///
    /// - Throws: `.malformed` with the reader's rule where something follows.
    public mutating func finish() throws {
        skipWhitespace()
        guard position == bytes.count else { throw failure("expected nothing more after the JSON value") }
    }

    /// Reads `true` or `false`.
    ///
    /// - Throws: `.malformed` with the reader's rule where neither stands here.
    public mutating func readBool() throws -> Bool {
        let isTrue = try nextByte(wanted: "true or false") == UInt8(ascii: "t")
        try readLiteral(isTrue ? "true" : "false")
        return isTrue
    }

    /// Reads `null`.
    ///
    /// - Throws: `.malformed` with the reader's rule where something else stands here.
    public mutating func readNull() throws { try readLiteral("null") }

    /// Reads a value of any kind and drops it; it must keep every rule all the same.
    ///
    /// - Throws: `.malformed` with the reader's rule where no well-formed value stands here, or one deeper than ``depthLimit``.
    public mutating func skipValue() throws {
        // Recursion is bounded by `depthLimit`, which `open` holds.
        switch try peek() {
        case .object:
            try beginObject()
            while try nextKey() != nil { try skipValue() }
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .string: _ = try readText()
        case .number: _ = try scanNumber()
        case .bool: _ = try readBool()
        case .null: try readNull()
        }
    }

    // MARK: Inside

    private mutating func open(_ bracket: UInt8, _ name: StaticString) throws {
        guard try nextByte(wanted: name) == bracket else { throw failure("expected \(name)") }
        guard depth < Self.depthLimit else {
            throw failure("more than \(Self.depthLimit) arrays and objects inside each other")
        }
        depth += 1
        position += 1
        afterValue = false
    }

    private mutating func nextMember(closing bracket: UInt8, _ name: StaticString) throws -> Bool {
        let byte = try nextByte(wanted: name, isOpen: true)
        if byte == bracket {
            position += 1
            depth -= 1
            afterValue = true
            return false
        }
        guard afterValue else { return true }
        guard byte == UInt8(ascii: ",") else {
            throw failure("expected \",\" or \"\(Unicode.Scalar(bracket))\"")
        }
        position += 1
        afterValue = false
        if try nextByte(wanted: name, isOpen: true) == bracket { throw failure("a comma before the end of \(name)") }
        return true
    }

    private mutating func readLiteral(_ literal: StaticString) throws {
        _ = try nextByte(wanted: literal)
        guard hasLiteral(literal) else { throw failure("expected \(literal)") }
        position += literal.utf8CodeUnitCount
        afterValue = true
    }

    /// Whether `literal` stands at the position.
    func hasLiteral(_ literal: StaticString) -> Bool {
        let count = literal.utf8CodeUnitCount
        guard bytes.count - position >= count else { return false }
        return (0..<count).allSatisfy { bytes[position + $0] == literal.utf8Start[$0] }
    }

    @inline(__always)
    mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    /// The byte that comes next after whitespace; throws at the end of the bytes.
    @inline(__always)
    mutating func nextByte(wanted: StaticString, isOpen: Bool = false) throws -> UInt8 {
        skipWhitespace()
        guard position < bytes.count else {
            throw failure(isOpen ? "the JSON ends inside \(wanted)" : "the JSON ends where \(wanted) should be")
        }
        return bytes[position]
    }

    /// The error for what stands at `index`, or at the position.
    public func failure(_ message: String, at index: Int? = nil) -> PeftfileError {
        PeftfileError(
            .malformed, "invalid JSON: \(message)", file: file, offset: origin + UInt64(index ?? position), rule: rule)
    }
}
