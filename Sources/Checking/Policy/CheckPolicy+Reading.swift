public import ByteAccess
import Checkpoints
import Tensors

extension CheckPolicy {
    /// Reads a policy: YAML, or JSON with the same keys.
    ///
    /// - Throws: what is wrong, with the line: `PolicyKey` for a key that no policy has, `PolicyRule` for a rule that is not
    ///   in `rules`, `PolicyValue` for a value of another kind, and what ``LocatedDocument`` throws.
    public init(path: String, rules: [any CheckRule] = RuleRegistry.rules) throws {
        try self.init(LocatedDocument(path: path), rules: rules)
    }

    init(_ document: LocatedDocument, rules: [any CheckRule] = RuleRegistry.rules) throws {
        self.init(file: document.file ?? "policy")
        let reader = PolicyReader(document: document, rules: Dictionary(rules.map { ($0.id, $0) }) { first, _ in first })
        for (key, value, place) in try reader.members(of: document.value, at: [], "the policy") {
            switch key {
            case "rules": levels = try reader.levels(value, at: place)
            case "dtypes": dtypes = try reader.list(value, at: place).map { try reader.dtype($0.0, at: $0.1) }
            case "max-rank": maximumRank = try reader.count(value, at: place)
            case "max-size": maximumSize = try reader.size(value, at: place)
            case "bases":
                bases = try reader.list(value, at: place).map { GlobPattern(try reader.text($0.0, at: $0.1, "a base")) }
            case "metadata": metadata = try reader.metadata(value, at: place)
            case "ignore": ignores = try reader.list(value, at: place).map { try reader.ignore($0.0, at: $0.1) }
            default: throw reader.unknownKey(key, at: place, known: PolicyReader.keys)
            }
        }
        for (rule, level) in levels.sorted(by: { $0.key < $1.key }) {
            guard let limit = CheckPolicy.limits[rule], case .severity = level, !asksFor(rule) else { continue }
            throw document.error(
                "\(rule) has a severity and no limit", at: [.key("rules"), .key(ExactString(rule))], rule: "PolicyValue",
                help: "give \(limit) as well")
        }
    }
}

/// The values of a policy, each with its place.
private struct PolicyReader {
    typealias Place = [LocatedDocument.Step]

    static let keys = ["rules", "dtypes", "max-rank", "max-size", "bases", "metadata", "ignore"]
    static let ignoreKeys = ["rule", "path", "tensor", "reason", "expires"]

    let document: LocatedDocument
    let rules: [String: any CheckRule]

    func wrong(_ message: String, at place: Place, help: String? = nil) -> PeftfileError {
        document.error(message, at: place, rule: "PolicyValue", help: help)
    }

    func unknownKey(_ key: String, at place: Place, known: [String]) -> PeftfileError {
        document.error(
            "\"\(key.printable)\" is no key here", at: place, rule: "PolicyKey", help: "one of \(known.joined(separator: ", "))")
    }

    func members(of value: JSONValue, at place: Place, _ what: String) throws -> [(String, JSONValue, Place)] {
        guard let object = value.objectValue else { throw wrong("\(what) must be a map of keys to values", at: place) }
        return object.members.map { ($0.key.text, $0.value, place + [.key($0.key)]) }
    }

    /// The elements of a list that is not empty: an empty one asks for what nothing can meet, or for nothing.
    func list(_ value: JSONValue, at place: Place) throws -> [(JSONValue, Place)] {
        guard let list = value.arrayValue, !list.isEmpty else {
            throw wrong("\(name(place)) must be a list with an entry at least", at: place)
        }
        return list.enumerated().map { ($1, place + [.index($0)]) }
    }

    func text(_ value: JSONValue, at place: Place, _ what: String) throws -> String {
        guard let text = value.stringValue, !text.isEmpty else {
            throw wrong("\(what) must be text", at: place, help: "put it in quotes")
        }
        return text
    }

    func count(_ value: JSONValue, at place: Place) throws -> Int {
        guard let count = value.intValue, count > 0 else { throw wrong("\(name(place)) must be a positive whole number", at: place) }
        return count
    }

    func size(_ value: JSONValue, at place: Place) throws -> UInt64 {
        if let bytes = value.uint64Value, bytes > 0 { return bytes }
        let spelled = value.stringValue.map { String($0.split(separator: " ").joined()) }
        guard let spelled, let bytes = try? ShardSize.bytes(spelled) else {
            throw wrong("\(name(place)) must be a number of bytes, or one with a unit", at: place, help: "for example 200MB or 1.5GiB")
        }
        return bytes
    }

    func dtype(_ value: JSONValue, at place: Place) throws -> DType {
        guard let text = value.stringValue, let dtype = DType(spelling: text) ?? DType(rawValue: text) else {
            throw wrong("a dtype must be one that safetensors has", at: place, help: "for example F32, BF16 or float16")
        }
        return dtype
    }

    func rule(_ id: String, at place: Place) throws -> any CheckRule {
        guard let rule = rules[id] else {
            throw document.error(
                "there is no rule \"\(id.printable)\"", at: place, rule: "PolicyRule", help: "man peftfile-check lists the rules")
        }
        return rule
    }

    func levels(_ value: JSONValue, at place: Place) throws -> [String: CheckPolicy.Level] {
        var result: [String: CheckPolicy.Level] = [:]
        for (id, value, place) in try members(of: value, at: place, "rules") {
            _ = try rule(id, at: place)
            guard let word = value.stringValue, let level = level(word) else {
                throw wrong("the severity of \(id) must be error, warning, note or off", at: place)
            }
            result[id] = level
        }
        return result
    }

    private func level(_ word: String) -> CheckPolicy.Level? {
        word == "off" ? .off : Severity(rawValue: word).map { .severity($0) }
    }

    /// A list of keys, or a map from key to the form of its value; `null` and `~` for any.
    func metadata(_ value: JSONValue, at place: Place) throws -> [CheckPolicy.RequiredMetadata] {
        if value.arrayValue != nil {
            return try list(value, at: place).map {
                CheckPolicy.RequiredMetadata(key: ExactString(try text($0.0, at: $0.1, "a metadata key")), value: nil)
            }
        }
        return try members(of: value, at: place, "metadata").map { key, value, place in
            CheckPolicy.RequiredMetadata(
                key: ExactString(key),
                value: value.isNull ? nil : GlobPattern(try text(value, at: place, "the value of a metadata key")))
        }
    }

    func ignore(_ value: JSONValue, at place: Place) throws -> CheckPolicy.Ignore {
        var texts: [String: (String, Place)] = [:]
        for (key, value, place) in try members(of: value, at: place, "an ignore") {
            guard PolicyReader.ignoreKeys.contains(key) else { throw unknownKey(key, at: place, known: PolicyReader.ignoreKeys) }
            texts[key] = (try text(value, at: place, key), place)
        }
        func required(_ key: String) throws -> (String, Place) {
            guard let found = texts[key] else { throw wrong("an ignore must have \"\(key)\"", at: place) }
            return found
        }
        let (id, rulePlace) = try required("rule")
        let (reason, _) = try required("reason")
        let (date, datePlace) = try required("expires")
        guard let expires = CalendarDate(date) else {
            throw wrong("expires must be a day of the calendar", at: datePlace, help: "for example 2026-12-31")
        }
        return CheckPolicy.Ignore(
            rule: try rule(id, at: rulePlace).id, path: texts["path"].map { GlobPattern($0.0) },
            tensor: texts["tensor"].map { GlobPattern($0.0) }, reason: reason, expires: expires, line: document.line(of: place))
    }

    private func name(_ place: Place) -> String {
        if case .key(let key) = place.last { return key.text.printable }
        return "the value"
    }
}
