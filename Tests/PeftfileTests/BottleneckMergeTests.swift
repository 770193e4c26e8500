import Peftfile
import TestSupport
import Testing

/// Bottleneck adapters without a non-linearity: the merged layer gives what layer and adapter gave, and everything else is
/// refused for its own reason. All numbers are small whole ones, so that every sum is exact in any order.
@Suite struct BottleneckMergeTests {
    /// A linear layer and the adapter behind it.
    struct Pair {
        let layer: String
        let adapter: String
        let inputs: Int
        var isConv1D = false
    }

    static let hidden = 6

    /// y = z + s ⊙ (U (D z + b) + c), z = W x + w: the forward pass, written down once more.
    static func forward(_ w: [Double], _ bias: [Double], _ parts: [String: [Double]], scale: [Double], x: [Double]) -> [Double] {
        let z = Plain.sum(Plain.product(w, x, hidden, x.count, 1), bias, scale: 1)
        let inner = Plain.sum(Plain.product(parts["D"] ?? [], z, 2, hidden, 1), parts["b"] ?? [], scale: 1)
        let outer = Plain.sum(Plain.product(parts["U"] ?? [], inner, hidden, 2, 1), parts["c"] ?? [], scale: 1)
        return zip(z, zip(scale, outer)).map { $0 + $1.0 * $1.1 }
    }

    static let names = [
        "adapterhub": ["D": "adapter_down.0.weight", "b": "adapter_down.0.bias", "U": "adapter_up.weight", "c": "adapter_up.bias"],
        "opendelta": [
            "D": "modulelist.down_proj.weight", "b": "modulelist.down_proj.bias", "U": "modulelist.up_proj.weight",
            "c": "modulelist.up_proj.bias",
        ],
    ]

    /// Merges the adapters behind some layers, verifies, and holds every layer against the forward pass.
    private func merge(
        _ pairs: [Pair], library: String = "adapterhub", modelType: String, config: String, weight: Double = 1,
        scaling: [Double]? = nil, stated: Double = 1
    ) throws {
        let model = try SmallModel()
        var base: [SmallTensor] = []
        var adapter: [SmallTensor] = []
        for (seed, pair) in pairs.enumerated() {
            let shape = pair.isConv1D ? [pair.inputs, Self.hidden] : [Self.hidden, pair.inputs]
            base.append(SmallModel.tensor(ExactString("\(pair.layer).weight"), shape, seed: seed, dtype: .f64))
            base.append(SmallModel.tensor(ExactString("\(pair.layer).bias"), [Self.hidden], seed: seed + 20, dtype: .f64))
            for (part, shape) in [("D", [2, Self.hidden]), ("b", [2]), ("U", [Self.hidden, 2]), ("c", [Self.hidden])] {
                let name = try #require(Self.names[library]?[part])
                adapter.append(
                    SmallModel.tensor(ExactString("\(pair.adapter).\(name)"), shape, seed: seed + 40 + name.utf8.count))
            }
            if let scaling {
                adapter.append(
                    SmallTensor(name: ExactString("\(pair.adapter).scaling"), shape: [scaling.count], values: scaling))
            }
        }
        try model.base(base, config: #"{"model_type": "\#(modelType)"}"#)
        try FileSystem.makeDirectory(model.directory.path("adapter"))
        let isHub = library == "adapterhub"
        let weights = isHub ? "adapter.safetensors" : "model.safetensors"
        try SmallTensor.write(adapter, to: model.directory.path("adapter/\(weights)"))
        try model.directory.write(config, to: "adapter/\(isHub ? "adapter_config.json" : "config.json")")
        let result = try model.merged(options: BindingOptions(weights: [weight]))

        let stored = Dictionary(uniqueKeysWithValues: (base + adapter).map { ($0.name, $0.values) })
        for pair in pairs {
            var parts: [String: [Double]] = [:]
            for (part, name) in try #require(Self.names[library]) { parts[part] = stored[ExactString("\(pair.adapter).\(name)")] }
            func held(_ values: [Double]) -> [Double] {
                pair.isConv1D ? Plain.transposed(values, pair.inputs, Self.hidden) : values
            }
            let w = held(try #require(stored[ExactString("\(pair.layer).weight")]))
            let bias = try #require(stored[ExactString("\(pair.layer).bias")])
            let factors = scaling.map { $0.count == 1 ? [Double](repeating: $0[0], count: Self.hidden) : $0 }
                ?? [Double](repeating: stated, count: Self.hidden)
            let merged = held(try result.numbers(ExactString("\(pair.layer).weight")))
            let mergedBias = try result.numbers(ExactString("\(pair.layer).bias"))
            for seed in 0..<3 {
                let x = SmallTensor.numbers(pair.inputs, seed: seed + 7)
                let wanted = Self.forward(w, bias, parts, scale: factors.map { $0 * weight }, x: x)
                let found = Plain.sum(Plain.product(merged, x, Self.hidden, pair.inputs, 1), mergedBias, scale: 1)
                #expect(found == wanted, "\(pair.layer)")
            }
        }
    }

    static func hub(_ more: String = "", function: String = "linear") -> String {
        """
        {"config": {"architecture": null, "mh_adapter": true, "output_adapter": true, "reduction_factor": 3, "dropout": 0.0,
         "non_linearity": "\(function)", "original_ln_before": false, "original_ln_after": true, "residual_before_ln": true,
         "leave_out": []\(more.isEmpty ? "" : ", \(more)")}, "hidden_size": 6, "model_type": "bert", "name": "task"}
        """
    }

    static let bert = [0, 1].flatMap { layer in
        ["attention.output", "output"].map {
            Pair(
                layer: "bert.encoder.layer.\(layer).\($0).dense", adapter: "bert.encoder.layer.\(layer).\($0).adapters.task",
                inputs: $0 == "output" ? 9 : 6)
        }
    }

    @Test func behindTheLayersOfBERT() throws { try merge(Self.bert, modelType: "bert", config: Self.hub()) }

    @Test func scalesOfEveryKind() throws {
        try merge(Self.bert, modelType: "bert", config: Self.hub(#""scaling": 4.0"#), stated: 4)
        try merge(Self.bert, modelType: "bert", config: Self.hub(#""scaling": "learned""#), scaling: [3])
        try merge(Self.bert, modelType: "bert", config: Self.hub(#""scaling": "channel""#), scaling: [1, -2, 3, 0, 5, 2])
        try merge(Self.bert, modelType: "bert", config: Self.hub(#""scaling": 2.0"#), weight: 0.5, stated: 2)
    }

    /// Conv1D layers hold (in, out): one that is not square tells by its shape, and one that is by the model's type.
    @Test(arguments: [9, 6]) func behindConv1DLayers(_ inputs: Int) throws {
        let pairs = [
            Pair(layer: "transformer.h.0.attn.c_proj", adapter: "transformer.h.0.attention_adapters.adapters.task", inputs: 6, isConv1D: true),
            Pair(layer: "transformer.h.0.mlp.c_proj", adapter: "transformer.h.0.output_adapters.adapters.task", inputs: inputs, isConv1D: true),
        ]
        try merge(pairs, modelType: "gpt2", config: Self.hub())
    }

    @Test func everyKnownPlace() throws {
        let places = [
            ("distilbert", "distilbert.transformer.layer.0", "attention_adapters", "attention.out_lin"),
            ("distilbert", "distilbert.transformer.layer.0", "output_adapters", "ffn.lin2"),
            ("bart", "model.decoder.layers.0", "cross_attention_adapters", "encoder_attn.out_proj"),
            ("bart", "model.decoder.layers.0", "attention_adapters", "self_attn.out_proj"),
            ("bart", "model.encoder.layers.0", "output_adapters", "fc2"),
            ("vit", "vit.encoder.layer.0", "attention_adapters", "attention.output.dense"),
            ("vit", "vit.encoder.layer.0.output", "output_adapters", "dense"),
            ("clip", "text_model.encoder.layers.0", "output_adapters", "mlp.fc2"),
            ("albert", "albert.encoder.albert_layer_groups.0.albert_layers.0", "output_adapters", "ffn_output"),
            ("albert", "albert.encoder.albert_layer_groups.0.albert_layers.0.attention", "attention_adapters", "dense"),
            ("gptj", "transformer.h.0", "output_adapters", "mlp.fc_out"),
            ("llama", "model.layers.0", "attention_adapters", "self_attn.o_proj"),
        ]
        for (type, block, location, layer) in places {
            let pair = Pair(layer: "\(block).\(layer)", adapter: "\(block).\(location).adapters.task", inputs: 9)
            try merge([pair], modelType: type, config: Self.hub())
        }
    }

    @Test func behindOpenDeltasModules() throws {
        let config = #"{"delta_type": "adapter", "bottleneck_dim": 2, "non_linearity": "linear", "modified_modules": ["wo"]}"#
        let pairs = (0..<2).map {
            Pair(layer: "decoder.\($0).wo", adapter: "decoder.\($0).wo.adapter", inputs: 9)
        }
        try merge(pairs, library: "opendelta", modelType: "x", config: config)
    }

    // MARK: Refusals

    private func reason(
        _ config: String, base: (inout [SmallTensor]) -> Void = { _ in }, adapter: (inout [SmallTensor]) -> Void = { _ in }
    ) throws -> String {
        let model = try SmallModel()
        var layers = ["weight", "bias"].map {
            SmallModel.tensor(ExactString("bert.encoder.layer.0.output.dense.\($0)"), $0 == "bias" ? [6] : [6, 9], seed: 1)
        }
        base(&layers)
        try model.base(layers, config: #"{"model_type": "bert"}"#)
        var parts = [("down.0.weight", [2, 6]), ("down.0.bias", [2]), ("up.weight", [6, 2]), ("up.bias", [6])].map {
            SmallModel.tensor(ExactString("bert.encoder.layer.0.output.adapters.task.adapter_\($0.0)"), $0.1, seed: 3)
        }
        adapter(&parts)
        try FileSystem.makeDirectory(model.directory.path("adapter"))
        try SmallTensor.write(parts, to: model.directory.path("adapter/adapter.safetensors"))
        try model.directory.write(config, to: "adapter/adapter_config.json")
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        return error.map { "\($0.rule ?? ""): \($0.tensor?.text ?? "") \($0.message)" } ?? ""
    }

    @Test(arguments: [
        (#""ln_before": true"#, "norm"), (#""ln_after": true"#, "norm"), (#""use_gating": true"#, "gated"),
        (#""is_parallel": true"#, "parallel"), (#""phm_layer": true"#, "Kronecker"), (#""inv_adapter": "nice""#, "invertible"),
        (#""residual_before_ln": "post_add""#, "residual_before_ln"), (#""scaling": "learned""#, "no such tensor"),
        (#""architecture": "union""#, "union"), (#""new_option": 2"#, "new_option"),
    ])
    func whatIsNotLinearIsRefused(_ option: String, _ word: String) throws {
        let key = option.prefix { $0 != ":" }
        let config = Self.hub(option).replacing(#""residual_before_ln": true,"#, with: key.contains("residual") ? "" : #""residual_before_ln": true,"#)
            .replacing(#""architecture": null,"#, with: key.contains("architecture") ? "" : #""architecture": null,"#)
        #expect(try reason(config).contains(word))
    }

    @Test func originalNormsAreRefused() throws {
        let before = Self.hub().replacing(#""original_ln_before": false"#, with: #""original_ln_before": true"#)
        #expect(try reason(before).contains("original_ln_before"))
        let after = Self.hub().replacing(#""original_ln_after": true"#, with: #""original_ln_after": false"#)
        #expect(try reason(after).contains("original_ln_after"))
        #expect(try reason(Self.hub(function: "gelu")).contains("gelu"))
    }

    @Test func basesThatDoNotFitAreRefused() throws {
        #expect(try reason(Self.hub(), base: { $0.removeLast() }).contains("not all such layers"))
        #expect(try reason(Self.hub(), base: { $0.removeAll { _ in true }; $0.append(SmallModel.tensor("a.weight", [2, 2], seed: 1)) })
            .contains("the base has 0"))
        let wide = try reason(Self.hub(), base: { $0[0].shape = [9, 9]; $0[0].values = SmallTensor.numbers(81, seed: 1) })
        #expect(wide.contains("ShapeMismatch") && wide.contains("[9, 9]"), "\(wide)")
    }

    @Test func adaptersThatAreIncompleteAreRefused() throws {
        #expect(try reason(Self.hub(), adapter: { $0.removeLast() }).contains("bias of the up-projection"))
        let crooked = try reason(Self.hub(), adapter: { $0[2].shape = [4, 3] })
        #expect(crooked.contains("PromptShape") && crooked.contains("[4, 3]") && crooked.contains("[6, 2]"), "\(crooked)")
    }

    /// What stands behind the layer sees what other adapters did to it: a sum of the two would be another model.
    @Test func noOtherAdapterMayChangeTheLayer() throws {
        let model = try SmallModel()
        let layer = "bert.encoder.layer.0.output.dense"
        try model.base(
            [SmallModel.tensor(ExactString("\(layer).weight"), [6, 9], seed: 1), SmallModel.tensor(ExactString("\(layer).bias"), [6], seed: 2)],
            config: #"{"model_type": "bert"}"#)
        let lora = [("lora_A", [2, 9]), ("lora_B", [6, 2])].map {
            SmallModel.tensor(ExactString("\(layer).\($0.0).weight"), $0.1, seed: 4)
        }
        try model.adapter(lora, name: "lora")
        try FileSystem.makeDirectory(model.directory.path("adapter"))
        let root = "bert.encoder.layer.0.output.adapters.task.adapter"
        try SmallTensor.write(
            [("down.0.weight", [2, 6]), ("down.0.bias", [2]), ("up.weight", [6, 2]), ("up.bias", [6])].map {
                SmallModel.tensor(ExactString("\(root)_\($0.0)"), $0.1, seed: 3)
            }, to: model.directory.path("adapter/adapter.safetensors"))
        try model.directory.write(Self.hub(), to: "adapter/adapter_config.json")
        #expect(model.refusal(["lora", "adapter"]) == "NotAdditive" && model.refusal(["adapter", "lora"]) == "NotAdditive")
    }
}
