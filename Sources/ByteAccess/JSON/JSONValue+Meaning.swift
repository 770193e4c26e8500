extension JSONValue {
    /// Whether two values mean the same: the order of keys is none, and 1 and 1.0 are one number. Of a key that stands twice the
    /// first counts.
    public func hasMeaning(of other: JSONValue) -> Bool {
        switch (self, other) {
        // Integers beyond 2⁵³ by their digits.
        case (.number(let a), .number(let b)): a == b || (a.double == b.double && abs(a.double) <= 0x1p53) || (a.double.isNaN && b.double.isNaN)
        case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy { $0.hasMeaning(of: $1) }
        case (.object(let a), .object(let b)):
            Set(a.keys) == Set(b.keys) && a.keys.allSatisfy { key in b[key].flatMap { a[key]?.hasMeaning(of: $0) } ?? false }
        default: self == other
        }
    }
}
