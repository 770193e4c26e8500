import Peftfile
import TestSupport
import Testing

/// torchtune, loralib and AdapterHub against plain loops, and what needs an option to be told.
@Suite struct OtherDialectTests {
    private let config = #"{"model_type": "llama", "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": false}"#

    @Test func torchtunesQueriesAreTurnedByHeads() throws {
        let base = SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [8, 3], seed: 1)
        let mlp = SmallModel.tensor("model.layers.0.mlp.gate_proj.weight", [5, 3], seed: 2)
        let adapter = [
            SmallModel.tensor("layers.0.attn.q_proj.lora_a.weight", [2, 3], seed: 3),
            SmallModel.tensor("layers.0.attn.q_proj.lora_b.weight", [8, 2], seed: 4),
            SmallModel.tensor("layers.0.mlp.w1.lora_a.weight", [2, 3], seed: 5),
            SmallModel.tensor("layers.0.mlp.w1.lora_b.weight", [5, 2], seed: 6),
        ]
        let model = try DialectModel(
            base: [base, mlp], adapter: adapter,
            config: #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "gate_proj"]}"#, baseConfig: config)
        let result = try model.merged()
        // view(heads, d/2, 2, r).transpose(1, 2): row h·4 + g·2 + i comes from h·4 + 2i + g.
        let b = (0..<8).flatMap { row in
            let (h, g, i) = (row / 4, row % 4 / 2, row % 2)
            let source = h * 4 + 2 * i + g
            return Array(adapter[1].values[(2 * source)..<(2 * source + 2)])
        }
        let update = Plain.product(b, adapter[0].values, 8, 2, 3)
        #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 2))
        let other = Plain.product(adapter[3].values, adapter[2].values, 5, 2, 3)
        #expect(try result.numbers(mlp.name) == Plain.sum(mlp.values, other, scale: 2))

        let bare = try DialectModel(base: [base, mlp], adapter: adapter, baseConfig: config)
        #expect(bare.refusal()?.rule == "ScaleMissing" && bare.refusal()?.help?.contains("--scale") == true)
        let blind = try DialectModel(base: [base, mlp], adapter: adapter)
        #expect(blind.refusal(BindingOptions(scale: 2))?.rule == "HeadsUnknown")
    }

    /// DoRA's magnitude stands in torchtune's order of rows, as B does: W' = m·(W + s·B·A) / ‖W + s·B·A‖ by rows, with both turned.
    @Test(arguments: [("q", 2), ("k", 1)]) func torchtunesMagnitudesAreTurnedByHeads(_ letter: String, _ heads: Int) throws {
        let rows = 4 * heads
        let base = SmallModel.tensor(ExactString("model.layers.0.self_attn.\(letter)_proj.weight"), [rows, 3], seed: 1)
        let magnitude = (0..<rows).map { Double($0 + 1) }
        let adapter = [
            SmallModel.tensor(ExactString("layers.0.attn.\(letter)_proj.lora_a.weight"), [2, 3], seed: 3),
            SmallModel.tensor(ExactString("layers.0.attn.\(letter)_proj.lora_b.weight"), [rows, 2], seed: 4),
            SmallTensor(name: ExactString("layers.0.attn.\(letter)_proj.magnitude"), shape: [rows], values: magnitude),
        ]
        let model = try DialectModel(
            base: [base], adapter: adapter,
            config: #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": true, "target_modules": ["\#(letter)_proj"]}"#,
            baseConfig: config)
        func source(_ row: Int) -> Int { row / 4 * 4 + 2 * (row % 2) + row % 4 / 2 }
        let b = (0..<rows).flatMap { Array(adapter[1].values[(2 * source($0))..<(2 * source($0) + 2)]) }
        let changed = Plain.sum(base.values, Plain.product(b, adapter[0].values, rows, 2, 3), scale: 2)
        let expected = (0..<rows).flatMap { row -> [Double] in
            let own = changed[(3 * row)..<(3 * row + 3)]
            let norm = own.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return own.map { magnitude[source(row)] / norm * $0 }
        }
        #expect(try isClose(model.merged().numbers(base.name), expected))
        let conversion = try AdapterConversion(
            Adapter(path: model.directory.path("adapter/adapters.safetensors")), to: .peft, base: .open(model.directory.path("base")))
        _ = try ConversionExecutor(conversion: conversion, target: model.directory.path("peft")).run()
        let written = try Checkpoint.open(model.directory.path("peft/adapter_model.safetensors"))
        let module = "base_model.model.model.layers.0.self_attn.\(letter)_proj"
        #expect(try written.numbers(ExactString("\(module).lora_magnitude_vector")) == (0..<rows).map { magnitude[source($0)] })
        #expect(try written.numbers(ExactString("\(module).lora_B.weight")) == b)
    }

    /// torchtune's own file of an epoch, beside the config that it writes for PEFT.
    @Test func aDirectoryOfTorchtunesIsAnAdapter() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("a.safetensors")
        try SmallTensor.write(
            [
                SmallModel.tensor("layers.0.mlp.w1.lora_a.weight", [2, 3], seed: 5),
                SmallModel.tensor("layers.0.mlp.w1.lora_b.weight", [5, 2], seed: 6),
            ], to: path)
        try FileSystem.makeDirectory(directory.path("run"))
        try directory.write(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["gate_proj"]}"#, to: "run/adapter_config.json")
        try TorchInputTests.convert(path, to: directory.path("run/adapter_0.pt"), .plain)
        let adapter = try Adapter(path: directory.path("run"))
        #expect(adapter.dialectName == "torchtune")
        #expect(try adapter.targets().map(\.module.text) == ["model.layers.0.mlp.gate_proj"] && adapter.targets().map(\.scale) == [2])
        try TorchInputTests.convert(path, to: directory.path("run/adapter_1.pt"), .plain)
        let error = #expect(throws: PeftfileError.self) { try Adapter(path: directory.path("run")) }
        #expect(error?.rule == "SeveralAdapters" && error?.help?.contains("adapter_1.pt") == true)
    }

    private let fused = SmallModel.tensor("attn.qkv.weight", [9, 4], seed: 1)
    private let a = SmallModel.tensor("attn.qkv.lora_A", [4, 4], seed: 2)
    private let b = SmallModel.tensor("attn.qkv.lora_B", [6, 2], seed: 3)

    /// Two parts of three: the first and the last.
    private var update: [Double] {
        let first = Plain.product(Array(b.values[0..<6]), Array(a.values[0..<8]), 3, 2, 4)
        let last = Plain.product(Array(b.values[6..<12]), Array(a.values[8..<16]), 3, 2, 4)
        return first + [Double](repeating: 0, count: 12) + last
    }

    @Test func mergedLinearNeedsToKnowItsParts() throws {
        let model = try DialectModel(base: [fused], adapter: [a, b])
        #expect(model.refusal()?.rule == "ScaleMissing")
        var options = BindingOptions(scale: 3)
        let error = model.refusal(options)
        #expect(error?.rule == "EnableLoRA" && error?.help?.contains("--enable-lora") == true)
        options.enableLoRA = [true, true, true]
        #expect(model.refusal(options)?.rule == "EnableLoRA")
        options.enableLoRA = [true, false, true]
        #expect(try model.merged(options).numbers(fused.name) == Plain.sum(fused.values, update, scale: 3))
    }

    @Test func adapterHubSaysWhichPartsAreAdapted() throws {
        func named(_ tensor: SmallTensor, _ name: ExactString) -> SmallTensor {
            SmallTensor(name: name, shape: tensor.shape, values: tensor.values)
        }
        let adapter = [named(a, "attn.qkv.loras.mine.lora_A"), named(b, "attn.qkv.loras.mine.lora_B")]
        func config(_ more: String) -> String {
            #"{"config": {"architecture": "lora", "alpha": 6, "r": 2, "attn_matrices": ["q", "v"]\#(more)}, "name": "mine"}"#
        }
        let model = try DialectModel(base: [fused], adapter: adapter, config: config(""))
        #expect(try model.merged().numbers(fused.name) == Plain.sum(fused.values, update, scale: 3))
        let gated = try DialectModel(base: [fused], adapter: adapter, config: config(#", "use_gating": true"#))
        #expect(gated.refusal()?.rule == "MethodUnsupported")
    }

    /// `adapter_config.json` as adapters 1.x writes it, and a layer that is not fused: one LoRA, whatever `attn_matrices` says.
    /// Versions as `_fix_backward_compat` of adapters 1.3.0 judged them, with the scale that it gave: before 1.1.0 alpha is r.
    @Test(arguments: [
        ("adapters.1.2.0", 4), ("adapters.1.1.0", 4), ("adapters.1.1", 4), ("adapters.1.1.0.post1", 4), ("adapters.1.10.0", 4),
        ("0.2.0", 4), ("3.2.1", 4), ("adapters.1.0.1", 1), ("adapters.1.0", 1), ("adapters.1", 1), ("adapters.0.1.2", 1),
        ("adapters.1.1.0.dev0", 1), ("adapters.1.1.0rc1", 1),
    ])
    func adapterHubsPlainLayersAreMerged(_ version: String, _ scale: Double) throws {
        let base = SmallModel.tensor("encoder.layer.0.attention.self.query.weight", [5, 4], seed: 1)
        let adapter = [
            SmallModel.tensor("encoder.layer.0.attention.self.query.loras.mine.lora_A", [2, 4], seed: 2),
            SmallModel.tensor("encoder.layer.0.attention.self.query.loras.mine.lora_B", [5, 2], seed: 3),
        ]
        let config = #"""
            {"config": {"architecture": "lora", "alpha": 8, "attn_matrices": ["q", "v"], "composition_mode": "add", "dropout": 0.0,
            "dtype": null, "init_weights": "lora", "intermediate_lora": false, "leave_out": [], "output_lora": false, "r": 2,
            "selfattn_lora": true, "use_gating": false, "vera_b": null, "vera_d": null}, "config_id": "625403edad0bf919",
            "hidden_size": 4, "model_class": "BertAdapterModel", "model_name": "bert", "model_type": "bert", "name": "mine",
            "version": "\#(version)"}
            """#
        let model = try DialectModel(base: [base], adapter: adapter, config: config, baseConfig: #"{"model_type": "bert"}"#)
        let update = Plain.product(adapter[1].values, adapter[0].values, 5, 2, 4)
        #expect(try model.merged().numbers(base.name) == Plain.sum(base.values, update, scale: scale))
        #expect(try model.binding().warnings.contains { $0.contains("before 1.1.0") } == (scale == 1))
    }

    @Test func anAdapterHubVersionThatIsNoneIsRefused() throws {
        let name: ExactString = "a.loras.mine.lora_A"
        let model = try DialectModel(
            base: [SmallModel.tensor("a.weight", [5, 4], seed: 1)],
            adapter: [SmallModel.tensor(name, [2, 4], seed: 2), SmallModel.tensor("a.loras.mine.lora_B", [5, 2], seed: 3)],
            config: #"{"config": {"architecture": "lora", "alpha": 8, "r": 2, "attn_matrices": []}, "name": "mine", "version": "adapters.x"}"#)
        #expect(model.refusal()?.rule == "AlphaMissing")
    }

    @Test func unslothsExpertsNeedTheirOrder() throws {
        let model = try SmallModel()
        let base = SmallModel.tensor("model.layers.0.mlp.experts.down_proj", [2, 3, 5], seed: 1)
        try model.base([base], config: #"{"model_type": "qwen3_moe"}"#)
        let a = SmallModel.tensor("model.layers.0.mlp.experts.lora_A.weight", [4, 5], seed: 2)
        let b = SmallModel.tensor("model.layers.0.mlp.experts.lora_B.weight", [3, 4], seed: 3)
        try model.adapter(
            [a, b],
            config: #""target_parameters": ["mlp.experts.down_proj"], "peft_version": "0.19.1", "auto_mapping": {"unsloth_fixed": true}"#)
        #expect(model.refusal() == "ExpertOrder")
        let undecided = #expect(throws: PeftfileError.self) {
            _ = try AdapterConversion(Adapter(path: model.directory.path("adapter")), to: .peft)
        }
        #expect(undecided?.rule == "ExpertOrder")
        for order in BindingOptions.ExpertOrder.allCases {
            var options = BindingOptions()
            options.expertOrder = order
            let result = try model.merged(options: options, as: order.rawValue)
            var update: [Double] = []
            for expert in 0..<2 {
                var own: [Double] = []
                for row in 0..<3 {
                    for k in 0..<2 { own.append(b.values[row * 4 + (order == .rankMajor ? k * 2 + expert : expert * 2 + k)]) }
                }
                update += Plain.product(own, Array(a.values[(expert * 10)..<(expert * 10 + 10)]), 3, 2, 5)
            }
            #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 3))
            // Converted, the order is settled: PEFT's, without the mark.
            let source = try Adapter(path: model.directory.path("adapter"))
            let conversion = try AdapterConversion(source, to: .peft, options: ConversionOptions(binding: options))
            let name = "settled-\(order.rawValue)"
            _ = try ConversionExecutor(conversion: conversion, target: model.directory.path(name)).run()
            let settled = try model.merged([name], as: "merged-\(name)")
            #expect(try settled.numbers(base.name) == Plain.sum(base.values, update, scale: 3))
            let written = try Adapter(path: model.directory.path(name))
            #expect(try ConversionComparison(source: source, result: written, reading: .init(binding: options)).isEquivalent)
            var other = options
            other.expertOrder = order == .rankMajor ? .expertMajor : .rankMajor
            #expect(try !ConversionComparison(source: source, result: written, reading: .init(binding: other)).isEquivalent)
        }
    }
}
