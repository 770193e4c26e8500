import Peftfile
import TestSupport
import Testing

/// Modules that a config names, that the base has, and of which the adapter holds nothing: a warning of every method's merge.
@Suite struct LostModuleTests {
    private typealias T = SmallModel

    private static func isOfIt(_ warning: String) -> Bool {
        warning.contains("the adapter has no tensors for") || warning.contains("the adapter has no tensors")
    }

    /// What the library wrote has lost nothing.
    @Test func noFixtureIsWarnedOf() throws {
        var count = 0
        for name in try MergeCase.names {
            let merge = try MergeCase(name)
            guard let binding = try? Binding(base: .open(merge.base), adapters: [Adapter(path: merge.adapter)]) else { continue }
            count += 1
            // A target that the base has not either, such as a head of another class, is another matter.
            let found = binding.warnings.filter { Self.isOfIt($0) && $0.contains("the base's values") }
            #expect(found.isEmpty, "\(name): \(found)")
        }
        #expect(count > 100)
    }

    /// Two layers of q, k and v, adapters of one q: what each config says is missing.
    @Test(arguments: [
        (#""target_modules": ["q"]"#, ["layers.1.q"]),
        (#""target_modules": ["q"], "layers_to_transform": [0]"#, []),
        (#""target_modules": ["q"], "layers_to_transform": [0, 1], "layers_pattern": "layers""#, ["layers.1.q"]),
        (#""target_modules": ["q", "v"], "exclude_modules": ["layers.1.q"]"#, ["layers.0.v", "layers.1.v"]),
        (#""target_modules": ".*\\.(q|k)""#, ["layers.0.k", "layers.1.k", "layers.1.q"]),
        (#""target_modules": "all-linear""#, ["layers.1.q"]),
        (#""target_modules": ["q"], "modules_to_save": ["layers.1"]"#, []), (#""target_modules": ["layers.0.q"]"#, []),
    ]) func isNamed(_ config: String, _ expected: [String]) throws {
        for (type, tensors, shared) in [
            ("LORA", [T.tensor("model.layers.0.q.lora_A.weight", [2, 4], seed: 1), T.tensor("model.layers.0.q.lora_B.weight", [4, 2], seed: 2)],
             #""r": 2, "lora_alpha": 2"#),
            ("HRA", [T.tensor("model.layers.0.q.hra_u", [4, 2], seed: 1)], #""r": 2, "apply_GS": false"#),
            ("VERA", [
                T.tensor("model.layers.0.q.vera_lambda_b", [4], seed: 1), T.tensor("model.layers.0.q.vera_lambda_d", [2], seed: 2),
                T.tensor("vera_A", [2, 4], seed: 3), T.tensor("vera_B", [4, 2], seed: 4),
            ], #""r": 2"#),
        ] {
            let model = try SmallModel()
            let names = (0...2).flatMap { layer in ["k", "q", "v"].map { "model.layers.\(layer).\($0).weight" } }
            try model.base(
                names.map { T.tensor(ExactString($0), [4, 4], seed: 3) } + [T.tensor("model.layers.0.norm.weight", [4], seed: 4)],
                // The third layer is none of the model's: a head for further tokens.
                config: #"{"model_type": "llama", "tie_word_embeddings": false, "num_hidden_layers": 2}"#)
            try model.adapter(tensors, config: config, peftType: type, shared: shared)
            let adapter = try Adapter(path: model.directory.path("adapter"))
            let binding: Binding
            do { binding = try Binding(base: .open(model.directory.path("base")), adapters: [adapter]) } catch let error as PeftfileError {
                #expect(error.rule == "SavedModuleMissing" && expected.isEmpty)
                continue
            }
            let found = binding.targets.map { LostModules.Found(module: $0.target.module.text, tensors: $0.tensors) }
            let stored = Set(binding.changes[0].flatMap { $0.place.pieces.map(\.tensor) })
            let lost = try LostModules(
                #require(adapter.config), found: found, stored: stored, base: binding.base, storesBiases: false)?.modules
            #expect(lost.map { $0.map { String($0.dropFirst("model.".count)) } } == expected, "\(type) \(config)")
            #expect(binding.warnings.contains(where: Self.isOfIt) == !expected.isEmpty, "\(type): \(binding.warnings)")
        }
    }

    /// BEFT changes biases alone.
    @Test func ofBiases() throws {
        let model = try SmallModel()
        try model.base((0..<3).flatMap { layer in
            ["q", "k"].flatMap { name in
                [
                    T.tensor(ExactString("model.layers.\(layer).\(name).weight"), [4, 4], seed: 3),
                    T.tensor(ExactString("model.layers.\(layer).\(name).bias"), [4], seed: 4),
                ]
            } + [T.tensor(ExactString("model.layers.\(layer).norm.weight"), [4], seed: 4)]
        })
        try model.adapter(
            [T.tensor("model.layers.1.q.beft_bias", [1, 4], seed: 5)], peftType: "BEFT", shared: #""target_modules": ["q"]"#)
        let warnings = try model.binding().warnings.filter(Self.isOfIt)
        #expect(warnings.count == 1 && warnings[0].contains("2 modules") && warnings[0].contains("model.layers.0.q, model.layers.2.q"))
    }

    /// The norms of a model, trained whole.
    @Test func ofLayerNorms() throws {
        let model = try SmallModel()
        try model.base((0..<3).map { T.tensor(ExactString("model.layers.\($0).norm.weight"), [4], seed: 3) })
        try model.adapter(
            [T.tensor("model.layers.1.norm.ln_tuning_layers.weight", [4], seed: 5)], peftType: "LN_TUNING", shared: #""target_modules": ["norm"]"#)
        let warnings = try model.binding().warnings.filter(Self.isOfIt)
        #expect(warnings.count == 1 && warnings[0].contains("2 modules") && warnings[0].contains("model.layers.0.norm, model.layers.2.norm"))
    }
}
