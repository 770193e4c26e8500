/// A JSON or YAML document that people write by hand, with the line of every member and element, so that what is wrong
/// with a value can be told where it stands.
///
/// No key stands twice in an object. Bytes that begin with `{`, after white space, are JSON; all others YAML.
public struct LocatedDocument: Sendable {
    /// A step into the document.
    public enum Step: Hashable, Sendable {
        /// Into an object.
        case key(ExactString)
        /// Into an array, from 0.
        case index(Int)
    }

    /// More bytes than settings have, and few enough to be read at once.
    public static let sizeLimit = 1 << 20
    /// How many arrays and objects may be open at once.
    public static let depthLimit = 32

    /// The file that was read; nil for text from elsewhere.
    public let file: String?
    /// The whole document.
    public internal(set) var value: JSONValue
    private var lines: [[Step]: Int] = [:]

    init(file: String?, value: JSONValue = .null) {
        self.file = file
        self.value = value
    }

    /// The line that a member's key or an element stands in, from 1; the nearest enclosing one that is known.
    public func line(of path: [Step]) -> Int {
        var path = path
        while !path.isEmpty {
            if let line = lines[path] { return line }
            path.removeLast()
        }
        return 1
    }

    mutating func note(_ path: [Step], line: Int) { lines[path] = line }

    /// An error at a place of the document: `line N: MESSAGE`.
    public func error(_ message: String, at path: [Step] = [], rule: String, help: String? = nil) -> PeftfileError {
        PeftfileError(.malformed, "line \(line(of: path)): \(message)", file: file, rule: rule, help: help)
    }

    /// Reads a whole file.
    ///
    /// - Throws: `.notFound`, `.io` or `.refused` where the file is not there, cannot be read or is no regular file; `.malformed` with
    ///   rule `DocumentSize` where it has more than ``sizeLimit`` bytes; what ``init(_:file:)`` throws.
    public init(path: String) throws {
        let reader = try FileReader(path: path)
        guard reader.size <= LocatedDocument.sizeLimit else {
            throw PeftfileError(
                .malformed, "has \(reader.size) bytes, more than the \(LocatedDocument.sizeLimit) that are read", file: path,
                rule: "DocumentSize")
        }
        var bytes = [UInt8](repeating: 0, count: Int(reader.size))
        try bytes.withUnsafeMutableBytes { try reader.read(at: 0, into: $0) }
        try self.init(bytes, file: path)
    }

    /// Reads a document from its bytes.
    ///
    /// - Throws: `.malformed` with rule `InvalidUTF8`, `InvalidJSON` or `InvalidYAML` (the last also for anchors, aliases, tags and a
    ///   second document), with `DuplicateKey` where a key stands twice in an object, or `DocumentDepth` beyond
    ///   ``depthLimit``; `.library` where YAML is to be read and libyaml cannot be loaded; `.io` where libyaml gets no memory.
    public init(_ bytes: [UInt8], file: String? = nil) throws {
        if let index = bytes.withUnsafeBytes({ UTF8Validation.firstInvalidByte(in: $0) }) {
            throw PeftfileError(
                .malformed, "is not UTF-8", file: file, offset: UInt64(index), rule: "InvalidUTF8")
        }
        let first = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        self = first == UInt8(ascii: "{")
            ? try LocatedDocument(json: bytes, file: file) : try LocatedDocument(yaml: bytes, file: file)
    }
}
