import ByteAccess
import Tensors

/// The header of a NumPy array: what stands before its elements in an `.npy`.
///
/// A magic number, a version, a length, and the text of a Python dict with `descr`, `fortran_order` and `shape`. NumPy
/// evaluates that text as a Python literal. Here it is read by a parser for this one dict: three keys in any order, strings
/// without escapes, `True` or `False`, a tuple of whole numbers; nothing nests, and anything else is refused.
///
/// Source: `_read_array_header` and the module's text in numpy/lib/format.py; `save` in mlx/io/load.cpp, whose header has
/// `, )` at the end of every shape and any length.
struct NPYHeader {
    let dtype: DType
    let isLittleEndian: Bool
    /// Whether the first index changes fastest.
    let isFortran: Bool
    let shape: Shape
    /// Where the elements begin, counted from the array's first byte.
    let end: Int

    /// The longest header that is read: the most that NumPy reads unless it is told to trust the file.
    static let limit = 10_000

    private static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

    /// Reads a header.
    ///
    /// - Parameters:
    ///   - prefix: the array's first bytes: all of them, or at least `limit` and 12.
    ///   - broken: makes the error of a rule from a message.
    init(_ prefix: [UInt8], broken: (NPZRule, String) -> PeftfileError) throws {
        guard prefix.starts(with: NPYHeader.magic), prefix.count >= 10 else {
            throw broken(.magic, "is no NumPy array: it does not begin with \\x93NUMPY")
        }
        let version = (prefix[6], prefix[7])
        guard (1...3).contains(version.0), version.1 == 0 else {
            throw broken(.magic, "the version of the array's format is \(version.0).\(version.1); 1.0, 2.0 and 3.0 are known")
        }
        // 2.0 made the length longer, 3.0 the text UTF-8 in place of Latin-1; in our three keys all are ASCII.
        let start = version.0 == 1 ? 10 : 12
        let length = version.0 == 1
            ? prefix.number(UInt16.self, at: 8).map(Int.init) : prefix.number(UInt32.self, at: 8).map(Int.init)
        guard let length else { throw broken(.header, "the array ends inside the length of its header") }
        guard length <= NPYHeader.limit, prefix.count - start >= length else {
            throw broken(
                .header, "the array's header has \(length) bytes, which are more than the file has or than "
                    + "\(NPYHeader.limit), the most that is read")
        }
        end = start + length
        var parser = NPYHeaderParser(prefix[start..<(start + length)])
        guard let fields = parser.fields() else {
            throw broken(
                .header, "the array's header is no dict of descr, fortran_order and shape, at its byte \(parser.offset)")
        }
        switch fields.descr {
        case .structured:
            throw broken(.dtype, "is an array of records, and a tensor has elements of one type")
        case .text(let text):
            guard !text.hasSuffix("O") else {
                throw broken(.object, "is an array of Python objects, which is a pickle and is not read")
            }
            guard let (dtype, isLittleEndian) = NPYHeader.element(text) else {
                throw broken(.dtype, "has elements of type \"\(text.printable)\", which no tensor has")
            }
            (self.dtype, self.isLittleEndian) = (dtype, isLittleEndian)
        }
        isFortran = fields.isFortran
        shape = fields.shape
    }

    /// The element type that an array interface string names: byte order, kind, bytes.
    ///
    /// NumPy has no bfloat16. `V2`, two bytes without a meaning, is what MLX and ml_dtypes make of it, and nobody else makes
    /// weights of such bytes.
    private static func element(_ text: String) -> (DType, isLittleEndian: Bool)? {
        let kinds: [String: DType] = [
            "b1": .bool, "u1": .u8, "i1": .i8, "u2": .u16, "i2": .i16, "u4": .u32, "i4": .i32, "u8": .u64, "i8": .i64,
            "f2": .f16, "f4": .f32, "f8": .f64, "c8": .c64, "V2": .bf16,
        ]
        guard let order = text.utf8.first, let dtype = kinds[String(text.dropFirst())] else { return nil }
        switch order {
        case UInt8(ascii: "<"): return (dtype, true)
        case UInt8(ascii: ">"): return (dtype, false)
        // No order, where there is but one byte, or bytes without a meaning.
        case UInt8(ascii: "|") where dtype.bits == 8 || dtype == .bf16: return (dtype, true)
        default: return nil
        }
    }
}

/// The dict of an array's header, read byte by byte.
struct NPYHeaderParser {
    enum Description {
        case text(String)
        /// A list, which describes records.
        case structured
    }

    struct Fields {
        var descr: Description
        var isFortran: Bool
        var shape: Shape
    }

    private let bytes: ArraySlice<UInt8>
    private var position: Int
    /// How far it was read.
    var offset: Int { position - bytes.startIndex }

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// The three values; nil where the text is anything else.
    mutating func fields() -> Fields? {
        var (descr, isFortran, shape): (Description?, Bool?, Shape?) = (nil, nil, nil)
        guard take("{") else { return nil }
        while !take("}") {
            guard let key = string(), take(":") else { return nil }
            switch key {
            case "descr" where descr == nil:
                guard let value = description() else { return nil }
                descr = value
                if case .structured = value { return Fields(descr: value, isFortran: false, shape: []) }
            case "fortran_order" where isFortran == nil:
                guard let value = bool() else { return nil }
                isFortran = value
            case "shape" where shape == nil:
                guard let value = tuple() else { return nil }
                shape = value
            default: return nil
            }
            guard take(",") || next == UInt8(ascii: "}") else { return nil }
        }
        // The padding, spaces, went with the brace; the line ends with the header.
        if next == UInt8(ascii: "\n") { position += 1 }
        guard position == bytes.endIndex, let descr, let isFortran, let shape else { return nil }
        return Fields(descr: descr, isFortran: isFortran, shape: shape)
    }

    private var next: UInt8? { position < bytes.endIndex ? bytes[position] : nil }

    /// Takes a character and the spaces around it.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        let start = position
        while next == UInt8(ascii: " ") { position += 1 }
        guard next == UInt8(ascii: character) else {
            position = start
            return false
        }
        position += 1
        while next == UInt8(ascii: " ") { position += 1 }
        return true
    }

    /// A string in either quotes, of ASCII that can be printed and without a backslash.
    private mutating func string() -> String? {
        guard let quote = next, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { return nil }
        position += 1
        let start = position
        while let byte = next, byte != quote {
            guard (0x20...0x7E).contains(byte), byte != UInt8(ascii: "\\") else { return nil }
            position += 1
        }
        guard next == quote else { return nil }
        position += 1
        return String(decoding: bytes[start..<(position - 1)], as: UTF8.self)
    }

    private mutating func description() -> Description? {
        if next == UInt8(ascii: "[") { return .structured }
        return string().map { .text($0) }
    }

    private mutating func bool() -> Bool? {
        for (word, value) in [("True", true), ("False", false)] where bytes[position...].starts(with: word.utf8) {
            position += word.utf8.count
            return value
        }
        return nil
    }

    /// A tuple of whole numbers: `()`, `(3,)`, `(2, 3)`; `(3)` is none.
    private mutating func tuple() -> Shape? {
        guard take("(") else { return nil }
        var shape: Shape = []
        var endsWithComma = true
        while !take(")") {
            // 64 dimensions are more than NumPy has, whose limit is 64 since 2.0.
            guard endsWithComma, shape.count < 64, let number = number() else { return nil }
            shape.append(number)
            endsWithComma = take(",")
        }
        return shape.count == 1 && !endsWithComma ? nil : shape
    }

    /// Digits without a sign, and without a zero in front.
    private mutating func number() -> Int? {
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
        guard position > start, bytes[start] != 0x30 || position == start + 1 else { return nil }
        return Int(String(decoding: bytes[start..<position], as: UTF8.self))
    }
}
