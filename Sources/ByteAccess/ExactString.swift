import SystemLibrary

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
        left.text.utf8.count == right.text.utf8.count && left.order(to: right) == 0
    }

    /// Orders by unsigned bytes, which is the order of Python's `sorted` on `str` (code points) as well.
    public static func < (left: ExactString, right: ExactString) -> Bool {
        let order = left.order(to: right)
        return order != 0 ? order < 0 : left.text.utf8.count < right.text.utf8.count
    }

    public func hash(into hasher: inout Hasher) {
        withBytes { hasher.combine(bytes: $0) }
    }

    /// memcmp over the bytes that both have.
    private func order(to other: ExactString) -> Int32 {
        withBytes { left in
            other.withBytes { right in
                guard let leftBase = left.baseAddress, let rightBase = right.baseAddress else { return 0 }
                return memcmp(leftBase, rightBase, min(left.count, right.count))
            }
        }
    }

    private func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let result = text.utf8.withContiguousStorageIfAvailable({ body(UnsafeRawBufferPointer($0)) }) {
            return result
        }
        // `init` made the text contiguous; only a bridged string of Darwin could come here.
        var copy = text
        return copy.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}

extension ExactString: ExpressibleByStringLiteral, CustomStringConvertible {
    /// The literal's text, byte for byte.
    public init(stringLiteral value: String) { self.init(value) }
    public var description: String { text }
}
