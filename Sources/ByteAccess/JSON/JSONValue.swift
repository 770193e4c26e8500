/// A JSON value as a tree, for the files that are small or kept: configs and the metadata of an index.
public indirect enum JSONValue: Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number, as its digits.
    case number(JSONNumber)
    /// A text.
    case string(String)
    /// Values in order.
    case array([JSONValue])
    /// Members in order.
    case object(JSONObject)
    /// Values in order, made one after another when they are written: an array that is too long to be held. The function
    /// calls its argument with each.
    case sequence(@Sendable ((JSONValue) -> Void) -> Void)

    /// Whether the value is `null`.
    public var isNull: Bool { if case .null = self { true } else { false } }
    /// The truth value; nil for what is none.
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The integer, where this is a number without point or exponent that fits.
    public var intValue: Int? { if case .number(let value) = self { value.int } else { nil } }
    /// The whole number from 0 to 2⁶⁴ − 1; nil for what is none.
    public var uint64Value: UInt64? { if case .number(let value) = self { value.uint64 } else { nil } }
    /// The number, rounded to float64; nil for what is none.
    public var doubleValue: Double? { if case .number(let value) = self { value.double } else { nil } }
    /// The text; nil for what is none.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The elements; nil for what is no array.
    public var arrayValue: [JSONValue]? {
        switch self {
        case .array(let value): return value
        case .sequence(let make):
            var value: [JSONValue] = []
            make { value.append($0) }
            return value
        default: return nil
        }
    }
    /// The members; nil for what is no object.
    public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// The member of an object; nil for every other kind of value.
    public subscript(key: ExactString) -> JSONValue? { objectValue?[key] }
}

extension JSONValue: Equatable {
    /// Equal when kind and content are; strings by their bytes, numbers by their text.
    public static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
        case (.array, .array), (.array, .sequence), (.sequence, .array), (.sequence, .sequence): left.arrayValue == right.arrayValue
        case (.object(let left), .object(let right)): left == right
        default: false
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A number without point or exponent.
    public init(integerLiteral value: Int) { self = .number(JSONNumber(value)) }
    /// A number in the shortest digits that read back as it.
    public init(floatLiteral value: Double) { self = .number(JSONNumber(value)) }
    /// `true` or `false`.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
    /// An array of the literal's elements.
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// An object of the literal's members, in its order; a key may stand twice.
    public init(dictionaryLiteral elements: (ExactString, JSONValue)...) {
        self = .object(JSONObject(elements.map { (key: $0.0, value: $0.1) }))
    }
}
