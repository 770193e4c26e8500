/// The types of metadata; the raw value is the number in the file.
///
/// Source: `gguf_metadata_value_type` in docs/gguf.md of ggml-org/ggml.
public enum GGUFValueType: UInt32, Sendable, Hashable, CaseIterable {
    /// A whole number of so many bits.
    case uint8 = 0, int8 = 1, uint16 = 2, int16 = 3, uint32 = 4, int32 = 5, uint64 = 10, int64 = 11
    /// A floating-point number.
    case float32 = 6, float64 = 12
    /// One byte, 0 or 1.
    case bool = 7
    /// A length and as many bytes of UTF-8.
    case string = 8
    /// A type, a number, and so many values of that type.
    case array = 9

    /// Bytes of one value; for strings and arrays the least that one can have.
    var width: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64, .string: 8
        case .array: 12
        }
    }
}

/// One value of a GGUF file's metadata.
public enum GGUFValue: Sendable, Hashable {
    /// A whole number.
    case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32), uint64(UInt64), int64(Int64)
    /// A floating-point number.
    case float32(Float), float64(Double)
    /// A truth value.
    case bool(Bool)
    /// Text.
    case string(String)
    /// An array, whose elements stay in the file until `GGUFFile.elements` reads them.
    case array(GGUFArray)

    /// The value as an integer; nil for other types and what does not fit.
    public var intValue: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(exactly: value)
        default: nil
        }
    }
    /// The value as a number; nil for other types.
    public var doubleValue: Double? {
        switch self {
        case .float32(let value): Double(value)
        case .float64(let value): value
        default: intValue.map(Double.init)
        }
    }
    /// The value as a truth value; nil for other types.
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The value as text; nil for other types.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The value as an array; nil for other types.
    public var arrayValue: GGUFArray? { if case .array(let value) = self { value } else { nil } }

    /// The value in words: numbers and text as they are, an array by its type and length.
    public var text: String {
        switch self {
        case .bool(let value): value ? "true" : "false"
        case .string(let value): value
        case .float32(let value): "\(value)"
        case .float64(let value): "\(value)"
        case .uint64(let value): "\(value)"
        case .array(let array): "[\(array.count) × \(array.elementType)]"
        default: "\(intValue ?? 0)"
        }
    }
}

/// An array in the metadata: what it holds, and where.
public struct GGUFArray: Sendable, Hashable {
    /// The type of all elements.
    public let elementType: GGUFValueType
    /// The number of elements.
    public let count: Int
    /// Where the elements stand in the file.
    public let range: Range<UInt64>
}
