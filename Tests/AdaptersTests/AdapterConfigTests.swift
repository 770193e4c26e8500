import ByteAccess
import Testing

@testable import Adapters

/// What a config may say, key by key: each value of the wrong kind is refused by a rule that names it, and none is taken for another.
@Suite struct AdapterConfigTests {
    private func config(_ text: String) throws -> AdapterConfig {
        try AdapterConfig(FileReader(bytes: Array(text.utf8), path: "adapter_config.json"))
    }

    /// The rule of the refusal; nil where there is none.
    private func rule(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch { return (error as? PeftfileError)?.rule }
    }

    @Test(arguments: [
        ("[]", "ConfigObject"), ("null", "ConfigObject"), ("\"peft_type\"", "ConfigObject"), ("{\"r\":1,\"r\":2}", "DuplicateKey"),
        ("{\"r\":1,\"\\u0072\":2}", "DuplicateKey"), ("", "InvalidJSON"), ("{\"r\":1", "InvalidJSON"), ("{\"r\":1e400}", "InvalidJSON"),
        ("{'r':1}", "InvalidJSON"), ("{\"r\":01}", "InvalidJSON"), ("{\"r\":1}x", "InvalidJSON"), ("{\"a\":\"\\ud800\"}", "InvalidJSON"),
        (String(repeating: "[", count: 100_000), "InvalidJSON"),
    ])
    func whatIsNoConfigIsRefused(_ text: String, _ wanted: String) {
        #expect(rule { _ = try config(text) } == wanted, "\(text.prefix(40))")
    }

    @Test func aConfigHasAtMost16MiB() throws {
        let most = 16 << 20
        let text = "{\"peft_type\":\"LORA\"}"
        #expect(try config(text + String(repeating: " ", count: most - text.utf8.count)).peftType == "LORA")
        #expect(rule { _ = try config(text + String(repeating: " ", count: most + 1 - text.utf8.count)) } == "ConfigSize")
    }

    @Test func nullIsAbsentAndFalseIsNot() throws {
        let config = try config(#"{"a":null,"b":false,"peft_type":7,"peft_version":"0.18","base_model_name_or_path":"x"}"#)
        #expect(config["a"] == nil && config["b"] == .bool(false) && config["c"] == nil)
        #expect(config.peftType == nil && config.peftVersion == "0.18" && config.baseModel == "x")
        #expect(try config.flag("a", standard: true) && config.flag("c", standard: true) && !config.flag("b", standard: true))
        #expect(try config.number("a") == nil && config.count("c") == nil && config.strings("a").isEmpty && config.pattern("c").isEmpty)
    }

    @Test(arguments: ["0", "1", "\"true\"", "[]", "{}", "0.0"]) func noOtherValueIsAFlag(_ text: String) throws {
        let config = try config("{\"k\":\(text)}")
        #expect(rule { _ = try config.flag("k") } == "ConfigValue")
    }

    @Test func numbersAreFiniteAndCountsArePositive() throws {
        let good = try config(#"{"a":-1.5e3,"b":16,"c":9223372036854775807}"#)
        #expect(try good.number("a") == -1500 && good.number("b") == 16 && good.count("b") == 16 && good.count("c") == .max)
        for text in ["NaN", "Infinity", "-Infinity", "\"8\"", "true", "[8]", "{}"] {
            let config = try config("{\"k\":\(text)}")
            #expect(rule { _ = try config.number("k") } == "ConfigValue", "\(text)")
            #expect(rule { _ = try config.count("k") } == "ConfigValue", "\(text)")
        }
        for text in ["0", "-0", "-1", "1.0", "8.5", "1e2", "9223372036854775808", "18446744073709551616", "-9223372036854775809"] {
            let config = try config("{\"k\":\(text)}")
            #expect(rule { _ = try config.count("k") } == "ConfigValue", "\(text)")
            #expect(try config.number("k") == Double(text), "\(text)")
        }
    }

    @Test func listsHoldWhatTheyShould() throws {
        let good = try config(#"{"one":"q","many":["q","k"],"none":[],"tokens":[0,7]}"#)
        #expect(try good.strings("one") == ["q"] && good.strings("many") == ["q", "k"] && good.strings("none") == [])
        #expect(try good.indices(#require(good["tokens"]), key: "tokens") == [0, 7])
        for text in ["7", "true", "{}", "[\"q\",7]", "[null]", "[[\"q\"]]"] {
            let config = try config("{\"k\":\(text)}")
            #expect(rule { _ = try config.strings("k") } == "ConfigValue", "\(text)")
        }
        for text in ["7", "\"7\"", "[-1]", "[1.0]", "[\"1\"]", "[9223372036854775808]", "{\"0\":1}"] {
            let config = try config("{\"k\":\(text)}")
            #expect(rule { _ = try config.indices(#require(config["k"]), key: "k") } == "ConfigValue", "\(text)")
        }
    }

    @Test func patternsMapToNumbersInOrder() throws {
        let good = try config(#"{"rank_pattern":{"z":1,"a":2.5,"é":3,"e\u0301":4}}"#)
        let patterns = try good.pattern("rank_pattern")
        // "é" as one scalar and as two are two keys.
        #expect(patterns.map(\.value) == [1, 2.5, 3, 4] && patterns.map(\.key.unicodeScalars.count) == [1, 1, 1, 2])
        #expect(rule { _ = try config(#"{"k":{"a":1,"a":1}}"#).pattern("k") } == "DuplicateKey")
        for text in ["7", "\"a\"", "[]", "{\"a\":\"8\"}", "{\"a\":null}", "{\"a\":NaN}", "{\"a\":[1]}"] {
            let config = try config("{\"k\":\(text)}")
            #expect(rule { _ = try config.pattern("k") } == "ConfigValue", "\(text)")
        }
    }

    /// A key that nobody knows is let pass where its value says "off", and in no other case.
    @Test func unknownKeysAreNamed() throws {
        let config = try config(
            #"{"peft_type":"LORA","r":8,"n":null,"f":false,"l":[],"o":{},"zero":0,"t":true,"s":"","ll":[0],"oo":{"a":null}}"#)
        #expect(config.unknownKeys(beside: ["r"]).map(\.text) == ["zero", "t", "s", "ll", "oo"])
        #expect(config.unknownKeys(beside: ["r", "zero", "t", "s", "ll", "oo"]).isEmpty)
        #expect(rule { try config.requireKnownKeys(["r", "zero", "t", "s", "ll", "oo"]) } == nil)
        #expect(rule { try config.requireKnownKeys(["r"]) } == "UnknownConfigKey")
        #expect(rule { try config.requireKnownKeys(["r", "zero", "t", "s", "ll"]) } == "UnknownConfigKey")
    }
}
