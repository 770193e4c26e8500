import ByteAccess

/// Reads a GGUF file's directory in file order through a window, so that memory does not grow with it.
///
/// Every length from the file is held against the bytes that are left before anything is allocated for it.
struct GGUFCursor {
    let reader: FileReader
    /// The next byte that is read.
    private(set) var position: UInt64
    /// The byte behind the last that may be read.
    let end: UInt64
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0

    private static let windowSize: UInt64 = 1 << 18
    /// The most bytes of one string.
    static let stringLimit: UInt64 = 64 << 20

    init(_ reader: FileReader, in range: Range<UInt64>) {
        self.reader = reader
        position = range.lowerBound
        end = min(range.upperBound, reader.size)
    }

    var remaining: UInt64 { end - position }

    private func truncated(_ what: String) -> PeftfileError {
        GGUFRule.truncated.broken(
            "the file ends in \(what)", file: reader.path, offset: position,
            help: "it was not written or not downloaded to its end: fetch it again")
    }

    /// Calls `body` with the next `count` bytes and goes past them.
    private mutating func take<Result>(
        _ count: UInt64, _ what: String, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard count <= remaining else { throw truncated(what) }
        if position < windowStart || position + count > windowStart + UInt64(window.count) {
            windowStart = position
            window = try reader.bytes(at: position, count: Int(min(remaining, max(count, GGUFCursor.windowSize))))
        }
        let start = Int(position - windowStart)
        position += count
        return try window.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[start..<(start + Int(count))])) }
    }

    mutating func integer<T: FixedWidthInteger>(_ what: String, as type: T.Type = T.self) throws -> T {
        try take(UInt64(MemoryLayout<T>.size), what) { T(littleEndian: $0.loadUnaligned(as: T.self)) }
    }

    /// A length and as many bytes of UTF-8.
    mutating func string(_ what: String, rule: GGUFRule, limit: UInt64 = stringLimit) throws -> String {
        let start = position
        return try text(what, start, rule: rule, limit: limit) { String(decoding: $0, as: UTF8.self) }
    }

    private mutating func text<Result>(
        _ what: String, _ start: UInt64, rule: GGUFRule, limit: UInt64, _ body: (UnsafeRawBufferPointer) -> Result
    ) throws -> Result {
        let length: UInt64 = try integer(what)
        guard length <= remaining else {
            throw GGUFRule.truncated.broken(
                "\(what) is given \(length) bytes, and the file has \(remaining) more", file: reader.path, offset: start,
                help: "the file is damaged or cut short: fetch it again")
        }
        guard length <= limit else {
            throw rule.broken("\(what) has \(length) bytes; at most \(limit) are allowed", file: reader.path, offset: start)
        }
        let path = reader.path
        return try take(length, what) { bytes in
            guard let bad = UTF8Validation.firstInvalidByte(in: bytes) else { return body(bytes) }
            throw rule.broken("\(what) is not UTF-8", file: path, offset: start + 8 + UInt64(bad))
        }
    }

    /// One value of a type; an array's elements are checked and passed over.
    mutating func value(_ type: GGUFValueType, _ what: String) throws -> GGUFValue {
        switch type {
        case .uint8: return .uint8(try integer(what))
        case .int8: return .int8(try integer(what))
        case .uint16: return .uint16(try integer(what))
        case .int16: return .int16(try integer(what))
        case .uint32: return .uint32(try integer(what))
        case .int32: return .int32(try integer(what))
        case .uint64: return .uint64(try integer(what))
        case .int64: return .int64(try integer(what))
        case .float32: return .float32(Float(bitPattern: try integer(what)))
        case .float64: return .float64(Double(bitPattern: try integer(what)))
        case .bool: return .bool(try bool(what))
        case .string: return .string(try string(what, rule: .value))
        case .array: return .array(try array(what))
        }
    }

    private mutating func bool(_ what: String) throws -> Bool {
        let byte: UInt8 = try integer(what)
        guard byte < 2 else {
            throw GGUFRule.value.broken("\(what) is a BOOL of \(byte); 0 and 1 are", file: reader.path, offset: position - 1)
        }
        return byte == 1
    }

    /// An array's type and length, and its elements checked and passed over.
    private mutating func array(_ what: String) throws -> GGUFArray {
        let start = position
        let type = try valueType(what)
        guard type != .array else {
            throw GGUFRule.value.broken("\(what) is an array of arrays, which no reader takes", file: reader.path, offset: start)
        }
        let count: UInt64 = try integer(what)
        guard count <= remaining / UInt64(type.width) else {
            throw GGUFRule.count.broken(
                "\(what) is an array of \(count) elements, and the file has \(remaining) more bytes", file: reader.path,
                offset: start + 4, help: "the file is damaged or cut short: fetch it again")
        }
        let first = position
        switch type {
        case .string:
            for _ in 0..<count {
                try text("a string of \(what)", position, rule: .value, limit: GGUFCursor.stringLimit) { _ in }
            }
        case .bool: for _ in 0..<count { _ = try bool("an element of \(what)") }
        default: position += count * UInt64(type.width)
        }
        return GGUFArray(elementType: type, count: Int(count), range: first..<position)
    }

    /// The number of a type.
    mutating func valueType(_ what: String) throws -> GGUFValueType {
        let number: UInt32 = try integer(what)
        guard let type = GGUFValueType(rawValue: number) else {
            throw GGUFRule.value.broken("\(what) is of type \(number), which there is not", file: reader.path, offset: position - 4)
        }
        return type
    }
}
