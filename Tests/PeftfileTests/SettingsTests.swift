import Peftfile
import TestSupport
import Testing

/// `inspect` shows what the config says of the method, for all values of `peft_type`.
@Suite struct SettingsTests {
    /// Keys of the refused methods, whose files declare none: PEFT's XLoraConfig, LilyConfig, AdaptionPromptConfig, PsoftConfig,
    /// ShadowConfig and the configs of prompts.
    static let others: Set<String> = [
        "xlora_depth", "xlora_size", "top_k_lora", "hidden_size", "softmax_temperature", "adapters", "num_B", "stride_A", "scaling", "adapter_len",
        "adapter_layers", "psoft_alpha", "ab_svd_init", "psoft_svd", "shadow_alpha", "shadow_model", "num_virtual_tokens", "token_dim",
        "encoder_hidden_size", "num_ranks", "cpt_token_ids", "num_frozen_tokens",
    ]

    @Test(arguments: MethodRegistryTests.types) func everyDeclaredKeyIsShown(_ type: String) throws {
        let declared = try #require(MethodRegistry.method(named: type)).configKeys
        let keys = (declared.isEmpty ? Self.others : declared).sorted()
        let model = try SmallModel()
        try model.adapter(
            [SmallModel.tensor("q.x", [2, 2], seed: 1)], config: keys.enumerated().map { "\"\($1)\": \($0 + 7)" }.joined(separator: ", "),
            peftType: type, shared: #""task_type": "CAUSAL_LM", "peft_version": "0.21.2", "unused": null, "off": false"#)
        let result = try Tool.run(["inspect", model.directory.path("adapter")])
        #expect(result.status == 0, "\(result.errors)")
        for (index, key) in keys.enumerated() { #expect(result.output.contains("\(key) \(index + 7)"), "\(type): \(key)") }
        #expect(!result.output.contains("unused") && !result.output.contains("task_type"))
        let item = try Inspection(path: model.directory.path("adapter")).json
        for (index, key) in keys.enumerated() { #expect(item["settings"]?[ExactString(key)]?.intValue == index + 7) }
    }
}
