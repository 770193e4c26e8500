/// A JSON object that keeps the order of its members, and duplicate keys where the file has them.
public struct JSONObject: Sendable {
    /// The members in file order.
    public var members: [(key: ExactString, value: JSONValue)]

    /// An object of these members, in this order; a key may stand twice. Without an argument it is empty.
    public init(_ members: [(key: ExactString, value: JSONValue)] = []) { self.members = members }

    /// Whether there is no member.
    public var isEmpty: Bool { members.isEmpty }
    /// How many members there are.
    public var count: Int { members.count }
    /// The keys in file order.
    public var keys: [ExactString] { members.map(\.key) }

    /// The value of the first member with this key. Setting replaces it in place, or appends a member; setting nil
    /// removes every member with this key.
    public subscript(key: ExactString) -> JSONValue? {
        get { members.first { $0.key == key }?.value }
        set {
            guard let newValue else { return members.removeAll { $0.key == key } }
            if let index = members.firstIndex(where: { $0.key == key }) {
                members[index].value = newValue
            } else {
                members.append((key, newValue))
            }
        }
    }

    /// The keys that stand in the object more than once, each named once, in file order.
    public var duplicateKeys: [ExactString] {
        var seen: Set<ExactString> = []
        var named: Set<ExactString> = []
        return members.compactMap { !seen.insert($0.key).inserted && named.insert($0.key).inserted ? $0.key : nil }
    }
}

extension JSONObject: Equatable {
    /// Equal when the same members stand in the same order.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.members.elementsEqual(right.members) { $0.key == $1.key && $0.value == $1.value }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// The members as the literal has them, in its order; a key may stand twice.
    public init(dictionaryLiteral elements: (ExactString, JSONValue)...) {
        members = elements.map { (key: $0.0, value: $0.1) }
    }
}
