public import ByteAccess

extension AdapterConfig {
    /// What the config says of the method, key by key in file order: all but who trained what (`keysWithoutEffect`), and what is
    /// not used (null, false, an empty list, map or text).
    public var settings: [(key: ExactString, value: JSONValue)] {
        let shown = unknownKeys(beside: [])
        return json.members.filter { member in
            if case .string("") = member.value { return false }
            return shown.contains(member.key)
        }.map { ($0.key, $0.value) }
    }

    /// A setting as a page has it: `r 8`, a list by its first values.
    public static func text(_ key: ExactString, _ value: JSONValue) -> String {
        let most = 12
        let text: String
        switch value {
        case .string(let string): text = string
        case .array(let list) where list.count > most:
            text = "[" + list.prefix(most).map { $0.serialized() }.joined(separator: ",") + ",…] (\(list.count) values)"
        default: text = value.serialized()
        }
        return "\(key.text) \(text)".printable
    }
}
