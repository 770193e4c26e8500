import ByteAccess

/// What sarif-schema-2.1.0.json demands of the objects that the reporter writes: the required properties, the kinds of
/// value, the enumerations, the lowest numbers and, since every object there has `additionalProperties: false`, the
/// names that may stand in it. Taken by hand from the definitions of the published schema.
struct SARIFSchema {
    indirect enum Kind: Sendable {
        case text, uri, reference, bool
        case integer(minimum: Int)
        case oneOf([String])
        case object(String)
        case array(Kind)
        case map(Kind)
    }

    struct Definition: Sendable {
        var required: Set<String> = []
        /// Sets of properties of which one must be there.
        var anyOf: [String] = []
        var properties: [String: Kind]
    }

    static let levels = ["none", "note", "warning", "error"]

    static let definitions: [String: Definition] = [
        "sarifLog": .init(
            required: ["version", "runs"],
            properties: ["$schema": .uri, "version": .oneOf(["2.1.0"]), "runs": .array(.object("run"))]),
        "run": .init(
            required: ["tool"],
            properties: [
                "tool": .object("tool"), "invocations": .array(.object("invocation")), "results": .array(.object("result")),
                "originalUriBaseIds": .map(.object("artifactLocation")),
                "columnKind": .oneOf(["utf16CodeUnits", "unicodeCodePoints"]),
            ]),
        "tool": .init(required: ["driver"], properties: ["driver": .object("toolComponent")]),
        "toolComponent": .init(
            required: ["name"],
            properties: [
                "name": .text, "version": .text, "semanticVersion": .text, "informationUri": .uri,
                "rules": .array(.object("reportingDescriptor")),
            ]),
        "reportingDescriptor": .init(
            required: ["id"],
            properties: [
                "id": .text, "shortDescription": .object("multiformatMessageString"),
                "fullDescription": .object("multiformatMessageString"), "help": .object("multiformatMessageString"),
                "helpUri": .uri, "defaultConfiguration": .object("reportingConfiguration"),
                "properties": .object("propertyBag"),
            ]),
        "multiformatMessageString": .init(required: ["text"], properties: ["text": .text, "markdown": .text]),
        "reportingConfiguration": .init(properties: ["enabled": .bool, "level": .oneOf(levels)]),
        "propertyBag": .init(properties: ["tags": .array(.text)]),
        "invocation": .init(
            required: ["executionSuccessful"],
            properties: [
                "executionSuccessful": .bool, "toolExecutionNotifications": .array(.object("notification")),
                "toolConfigurationNotifications": .array(.object("notification")),
            ]),
        "notification": .init(
            required: ["message"],
            properties: [
                "message": .object("message"), "level": .oneOf(levels), "locations": .array(.object("location")),
                "associatedRule": .object("reportingDescriptorReference"),
            ]),
        "reportingDescriptorReference": .init(
            anyOf: ["id", "index", "guid"], properties: ["id": .text, "index": .integer(minimum: -1)]),
        "message": .init(anyOf: ["text", "id"], properties: ["text": .text, "id": .text, "arguments": .array(.text)]),
        "result": .init(
            required: ["message"],
            properties: [
                "ruleId": .text, "ruleIndex": .integer(minimum: -1), "level": .oneOf(levels), "message": .object("message"),
                "locations": .array(.object("location")), "partialFingerprints": .map(.text),
                "suppressions": .array(.object("suppression")),
            ]),
        "suppression": .init(
            required: ["kind"],
            properties: [
                "kind": .oneOf(["inSource", "external"]), "status": .oneOf(["accepted", "underReview", "rejected"]),
                "justification": .text,
            ]),
        "location": .init(
            properties: [
                "physicalLocation": .object("physicalLocation"), "logicalLocations": .array(.object("logicalLocation")),
            ]),
        "physicalLocation": .init(
            anyOf: ["address", "artifactLocation"],
            properties: ["artifactLocation": .object("artifactLocation"), "region": .object("region")]),
        "artifactLocation": .init(
            properties: ["uri": .reference, "uriBaseId": .text, "description": .object("message")]),
        "region": .init(
            anyOf: ["startLine", "charOffset", "byteOffset"],
            properties: ["startLine": .integer(minimum: 1), "byteOffset": .integer(minimum: -1)]),
        "logicalLocation": .init(properties: ["name": .text, "fullyQualifiedName": .text, "kind": .text]),
    ]

    /// Everything in `value` that breaks the schema, with its place.
    static func faults(_ value: JSONValue, _ kind: Kind = .object("sarifLog"), at place: String = "") -> [String] {
        switch kind {
        case .text: return value.stringValue == nil ? ["\(place): no string"] : []
        case .bool: return value.boolValue == nil ? ["\(place): no boolean"] : []
        case .integer(let minimum): return (value.intValue ?? minimum - 1) < minimum ? ["\(place): no integer from \(minimum)"] : []
        case .oneOf(let names): return names.contains(value.stringValue ?? "") ? [] : ["\(place): none of \(names)"]
        case .uri: return value.stringValue?.wholeMatch(of: /[a-z][a-z0-9+.-]*:[!-~]+/) == nil ? ["\(place): no URI"] : []
        case .reference: return isReference(value.stringValue) ? [] : ["\(place): no URI reference"]
        case .array(let element):
            guard let elements = value.arrayValue else { return ["\(place): no array"] }
            return elements.enumerated().flatMap { faults($1, element, at: "\(place)/\($0)") }
        case .map(let element):
            guard let object = value.objectValue else { return ["\(place): no object"] }
            return object.members.flatMap { faults($0.value, element, at: "\(place)/\($0.key.text)") }
        case .object(let name):
            guard let object = value.objectValue, let definition = definitions[name] else { return ["\(place): no \(name)"] }
            let keys = Set(object.keys.map(\.text))
            var faults = definition.required.subtracting(keys).sorted().map { "\(place): lacks \($0)" }
            if !definition.anyOf.isEmpty, keys.isDisjoint(with: definition.anyOf) { faults.append("\(place): lacks one of \(definition.anyOf)") }
            faults += object.duplicateKeys.map { "\(place): \($0) stands twice" }
            for member in object.members {
                guard let kind = definition.properties[member.key.text] else {
                    faults.append("\(place): \(member.key) is not allowed here")
                    continue
                }
                faults += Self.faults(member.value, kind, at: "\(place)/\(member.key)")
            }
            return faults
        }
    }

    /// RFC 3986: the characters of a URI reference, every `%` before two digits, and no colon in the first segment of a
    /// relative one.
    static func isReference(_ text: String?) -> Bool {
        guard let text, text.wholeMatch(of: /(?:[A-Za-z0-9._~:\/?#\[\]@!$&'()*+,;=-]|%[0-9A-F]{2})*/) != nil else { return false }
        return text.hasPrefix("file:///") || text.split(separator: "/").first.map { !$0.contains(":") } ?? true
    }
}
