/// A number of a JSON file: its text, kept as it is written, and its value where one is asked for.
///
/// Keeping the text means that a config file which is read, patched and written again changes only where it was
/// patched: `2.0` stays `2.0`, `1e-05` stays `1e-05`, and integers of any length keep their digits.
public struct JSONNumber: Sendable, Hashable {
    /// The number as it is written.
    public let text: String

    init(text: String) { self.text = text }

    /// The number in decimal digits, with a sign where it is negative.
    public init(_ value: Int) { text = String(value) }
    /// The number in decimal digits, also where it is too large for `Int`.
    public init(_ value: UInt64) { text = String(value) }
    /// Writes the shortest text that reads back as `value`, as Python's `repr` does up to the form of the exponent;
    /// NaN and infinities in Python's spelling.
    public init(_ value: Double) {
        text = value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : "\(value)"
    }

    /// The value, where the text is an integer without point or exponent that fits.
    public var int: Int? { Int(text) }
    /// The value, where the text is an integer without sign, point or exponent that fits.
    public var uint64: UInt64? { text.utf8.first == UInt8(ascii: "-") ? nil : UInt64(text) }
    /// The nearest float64; the parser lets no text through that overflows.
    public var double: Double {
        switch text {
        case "NaN": .nan
        case "Infinity": .infinity
        case "-Infinity": -.infinity
        default: Double(text) ?? .nan
        }
    }
}
