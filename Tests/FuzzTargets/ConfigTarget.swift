import Adapters
public import ByteAccess
import TestSupport

/// `adapter_config.json`, with the values that every method asks for, and the patterns in it.
public struct ConfigTarget: FuzzTarget {
    public let name = "config"
    public init() {}

    private static let words = JSONPieces.words + [
        "\"peft_type\":\"LORA\",", "\"r\":8,", "\"lora_alpha\"", "\"target_modules\"", "\"rank_pattern\":{", "\"alpha_pattern\":{\"(a|b)*c\":4},",
        "\"^(.*\\\\.)?q_proj$\"", "\"[a-\"", "\"(((((\"", "\"a{1000000}\"", "\"\\\\\"", "\"use_dora\":true,", "\"fan_in_fan_out\"", "\"modules_to_save\"",
    ].map { Array($0.utf8) }

    public func seeds() throws -> [[UInt8]] { try Seeds.found(named: "adapter_config.json", below: 900) }

    public func pieces(of file: [UInt8]) -> Pieces { Pieces(JSONPieces.of(file[...]), dictionary: Self.words) }

    public func read(_ reader: FileReader) throws {
        let config = try AdapterConfig(reader)
        // What was read can be written, and then says the same.
        let text = Array(JSONValue.object(config.json).serialized().utf8)
        guard try JSONValue.parse(text, file: reader.path, allowing: .python) == .object(config.json) else {
            throw FuzzFailure("a config that does not come back from its own text")
        }
        for key: ExactString in ["use_dora", "use_rslora", "fan_in_fan_out", "init_lora_weights"] { ask { try config.flag(key) } }
        for key: ExactString in ["r", "lora_alpha", "alpha"] { ask { try config.number(key) } }
        for key: ExactString in ["rank_pattern", "alpha_pattern"] {
            guard let patterns = ask({ try config.pattern(key) }) else { continue }
            for pattern in patterns { match(pattern.key) }
        }
        if let pattern = config["target_modules"]?.stringValue { match(pattern) }
        _ = config.unknownKeys(beside: [])
    }

    private func match(_ pattern: String) {
        guard let expression = ask({ try RegularExpression(modulePattern: pattern) }) else { return }
        _ = expression.matchesWhole("base_model.model.layers.0.self_attn.q_proj")
    }

    /// A value of the wrong kind is refused, by whoever asks for it.
    @discardableResult private func ask<Value>(_ body: () throws -> Value) -> Value? { try? body() }
}
