/// A string compared by its UTF-8 bytes.
///
/// Swift's `String ==` is canonical equivalence: "é" written as one scalar and as two are equal, and so are CR LF and
/// its parts in some comparisons. Tensor names and JSON keys are byte strings to every other reader, so a dictionary
/// keyed by `String` would merge two tensors into one. All names in this house are `ExactString`.
public struct ExactString: Hashable, Comparable, Sendable {
    /// The text as a Swift string, always stored as contiguous UTF-8.
    public let text: String

    /// Wraps `text`; the bytes are kept as they are, nothing is normalised.
    public init(_ text: String) {
        var contiguous = text
        contiguous.makeContiguousUTF8()
        self.text = contiguous
    }

    public static func == (left: ExactString, right: ExactString) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    /// Orders by unsigned bytes, which is the order of Python's `sorted` on `str` (code points) as well.
    public static func < (left: ExactString, right: ExactString) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        var copy = text
        copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension ExactString: ExpressibleByStringLiteral, CustomStringConvertible {
    public init(stringLiteral value: String) { self.init(value) }
    public var description: String { text }
}
