import ByteAccess
import Checking
import TestSupport
import Testing

/// Names of raw state dicts, and names that look like them.
@Suite struct AdapterNameTests {
    private func found(_ names: [String], _ config: String) throws -> Bool {
        let directory = try TemporaryDirectory()
        try SmallAdapter.write(names.map { .init("base_model.model.\($0)", [8, 8]) }, to: directory.path("adapter_model.safetensors"))
        try directory.write(config, to: "adapter_config.json")
        return try Checker().check(directory.path).findings.contains { $0.rule == "adapter-name-in-key" }
    }

    @Test(arguments: [
        ("OFT", "m.q.oft_R.default.weight"), ("LN_TUNING", "m.norm.ln_tuning_layers.default.weight"),
        ("TRAINABLE_TOKENS", "m.embed.trainable_tokens_delta.default"), ("IA3", "m.q.ia3_l.default"),
        ("LOHA", "m.q.hada_w1_a.default"), ("LORA", "lm_head.modules_to_save.default.weight"),
        ("LORA", "score.modules_to_save.default.dense.weight"),
    ])
    func theNameIsFoundBehindAnyComponent(_ type: String, _ name: String) throws {
        let config = #"{"peft_type": "\#(type)", "r": 8}"#
        #expect(try found([name], config))
        let saved = name.split(separator: ".").filter { $0 != "default" }.joined(separator: ".")
        #expect(try !found([saved], config))
    }

    /// Another name than PEFT's own, known from the factors beside.
    @Test func aNameOfTheFactorsIsFoundElsewhere() throws {
        let config = #"{"peft_type": "LORA", "r": 8}"#
        #expect(try !found(["score.modules_to_save.dense.weight"], config))
        #expect(try !found(["default.q.lora_A.weight", "default.q.lora_B.weight"], config))
        #expect(try found(["m.q.lora_A.mine.weight", "m.q.lora_B.mine.weight", "score.modules_to_save.mine.weight"], config))
    }

    /// A name stands before `.weight`, or ends what is one tensor: another end is a misspelling, and half of a pair is lost.
    @Test func aMisspeltEndIsNoName() throws {
        let config = #"{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q"]}"#
        #expect(try !found(["m.q.lora_A.weightx", "m.q.lora_B.weight"], config))
        #expect(try !found(["m.q.lora_A.weight.x", "m.q.lora_B.weight"], config))
        #expect(try !found(["m.q.lora_A.my.name.weight", "m.q.lora_B.weight"], config))
        #expect(try found(["m.q.lora_embedding_A.mine", "m.q.lora_embedding_B.mine"], config))
        #expect(try found(["m.q.lora_magnitude_vector.mine.weight"], config))
    }
}
