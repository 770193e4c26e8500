public import ByteAccess
import Tensors

/// `adapter_config.json`: the numbers that a method needs and that are not in the tensors.
public struct AdapterConfig: Sendable {
    /// The document as read; key order and number text are the file's.
    public let json: JSONObject
    /// The file it came from, for messages.
    public let path: String
    /// The SHA-256 of the file as it was parsed, in hex; nil for a document that was put together otherwise.
    public internal(set) var digest: String?
    /// The scale of each module, where a dialect gives it module by module; it goes before what the document says.
    public internal(set) var moduleScales: [ExactString: ModuleScale] = [:]

    /// Checks what every config needs: an object without duplicate keys.
    ///
    /// - Throws: `.malformed` with rule `DuplicateKey` where a key stands twice.
    public init(json: JSONObject, path: String) throws {
        self.json = json
        self.path = path
        if let twice = json.duplicateKeys.first {
            throw PeftfileError(
                .malformed, "key \"\(twice.text.printable)\" stands twice", file: path, rule: "DuplicateKey",
                help: "remove one of the two")
        }
    }

    /// Reads and parses the file. Python's writer may put `NaN` and `Infinity` in it, so these are read.
    ///
    /// - Throws: `.notFound` where there is no such file, `.refused` where it is no regular file, `.io` where it cannot be opened; and
    ///   what ``init(_:)`` throws.
    public init(path: String) throws { try self.init(FileReader(path: path)) }

    /// The same for a file that is open already.
    ///
    /// - Throws: `.malformed` with rule `ConfigSize` for more than 16 MiB, `InvalidUTF8` or `InvalidJSON` for what is no JSON text,
    ///   `ConfigObject` where it is no object, and `DuplicateKey` where a key stands twice; `.io` where the file cannot be read.
    public init(_ reader: FileReader) throws {
        let path = reader.path
        guard reader.size <= 16 << 20 else {
            throw PeftfileError(
                .malformed, "is \(reader.size) bytes long, a config has at most 16 MiB", file: path, rule: "ConfigSize")
        }
        let bytes = try reader.bytes(at: 0, count: Int(reader.size))
        guard let object = try JSONValue.parse(bytes, file: path, allowing: .python).objectValue else {
            throw PeftfileError(.malformed, "is no JSON object", file: path, rule: "ConfigObject")
        }
        try self.init(json: object, path: path)
        digest = SHA256.hex(SHA256.hash(bytes))
    }

    /// `peft_type`, as written.
    public var peftType: String? { json["peft_type"]?.stringValue }
    /// The version of PEFT that wrote the file, where it says so (0.18 and newer).
    public var peftVersion: String? { json["peft_version"]?.stringValue }
    /// `auto_mapping.base_model_class`: the class that was trained, where the config has no `task_type` that tells it.
    var modelClass: String? { json["auto_mapping"]?["base_model_class"]?.stringValue }
    /// The base model's Hub id or path, as the training machine knew it.
    public var baseModel: String? { json["base_model_name_or_path"]?.stringValue }

    /// The value of a key, with JSON's null read as absent.
    public subscript(key: ExactString) -> JSONValue? {
        guard let value = json[key] else { return nil }
        if case .null = value { return nil }
        return value
    }

    /// A flag; absent and null mean `standard`.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where the value is neither true nor false.
    public func flag(_ key: ExactString, standard: Bool = false) throws -> Bool {
        guard let value = self[key] else { return standard }
        guard let flag = value.boolValue else { throw wrong(key, "true or false") }
        return flag
    }

    /// A number, or nil where the key is absent.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where the value is no number, or NaN or infinite.
    public func number(_ key: ExactString) throws -> Double? {
        guard let value = self[key] else { return nil }
        guard let number = value.doubleValue, number.isFinite else { throw wrong(key, "a number") }
        return number
    }

    /// A positive whole number, or nil where the key is absent.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where the value is anything else: zero, a negative number, `8.0`, a text.
    public func count(_ key: ExactString) throws -> Int? {
        guard let value = self[key] else { return nil }
        guard let number = value.intValue, number > 0 else { throw wrong(key, "a positive whole number") }
        return number
    }

    /// A list of strings; a single string is a list of one; absent is empty.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where the value is neither a string nor a list of strings.
    public func strings(_ key: ExactString) throws -> [String] {
        guard let value = self[key] else { return [] }
        if let single = value.stringValue { return [single] }
        guard let list = value.arrayValue else { throw wrong(key, "a list of strings") }
        return try list.map {
            guard let text = $0.stringValue else { throw wrong(key, "a list of strings") }
            return text
        }
    }

    /// A list of whole numbers that are not negative.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue`, naming `key`, where the value is no list or an element is no such number.
    public func indices(_ value: JSONValue, key: ExactString) throws -> [Int] {
        guard let list = value.arrayValue else { throw wrong(key, "a list of token indices") }
        return try list.map {
            guard let index = $0.intValue, index >= 0 else { throw wrong(key, "a list of token indices") }
            return index
        }
    }

    /// A map from pattern to number, in file order; absent is empty.
    ///
    /// - Throws: `.malformed` with rule `ConfigValue` where the value is no map or holds something else than finite numbers, and with
    ///   rule `DuplicateKey` where a pattern stands in it twice.
    public func pattern(_ key: ExactString) throws -> [(key: String, value: Double)] {
        guard let value = self[key] else { return [] }
        guard let object = value.objectValue else { throw wrong(key, "a map from pattern to number") }
        if let twice = object.duplicateKeys.first {
            throw PeftfileError(
                .malformed, "\"\(key)\" holds \"\(twice.text.printable)\" twice", file: path, rule: "DuplicateKey",
                help: "remove one of the two")
        }
        return try object.members.map {
            guard let number = $0.value.doubleValue, number.isFinite else { throw wrong(key, "a map to numbers") }
            return ($0.key.text, number)
        }
    }

    func wrong(_ key: ExactString, _ expected: String) -> PeftfileError {
        PeftfileError(
            .malformed, "\"\(key)\" must be \(expected)", file: path, rule: "ConfigValue", help: "correct the config")
    }

    /// Keys that no method's merge depends on: who trained what and how, training-time regularisers, and the target
    /// lists, since the tensors themselves say which modules were trained; and how the base was held, of which `BaseValues` asks.
    public static let keysWithoutEffect: Set<String> = [
        "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "task_type",
        "inference_mode", "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform",
        "layers_pattern", "runtime_config", "tokenizer_name_or_path", "tokenizer_kwargs",
        "quantization_config", "bnb_config", "load_in_4bit",
    ]

    /// The keys that neither the method nor the house knows, unless their value says "not used": null, false, or an empty
    /// list or map, which is how newer PEFT versions write features that are off.
    public func unknownKeys(beside known: Set<String>) -> [ExactString] {
        json.members.filter { member in
            if known.contains(member.key.text) || AdapterConfig.keysWithoutEffect.contains(member.key.text) {
                return false
            }
            switch member.value {
            case .null, .bool(false): return false
            case .array(let list): return !list.isEmpty
            case .object(let object): return !object.members.isEmpty
            default: return true
            }
        }.map(\.key)
    }

    /// Refuses a config with unknown keys.
    func requireKnownKeys(_ known: Set<String>) throws {
        let unknown = unknownKeys(beside: known)
        guard let first = unknown.first else { return }
        let others = unknown.count == 1 ? "" : " and \(unknown.count - 1) more"
        throw PeftfileError(
            .refused, "config key \"\(first.text)\"\(others) is unknown, and it may change the result", file: path,
            rule: "UnknownConfigKey", help: "remove the key if it has no part in the merge, or use a newer peftfile")
    }
}
