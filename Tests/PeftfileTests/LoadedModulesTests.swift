import Peftfile
import TestSupport
import Testing

/// Tensors that PEFT would not load, because the config makes no module for them: no merge takes them.
@Suite struct LoadedModulesTests {
    private typealias T = SmallModel

    private static let modules = [
        "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj",
        "model.layers.1.mlp.experts.0.up_proj", "layers.0.q_proj", "h.2.sub.1.q_proj", "model.blocks.3.layers.1.q_proj", "score.q_proj",
    ]

    private static func pair(_ module: String, sides: (out: Int, in: Int) = (4, 4)) -> [SmallTensor] {
        [
            T.tensor(ExactString("\(module).lora_A.weight"), [2, sides.in], seed: 1),
            T.tensor(ExactString("\(module).lora_B.weight"), [sides.out, 2], seed: 2),
        ]
    }

    /// Which of the modules `check_target_module_exists` of PEFT 0.21.2 accepts, run in Python.
    @Test(arguments: [
        (#""target_modules": ["q_proj"]"#, [0, 1, 4, 5, 6, 7]),
        (#""target_modules": ["proj"]"#, []),
        (#""target_modules": ["q_proj", "q_proj"]"#, [0, 1, 4, 5, 6, 7]),
        (#""target_modules": ["self_attn.q_proj", "up_proj"]"#, [0, 1, 2, 3]),
        (#""target_modules": ".*layers\\.1\\..*_proj""#, [1, 2, 3, 6]),
        (#""target_modules": ["q_proj", "up_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]"#, [0, 2, 3, 4, 5, 6, 7]),
        (#""target_modules": ["q_proj", "up_proj"], "exclude_modules": ".*\\.mlp\\..*""#, [0, 1, 4, 5, 6, 7]),
        (#""target_modules": ["q_proj"], "modules_to_save": ["score"]"#, [0, 1, 4, 5, 6]),
        (#""target_modules": ["q_proj", "up_proj"], "modules_to_save": ["self_attn"]"#, [2, 3, 4, 5, 6, 7]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]"#, [1, 2, 3, 5]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": 1"#, [1, 2, 3, 5]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0]"#, [0]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": []"#, [0, 1, 2, 3, 4, 5, 6, 7]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1], "layers_pattern": "layers""#, [1, 2, 3, 6]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": [3, 0], "layers_pattern": ["layers", "blocks"]"#, [0, 4]),
        (#""target_modules": ["q_proj", "up_proj"], "layers_to_transform": [3, 0], "layers_pattern": ["blocks", "layers"]"#, [0, 4, 6]),
        (#""target_modules": ["q_proj"], "layers_to_transform": [1, 2], "layers_pattern": ["(?:h|sub)"]"#, [5]),
        (#""target_modules": ["model.layers.1.self_attn.q_proj", "up_proj"], "layers_to_transform": [0]"#, [1]),
    ]) func whatPEFTAccepts(_ config: String, _ accepted: [Int]) throws {
        let model = try SmallModel()
        try model.adapter(Self.modules.flatMap { Self.pair($0) }, config: config)
        let loaded = try LoadedModules(of: Adapter(path: model.directory.path("adapter")))
        let wanted = Self.modules.indices.filter { !accepted.contains($0) }.map { Self.modules[$0] }
        #expect(loaded.dropped.map(\.module.text) == wanted)
    }

    private func refusal(_ tensors: [SmallTensor], _ config: String, peftType: String = "LORA", shared: String? = nil) throws -> PeftfileError? {
        let model = try SmallModel()
        let weights = ["model.layers.0.q", "model.layers.1.q", "model.layers.0.mlp", "lm_head"]
        try model.base(
            weights.map { T.tensor(ExactString("\($0).weight"), [4, 4], seed: 3) }
                + [T.tensor("model.layers.0.q.bias", [4], seed: 4), T.tensor("model.layers.1.q.bias", [4], seed: 5)]
                + [T.tensor("model.embed_tokens.weight", [6, 4], seed: 6)])
        try model.adapter(tensors, config: config, peftType: peftType, shared: shared ?? #""r": 2, "lora_alpha": 6"#)
        do {
            _ = try RewritePlan.merge(model.binding())
            return nil
        } catch {
            return error as? PeftfileError
        }
    }

    /// The tensor and the key of the config are named, with what to do; the count is of the modules behind the first.
    @Test(arguments: [
        (#""target_modules": ["k"]"#, "target_modules", "1 more module"),
        (#""target_modules": ["q"], "layers_to_transform": [1]"#, "layers_to_transform", ""),
        (#""target_modules": ["q"], "layers_to_transform": [0, 1], "layers_pattern": "blocks""#, "layers_pattern", "1 more module"),
        (#""target_modules": ["q"], "exclude_modules": ["layers.0.q"]"#, "exclude_modules", ""),
        (#""target_modules": ["q"], "modules_to_save": ["layers.0.q"]"#, "modules_to_save", ""),
        (#""target_modules": [], "target_parameters": ["mlp.experts.down_proj"]"#, "target_parameters", "1 more module"),
    ]) func mergeNamesTensorAndKey(_ config: String, _ key: String, _ more: String) throws {
        let saved = config.contains("modules_to_save")
            ? [T.tensor("model.layers.0.q.weight", [4, 4], seed: 8), T.tensor("model.layers.0.q.bias", [4], seed: 9)] : []
        let error = try refusal(Self.pair("model.layers.0.q") + Self.pair("model.layers.1.q") + saved, config)
        #expect(error?.rule == "TensorNotLoaded" && error?.code == .refused)
        #expect(error?.tensor == "base_model.model.model.layers.0.q.lora_A.weight")
        let text = error?.description ?? ""
        #expect(text.contains(key) && text.contains("PEFT would drop") && text.contains(more) && text.contains("correct "), "\(text)")
    }

    /// Every method is held to it, whole parameters and token rows too.
    @Test func everyMethod() throws {
        let wrong = #""target_modules": ["k"]"#
        #expect(try refusal([T.tensor("model.layers.0.q.hra_u", [4, 2], seed: 1)], wrong, peftType: "HRA", shared: #""r": 2, "apply_GS": false"#)?.rule == "TensorNotLoaded")
        #expect(try refusal([T.tensor("model.layers.0.q.ln_tuning_layers.weight", [4, 4], seed: 1)], wrong, peftType: "LN_TUNING", shared: "")?.rule == "TensorNotLoaded")
        let rows = [T.tensor("model.embed_tokens.trainable_tokens_delta", [2, 4], seed: 1)]
        let indices = #""token_indices": [1, 3]"#
        #expect(try refusal(rows, wrong, peftType: "TRAINABLE_TOKENS", shared: indices)?.rule == "TensorNotLoaded")
        for right in [#""target_modules": "model.embed_tokens""#, #""target_modules": ["embed_tokens"]"#, #""target_modules": null"#] {
            #expect(try refusal(rows, right, peftType: "TRAINABLE_TOKENS", shared: indices) == nil)
        }
    }

    /// Where the config names none, PEFT's own list for the model's type decides, and where it has none PEFT raises.
    @Test(arguments: [
        ("llama", ["self_attn.q_proj", "self_attn.v_proj"], nil), ("llama", ["self_attn.q_proj", "self_attn.k_proj"], "TensorNotLoaded"),
        ("gpt2", ["self_attn.q_proj"], "TensorNotLoaded"), ("llama_of_tomorrow", ["self_attn.q_proj"], "ConfigKeyMissing"),
        (nil, ["self_attn.q_proj"], "ConfigKeyMissing"),
        // "proj" in the name of the module is no "q_proj".
        ("llama", ["self_attn.qq_proj"], "TensorNotLoaded"),
    ] as [(String?, [String], String?)]) func noTargetModules(_ type: String?, _ names: [String], _ rule: String?) throws {
        let model = try SmallModel()
        let modules = names.map { "model.layers.0.\($0)" }
        try model.base(
            modules.map { T.tensor(ExactString("\($0).weight"), [4, 4], seed: 3) },
            config: type.map { #"{"model_type": "\#($0)", "tie_word_embeddings": false}"# } ?? "{}")
        try model.adapter(modules.flatMap { Self.pair($0) }, config: #""target_modules": null"#)
        var found: PeftfileError?
        var warnings: [String] = []
        do { warnings = try model.binding().warnings } catch let error as PeftfileError { found = error }
        #expect(found?.rule == rule, "\(found?.description ?? "")")
        #expect(warnings.contains { $0.contains("PEFT 0.21's own list for model_type \"llama\"") } == (rule == nil), "\(warnings)")
        if rule != nil { #expect(found?.message.contains("target_modules") == true && found?.help?.isEmpty == false) }
        // What of them PEFT would load is not told where no base is.
        #expect(throws: PeftfileError.self) { try AdapterConversion(Adapter(path: model.directory.path("adapter")), to: .kohya) }
    }

    /// All linear layers but the head, in any case of letters; embeddings are none.
    @Test func allLinear() throws {
        let all = #""target_modules": "All-Linear""#
        #expect(try refusal(Self.pair("model.layers.0.q"), all) == nil)
        #expect(try refusal(Self.pair("lm_head"), all)?.rule == "TensorNotLoaded")
        let embedding = [
            T.tensor("model.embed_tokens.lora_embedding_A", [2, 6], seed: 1), T.tensor("model.embed_tokens.lora_embedding_B", [4, 2], seed: 2),
        ]
        #expect(try refusal(embedding, all)?.rule == "TensorNotLoaded")
        #expect(try refusal(embedding, #""target_modules": ["embed_tokens"]"#) == nil)
    }

    /// Experts under the names of target_parameters are dropped where the config has lost them.
    @Test func lostTargetParameters() throws {
        let merge = try MergeCase("lora-moe-target-params")
        let directory = try TemporaryDirectory()
        let stored = try Checkpoint.open(merge.adapter)
        let tensors = try stored.tensors.map {
            SmallTensor(name: $0.name, shape: $0.shape, values: try stored.numbers($0.name), dtype: .f32)
        }
        try FileSystem.makeDirectory(directory.path("adapter"))
        try SmallTensor.write(tensors, to: directory.path("adapter/adapter_model.safetensors"))
        var config = try AdapterConfig(path: "\(merge.adapter)/adapter_config.json").json
        config["target_parameters"] = .null
        try directory.write(JSONValue.object(config).serialized(), to: "adapter/adapter_config.json")
        let error = #expect(throws: PeftfileError.self) {
            _ = try Binding(base: .open(merge.base), adapters: [Adapter(path: directory.path("adapter"))])
        }
        #expect(error?.rule == "TensorNotLoaded" && error?.tensor?.text.contains("experts") == true, "\(error?.description ?? "")")
    }

    /// What cannot be read is said, and nothing is held against it; what is no expression PEFT cannot read either.
    @Test func patterns() throws {
        #expect(try refusal(Self.pair("model.layers.0.q"), #""target_modules": "(q""#)?.rule == "PatternSyntax")
        let model = try SmallModel()
        try model.base([T.tensor("model.layers.0.q.weight", [4, 4], seed: 3)])
        try model.adapter(Self.pair("model.layers.0.q"), config: #""target_modules": "(?i).*Q""#)
        let warnings = try model.binding().warnings
        #expect(warnings.contains { $0.contains("(?i)") && $0.contains("not told whether PEFT would load") }, "\(warnings)")
    }

    /// `LoraConfig.__post_init__` of PEFT 0.21 raises for a pattern alone, and not for an empty one.
    @Test func aPatternWithoutLayersIsRefused() throws {
        let pair = Self.pair("model.layers.0.q")
        for pattern in [#""layers""#, #"["layers"]"#] {
            let error = try refusal(pair, #""target_modules": ["q"], "layers_pattern": \#(pattern)"#)
            #expect(error?.rule == "ConfigValue" && error?.message.contains("layers_to_transform") == true, "\(error?.description ?? "")")
        }
        for right in [#""layers_pattern": """#, #""layers_pattern": []"#, #""layers_pattern": null"#, #""layers_pattern": "layers", "layers_to_transform": [0]"#] {
            #expect(try refusal(pair, #""target_modules": ["q"], \#(right)"#) == nil)
        }
    }

    /// No other dialect has a config that drops tensors: what PEFT would not load would act there.
    @Test(arguments: [ConversionTarget.kohya, .diffusers, .mlx]) func noConversionTakesWhatPEFTDrops(_ target: ConversionTarget) throws {
        let model = try SmallModel()
        for (targets, rule) in [("k", "TensorNotLoaded"), ("q", nil)] {
            try model.adapter(Self.pair("model.layers.0.q"), config: #""target_modules": ["\#(targets)"]"#, name: targets)
            var found: String?
            do {
                _ = try AdapterConversion(Adapter(path: model.directory.path(targets)), to: target)
            } catch let error as PeftfileError { found = error.rule }
            #expect(found == rule)
        }
    }

    // MARK: Biases

    /// Biases that the config says were trained are in the file, and no others.
    @Test func biases() throws {
        let target = #""target_modules": ["q"], "layers_to_transform": [0]"#
        let pair = Self.pair("model.layers.0.q")
        func bias(_ name: String, _ layer: Int = 0) -> SmallTensor { T.tensor(ExactString("model.layers.\(layer).\(name)"), [4], seed: 7) }
        #expect(try refusal(pair, #""bias": "none", \#(target)"#) == nil)
        for value in [#""all""#, #""lora_only""#] {
            let lost = try refusal(pair, #""bias": \#(value), \#(target)"#)
            #expect(lost?.rule == "BiasesLost" && lost?.tensor == "model.layers.0.q.bias", "\(lost?.description ?? "")")
        }
        #expect(try refusal(pair + [bias("q.base_layer.bias")], #""bias": "lora_only", \#(target)"#) == nil)
        // "all" means the biases of modules without an update too.
        let part = try refusal(pair + [bias("q.base_layer.bias")], #""bias": "all", \#(target)"#)
        #expect(part?.rule == "BiasesLost" && part?.tensor == "model.layers.1.q.bias")
        #expect(try refusal(pair + [bias("q.base_layer.bias"), bias("q.bias", 1)], #""bias": "all", \#(target)"#) == nil)

        let unexpected = try refusal(pair + [bias("q.base_layer.bias")], #""bias": "none", \#(target)"#)
        #expect(unexpected?.rule == "BiasUnexpected" && unexpected?.tensor == "base_model.model.model.layers.0.q.base_layer.bias")
        // A raw dump of the model has whole layers, and their biases are the base's.
        func whole(_ seed: Int) -> [SmallTensor] {
            [
                T.tensor("model.layers.0.q.base_layer.bias", [4], seed: seed),
                T.tensor("model.layers.0.q.base_layer.weight", [4, 4], seed: 3),
            ]
        }
        #expect(try refusal(pair + whole(4), #""bias": "none", \#(target)"#) == nil)
        #expect(try refusal(pair + whole(7), #""bias": "none", \#(target)"#)?.rule == "FrozenWeight")
    }

    @Test(arguments: [#""zzz""#, "true", "1", #""_onl""#]) func anUnknownBiasIsRefused(_ value: String) throws {
        let error = try refusal(Self.pair("model.layers.0.q"), #""bias": \#(value)"#)
        #expect(error?.rule == "ConfigValue" && error?.message.contains("\"bias\"") == true)
        let other = try refusal(
            [T.tensor("model.layers.0.q.hra_u", [4, 2], seed: 1)], #""bias": \#(value)"#, peftType: "HRA", shared: #""r": 2, "apply_GS": false"#)
        #expect(other?.rule == "ConfigValue")
    }

    /// Nothing that the library wrote contradicts itself.
    @Test func noFixtureIsRefused() throws {
        var count = 0
        for name in try MergeCase.names {
            let loaded = try LoadedModules(of: Adapter(path: MergeCase(name).adapter))
            #expect(loaded.dropped.isEmpty && loaded.unread == nil, "\(name): \(loaded.dropped)")
            count += 1
        }
        #expect(count > 150)
    }
}
