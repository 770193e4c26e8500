import Peftfile
import TestSupport
import Testing

/// The config of a stripped prompt against what PEFT's loader makes of a base (`_prepare_prompt_learning_config` and
/// `get_prompt`), and configs that belong to other files.
@Suite struct StripConfigTests {
    private static func base(_ text: String) throws -> StripOptions {
        let json = try #require(try JSONValue.parse(Array(text.utf8), file: nil).objectValue)
        return StripOptions(base: ("base", try AdapterConfig(json: json, path: "base/config.json")))
    }

    private func rule(
        _ state: PromptState, config: String?, _ options: StripOptions = StripOptions()
    ) throws -> (rule: String?, message: String) {
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: config)
        let error = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(source, to: directory.path("out"), options)
        }
        #expect(try directory.names() == ["state"], "nothing is written")
        return (error?.rule, error?.message ?? "")
    }

    /// 2 layers, slots of 4: what PEFT would compute for each base.
    @Test(arguments: [
        (#"{"architectures": ["GPT2LMHeadModel"], "n_layer": 2, "n_embd": 4, "n_head": 2}"#, "CAUSAL_LM", 2, 1),
        (#"{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 2}"#, "CAUSAL_LM", 2, 1),
        (#"{"architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 6, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 4}"#, "CAUSAL_LM", 1, 1),
        // A decoder that sees images is no encoder-decoder.
        (#"{"architectures": ["LlavaForConditionalGeneration"], "text_config": {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 2}}"#, "CAUSAL_LM", 2, 1),
        // The prefix is given to encoder and decoder.
        (#"{"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": true, "num_layers": 2, "d_model": 4, "num_heads": 2}"#, "SEQ_2_SEQ_LM", 2, 2),
        // Layers that differ: the widest ones count.
        (#"{"architectures": ["GemmaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 2, "global_head_dim": 4, "num_global_key_value_heads": 1}"#, "CAUSAL_LM", 1, 1),
        (#"{"architectures": ["GemmaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 1, "per_layer_config": {"0": {"sliding_window": 8}, "1": {"head_dim": 2, "num_key_value_heads": 2}}}"#, "CAUSAL_LM", 2, 1),
    ])
    func basesOfAllKinds(_ text: String, _ taskType: String, _ heads: Int, _ submodules: Int) throws {
        let directory = try TemporaryDirectory()
        var state = PromptState(seed: 70)
        _ = state.matrix("transformer.prefix_encoder.embedding.weight", 3, 4)
        _ = state.layer("transformer.prefix_encoder.trans.0", 5, 4)
        _ = state.layer("transformer.prefix_encoder.trans.2", 16, 5)
        let source = try state.write(into: directory, config: nil)
        _ = try #require(try StripCase.strip(source, to: directory.path("out"), Self.base(text)))
        let config = try AdapterConfig(path: directory.path("out/adapter_config.json")).json
        #expect(config["peft_type"] == "PREFIX_TUNING" && config["task_type"]?.stringValue == taskType)
        #expect(config["num_virtual_tokens"] == 3 && config["num_layers"] == 2 && config["token_dim"] == 4)
        #expect(config["num_attention_heads"]?.intValue == heads)
        #expect(config["num_transformer_submodules"]?.intValue == submodules)
        #expect(config["inference_mode"] == true && config["prefix_projection"] == false)
        #expect(try StripCase.verify(directory.path("out"), from: source).isEquivalent)
    }

    @Test func aBaseWithOtherHeadsIsAnother() throws {
        // As wide as the prefix, 1 head of 4 where it was trained for 2 of 2.
        let options = try Self.base(#"{"num_hidden_layers": 2, "hidden_size": 4, "num_attention_heads": 1}"#)
        let (rule, message) = try rule(StripRuleTests.prefix(), config: StripRuleTests.config(), options)
        #expect(rule == "PrefixWidth" && message.contains("2 key/value heads") && message.contains("has 1"))
    }

    @Test func anEncoderDecodersPromptWithoutConfigHasTwoHalves() throws {
        var state = PromptState(seed: 71)
        _ = state.matrix("prompt_encoder.default.embedding.weight", 6, 4)
        for (step, shape) in [(0, (5, 4)), (2, (5, 5)), (4, (4, 5))] {
            _ = state.layer("prompt_encoder.default.mlp_head.\(step)", shape.0, shape.1)
        }
        for (type, tokens, submodules) in [("SEQ_2_SEQ_LM", 3, 2), ("CAUSAL_LM", 6, 1)] {
            let directory = try TemporaryDirectory()
            let source = try state.write(into: directory, config: nil)
            _ = try #require(try StripCase.strip(source, to: directory.path("out"), StripOptions(taskType: type)))
            let config = try AdapterConfig(path: directory.path("out/adapter_config.json")).json
            #expect(config["num_virtual_tokens"]?.intValue == tokens)
            #expect(config["num_transformer_submodules"]?.intValue == submodules)
        }
    }

    /// `wte2` of an infix acts through the model, on text that is not known here.
    @Test(arguments: ["", "module."]) func anInfixIsNoPEFTAdapter(_ wrapper: String) throws {
        var state = PromptState(seed: 72)
        _ = state.matrix("\(wrapper)wte.weight", 3, 4)
        _ = state.layer("\(wrapper)control_trans.0", 5, 4)
        _ = state.layer("\(wrapper)control_trans.2", 16, 5)
        _ = state.matrix("\(wrapper)wte2.weight", 3, 4)
        let stated = StripOptions(layout: .peft, stated: PromptFacts(layers: 2, heads: 2))
        let (rule, message) = try rule(state, config: nil, stated)
        #expect(rule == "NoPEFTLayout" && message.contains("wte2.weight"))
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: nil)
        _ = try #require(try StripCase.strip(source, to: directory.path("out"), StripOptions(layout: .source)))
        let result = try Checkpoint.open(directory.path("out"))
        #expect(Set(result.tensors.map(\.name)) == ["control_trans", "wte2.weight"])
        #expect(try StripCase.verify(directory.path("out"), from: source).isEquivalent)
    }

    /// T5's heads need not share the hidden size: here 2 layers, slots of 6, hidden 4.
    @Test func adapterHubsHiddenSizeYieldsToWhatIsStated() throws {
        var state = PromptState(seed: 73)
        let root = "prefix_tuning.prefix_tunings.a.self_prefix"
        _ = state.matrix("\(root).wte.weight", 3, 4)
        _ = state.layer("\(root).control_trans.0", 5, 4)
        _ = state.layer("\(root).control_trans.2", 24, 5)
        let config = #"{"config": {"prefix_length": 3, "flat": false, "non_linearity": "tanh"}, "hidden_size": 4, "name": "a"}"#
        for (layers, width, isAssumed) in [(2, 6, false), (nil, 4, true)] as [(Int?, Int, Bool)] {
            let directory = try TemporaryDirectory()
            let source = try state.write(into: directory, config: config)
            let options = StripOptions(stated: PromptFacts(layers: layers, heads: 2))
            guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source), options) else { throw TestSupportError("stripped") }
            #expect(plan.config?["token_dim"]?.intValue == width && plan.config?["num_layers"]?.intValue == 12 / width)
            #expect(plan.warnings.contains { $0.contains("hidden size") } == isAssumed)
        }
    }

    // MARK: Modules trained whole

    /// PEFT saves a classifier's head under its path without `modules_to_save.<adapter>`, and fails to load without it.
    @Test func theHeadOfAClassifierIsPartOfTheAdapter() throws {
        var state = StripRuleTests.prefix()
        let head = state.matrix("base_model.classifier.modules_to_save.default.weight", 2, 4).flatMap { $0 }
        _ = state.matrix("base_model.classifier.modules_to_save.other.weight", 2, 4)
        _ = state.matrix("base_model.classifier.original_module.weight", 2, 4)
        _ = state.matrix("base_model.bert.embeddings.weight", 3, 4)
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: StripRuleTests.config(#", "modules_to_save": ["classifier", "score"]"#))
        guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source)) else { throw TestSupportError("stripped") }
        #expect(plan.leftOut.count == 3 && !plan.warnings.contains { $0.contains("modules_to_save") })
        _ = try StripExecutor(plan: plan, target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out/adapter_model.safetensors"))
        #expect(Set(result.tensors.map(\.name)) == ["prompt_embeddings", "base_model.classifier.weight"])
        #expect(try result.numbers("base_model.classifier.weight") == head)
        #expect(try StripCase.verify(directory.path("out"), from: source).isEquivalent)
        // What came out is a whole adapter: nothing is left to strip or to wonder about, and nothing is lost when it is written again.
        #expect(try StripCase.strip(directory.path("out"), to: directory.path("again")) == nil)
        #expect(try Inspection(path: directory.path("out")).unclaimed.isEmpty)
        _ = try #require(try StripCase.strip(directory.path("out"), to: directory.path("again"), StripOptions(writesStripped: true)))
        #expect(
            try TestFile.bytes(directory.path("again/adapter_model.safetensors"))
                == TestFile.bytes(directory.path("out/adapter_model.safetensors")))
        // One bit of the head, which stands before the 48 numbers of the prompt.
        let path = directory.path("out/adapter_model.safetensors")
        var bytes = try TestFile.bytes(path)
        bytes[bytes.count - 8 * 48 - 1] ^= 1
        try TestFile.write(bytes, to: path)
        #expect(try !StripCase.verify(directory.path("out"), from: source).isEquivalent)
    }

    @Test func aHeadThatIsNotThereIsToldOf() throws {
        let config = StripRuleTests.config(#", "modules_to_save": ["classifier", "score"]"#)
        for (config, text) in [(config, "classifier, score"), (StripRuleTests.config().replacing("CAUSAL_LM", with: "SEQ_CLS"), "SEQ_CLS")] {
            let directory = try TemporaryDirectory()
            let source = try StripRuleTests.prefix().write(into: directory, config: config)
            guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source)) else { throw TestSupportError("stripped") }
            #expect(plan.warnings.contains { $0.contains("PEFT loads") && $0.contains(text) })
        }
    }

    // MARK: Configs of other files

    @Test func promptsWithAConfigOfAnotherMethod() throws {
        var state = PromptState(seed: 74)
        _ = state.matrix("prompt_embeddings", 3, 4)
        let (rule, message) = try rule(state, config: #"{"peft_type": "LORA", "r": 8}"#)
        #expect(rule == "ConfigContradiction" && message.contains("LORA") && message.contains("[3, 4]"))
    }

    /// `prompt_embeddings` alone is stripped, whatever it is; a config is not made up for it.
    @Test func promptsWithoutAConfig() throws {
        var state = PromptState(seed: 75)
        _ = state.matrix("prompt_embeddings", 3, 4)
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: nil)
        #expect(try StripCase.strip(source, to: directory.path("out")) == nil)
        for options in [StripOptions(writesStripped: true), StripOptions(dtype: .bf16)] {
            #expect(try rule(state, config: nil, options).rule == "PromptTypeMissing")
        }
    }

    /// Without the numbers that make the width certain, an embedding that a network should follow is not the prefix.
    @Test func anEmbeddingWhoseNetworkIsNotThere() throws {
        var state = PromptState(seed: 76)
        _ = state.matrix("prompt_encoder.default.embedding.weight", 3, 16)
        let some = #"{"peft_type": "PREFIX_TUNING", "prefix_projection": true, "token_dim": 16, "inference_mode": false}"#
        #expect(try rule(state, config: some).rule == "PromptTensorMissing")
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: StripRuleTests.config())
        _ = try #require(try StripCase.strip(source, to: directory.path("out")))
        #expect(try Checkpoint.open(directory.path("out/adapter_model.safetensors")).tensors[0].shape == [3, 16])
    }

    @Test func aFunctionThatIsNoNameIsRefused() throws {
        var state = PromptState(seed: 77)
        let root = "prefix_tuning.prefix_tunings.a.self_prefix"
        _ = state.matrix("\(root).wte.weight", 3, 4)
        _ = state.layer("\(root).control_trans.0", 5, 4)
        _ = state.layer("\(root).control_trans.2", 16, 5)
        #expect(try rule(state, config: #"{"config": {"non_linearity": 3}}"#).rule == "ActivationUnknown")
    }

    /// The encoder's copy is named as the file would name it.
    @Test(arguments: ["_enc", "2"]) func missingPartsOfACopyAreNamed(_ variant: String) throws {
        var state = PromptState(seed: 78)
        for name in ["", variant] {
            _ = state.matrix("wte\(name).weight", 3, 4)
            _ = state.layer("control_trans\(name).0", 5, 4)
            _ = state.layer("control_trans\(name).2", 16, 5)
        }
        let whole = state.tensors
        for leaf in ["wte\(variant).weight", "control_trans\(variant).2.bias"] {
            state.tensors = whole.filter { $0.name.text != leaf }
            let directory = try TemporaryDirectory()
            let source = try state.write(into: directory, config: nil)
            let error = #expect(throws: PeftfileError.self) { _ = try PromptSource(path: source) }
            #expect(error?.rule == "PromptTensorMissing" && error?.tensor?.text == leaf)
        }
    }

    @Test func bothNumbersOfAContradictionAreNamed() throws {
        let config = StripRuleTests.config().replacing(#""num_layers": 2"#, with: #""num_layers": 3"#)
        let (rule, message) = try rule(StripRuleTests.prefix(), config: config)
        #expect(rule == "ConfigContradiction" && message.contains("num_layers = 3") && message.contains("token_dim = 4"))
        #expect(message.contains("[16, 5]") && message.contains("[24, 5]"))
    }

    // MARK: Numbers that are none

    /// An infinite embedding saturates tanh: the prefix is finite, equivalent, and a flipped bit is still found.
    @Test func infinitiesAreVerified() throws {
        var state = StripRuleTests.prefix()
        state.tensors[0].values[0] = .infinity
        state.tensors[0].values[5] = -.infinity
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: StripRuleTests.config())
        _ = try #require(try StripCase.strip(source, to: directory.path("out"), StripOptions(dtype: .f32)))
        #expect(try StripCase.verify(directory.path("out"), from: source).isEquivalent)
        let path = directory.path("out/adapter_model.safetensors")
        var bytes = try TestFile.bytes(path)
        bytes[bytes.count - 4 * 48] ^= 1
        try TestFile.write(bytes, to: path)
        let report = try StripCase.verify(directory.path("out"), from: source)
        #expect(!report.isEquivalent && report.tensors[0].mismatched == 1)
    }
}
