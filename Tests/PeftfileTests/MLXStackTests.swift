import Peftfile
import TestSupport
import Testing

/// mlx-lm's stacks of experts onto what the Hub's files have in their place: each expert's matrix is computed here one by one, and laid into the
/// base's layout element by element.
@Suite struct MLXStackTests {
    /// How a base holds gate, up and down of all experts.
    enum Layout: Sendable {
        /// `experts.gate_up_proj` (E, 2m, h), the gate's rows first.
        case rows
        /// (E, h, 2m), the gate's columns first.
        case columns
        /// (E, h, 2m), columns of gate and up take turns.
        case turns
        /// `input_linear.weight` and `output_linear.weight`, as rows.
        case linear

        var names: (gateUp: String, down: String) {
            self == .linear ? ("input_linear.weight", "output_linear.weight") : ("experts.gate_up_proj", "experts.down_proj")
        }
    }

    struct Model: Sendable, CustomTestStringConvertible {
        let type: String
        let front: String
        let stacks: String
        let layout: Layout
        var testDescription: String { type }
    }

    static let models = [
        Model(type: "qwen3_5_moe", front: "model.layers.0.mlp", stacks: "switch_mlp", layout: .rows),
        Model(type: "gemma4_text", front: "model.layers.0", stacks: "experts.switch_glu", layout: .rows),
        Model(type: "llama4_text", front: "model.layers.0.feed_forward", stacks: "experts", layout: .columns),
        Model(type: "qwen3_vl_moe_text", front: "model.layers.0.mlp", stacks: "switch_mlp", layout: .columns),
        Model(type: "gpt_oss", front: "model.layers.0.mlp", stacks: "experts", layout: .turns),
        Model(type: "granitemoe", front: "model.layers.0.block_sparse_moe", stacks: "switch_mlp", layout: .linear),
    ]

    private static let (experts, rank) = (3, 2)
    private static let leaves = ["gate_proj", "up_proj", "down_proj"]

    /// Experts, rows and columns of a stack.
    private static func shape(_ leaf: String, _ hidden: Int, _ inner: Int) -> Shape {
        leaf == "down_proj" ? [experts, hidden, inner] : [experts, inner, hidden]
    }

    private static func values(_ shape: Shape, seed: Int) -> [Double] {
        SmallTensor.numbers(shape.reduce(1, *), seed: seed).map { $0 / 4 }
    }

    /// The stacks in the base's layout.
    private static func laid(_ stacks: [String: [Double]], _ model: Model, _ hidden: Int, _ inner: Int) -> [SmallTensor] {
        func element(_ leaf: String, _ expert: Int, _ row: Int, _ column: Int) -> Double {
            let (rows, columns) = (shape(leaf, hidden, inner)[1], shape(leaf, hidden, inner)[2])
            return (stacks[leaf] ?? [])[(expert * rows + row) * columns + column]
        }
        var (gateUp, down): ([Double], [Double]) = ([], [])
        for expert in 0..<experts {
            switch model.layout {
            case .rows, .linear:
                for row in 0..<(2 * inner) {
                    for column in 0..<hidden { gateUp.append(element(row < inner ? "gate_proj" : "up_proj", expert, row % inner, column)) }
                }
                for row in 0..<hidden { for column in 0..<inner { down.append(element("down_proj", expert, row, column)) } }
            case .columns, .turns:
                for row in 0..<hidden {
                    for column in 0..<(2 * inner) {
                        let isTurn = model.layout == .turns
                        let isGate = isTurn ? column % 2 == 0 : column < inner
                        gateUp.append(element(isGate ? "gate_proj" : "up_proj", expert, isTurn ? column / 2 : column % inner, row))
                    }
                }
                for row in 0..<inner { for column in 0..<hidden { down.append(element("down_proj", expert, column, row)) } }
            }
        }
        let isTurned = model.layout == .columns || model.layout == .turns
        return [
            SmallTensor(
                name: ExactString("\(model.front).\(model.layout.names.gateUp)"),
                shape: isTurned ? [experts, hidden, 2 * inner] : [experts, 2 * inner, hidden], values: gateUp),
            SmallTensor(
                name: ExactString("\(model.front).\(model.layout.names.down)"),
                shape: isTurned ? [experts, inner, hidden] : [experts, hidden, inner], values: down),
        ]
    }

    private let lora = #"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 3.0, "dropout": 0.0}}"#
    private let full = #"{"fine_tune_type": "full", "num_layers": 1}"#

    private struct Case {
        let base: [SmallTensor]
        let adapter: [SmallTensor]
        let expected: [SmallTensor]
    }

    /// A base, factors of some of its stacks, and what they make of it.
    private func trained(_ model: Model, _ changed: [String], _ hidden: Int, _ inner: Int) -> Case {
        var (before, after): ([String: [Double]], [String: [Double]]) = ([:], [:])
        var adapter: [SmallTensor] = []
        for (number, leaf) in Self.leaves.enumerated() {
            let shape = Self.shape(leaf, hidden, inner)
            let own = Self.values(shape, seed: 60 + number)
            (before[leaf], after[leaf]) = (own, own)
            guard changed.contains(leaf) else { continue }
            let name = "\(model.front).\(model.stacks).\(leaf)"
            let a = SmallTensor(
                name: ExactString(name + ".lora_a"), shape: [shape[0], Self.rank, shape[2]],
                values: Self.values([shape[0], Self.rank, shape[2]], seed: 10 + number))
            let b = SmallTensor(
                name: ExactString(name + ".lora_b"), shape: [shape[0], shape[1], Self.rank],
                values: Self.values([shape[0], shape[1], Self.rank], seed: 20 + number))
            adapter += [a, b]
            after[leaf] = (0..<shape[0]).flatMap { expert in
                func part(_ values: [Double]) -> [Double] {
                    let size = values.count / shape[0]
                    return Array(values[(expert * size)..<((expert + 1) * size)])
                }
                return Plain.sum(part(own), Plain.product(part(b.values), part(a.values), shape[1], Self.rank, shape[2]), scale: 3)
            }
        }
        return Case(base: Self.laid(before, model, hidden, inner), adapter: adapter, expected: Self.laid(after, model, hidden, inner))
    }

    /// Square matrices do not tell how they lie, and one of gate and up may be trained alone.
    @Test(arguments: models, [(4, 5), (4, 4), (8, 4)])
    func loraIsAddedToEachExpert(_ model: Model, _ sizes: (hidden: Int, inner: Int)) throws {
        for changed in [Self.leaves, ["gate_proj"], ["up_proj"], ["down_proj"]] {
            let own = trained(model, changed, sizes.hidden, sizes.inner)
            let dialect = try DialectModel(base: own.base, adapter: own.adapter, config: lora, baseConfig: "{\"model_type\": \"\(model.type)\"}")
            let result = try dialect.merged()
            for wanted in own.expected { #expect(try result.numbers(wanted.name) == wanted.values, "\(changed) \(wanted.name)") }
        }
    }

    @Test(arguments: models, [(4, 5), (4, 4)])
    func whatWasTrainedWholeReplacesEachExpert(_ model: Model, _ sizes: (hidden: Int, inner: Int)) throws {
        let (hidden, inner) = sizes
        func stacks(_ seed: Int) -> [String: [Double]] {
            Dictionary(uniqueKeysWithValues: Self.leaves.enumerated().map { ($1, Self.values(Self.shape($1, hidden, inner), seed: seed + $0)) })
        }
        let after = stacks(40)
        let dialect = try DialectModel(
            base: Self.laid(stacks(60), model, hidden, inner),
            adapter: Self.leaves.map {
                SmallTensor(name: ExactString("\(model.front).\(model.stacks).\($0).weight"), shape: Self.shape($0, hidden, inner), values: after[$0] ?? [])
            }, config: full, baseConfig: "{\"model_type\": \"\(model.type)\"}")
        guard model.layout != .turns else {
            #expect(dialect.refusal()?.rule == "MissingTarget" && dialect.refusal()?.message.contains("take turns") == true)
            return
        }
        let result = try dialect.merged()
        for wanted in Self.laid(after, model, hidden, inner) { #expect(try result.numbers(wanted.name) == wanted.values, "\(wanted.name)") }
    }

    /// Models whose experts the Hub's files have one by one, under names of their own.
    @Test(arguments: [
        ("dots1", "model.layers.0.mlp.experts.up_proj", "model.layers.0.mlp.experts.N.up_proj"),
        ("lfm2_moe", "model.layers.0.feed_forward.switch_mlp.up_proj", "model.layers.0.feed_forward.experts.N.w3"),
        ("phimoe", "model.layers.0.block_sparse_moe.switch_mlp.up_proj", "model.layers.0.block_sparse_moe.experts.N.w3"),
        ("nemotron_h", "backbone.layers.0.mixer.switch_mlp.fc1", "backbone.layers.0.mixer.experts.N.up_proj"),
        ("phixtral", "transformer.h.0.moe.switch_mlp.fc1", "transformer.h.0.moe.mlp.N.fc1"),
        ("kimi_linear", "model.layers.0.mlp.switch_mlp.up_proj", "model.layers.0.block_sparse_moe.experts.N.w3"),
    ])
    func expertsHaveTheModelsNames(_ type: String, _ stack: String, _ single: String) throws {
        func name(_ expert: Int) -> ExactString { ExactString(single.replacing(".N.", with: ".\(expert).") + ".weight") }
        let base = (0..<3).map { SmallModel.tensor(name($0), [5, 4], seed: 7 + $0) }
        let a = SmallModel.tensor(ExactString(stack + ".lora_a"), [3, 2, 4], seed: 4)
        let b = SmallModel.tensor(ExactString(stack + ".lora_b"), [3, 5, 2], seed: 5)
        let result = try DialectModel(base: base, adapter: [a, b], config: lora, baseConfig: "{\"model_type\": \"\(type)\"}").merged()
        let whole = SmallModel.tensor(ExactString(stack + ".weight"), [3, 5, 4], seed: 9)
        let replaced = try DialectModel(base: base, adapter: [whole], config: full, baseConfig: "{\"model_type\": \"\(type)\"}").merged()
        for expert in 0..<3 {
            let update = Plain.product(
                Array(b.values[(10 * expert)..<(10 * expert + 10)]), Array(a.values[(8 * expert)..<(8 * expert + 8)]), 5, 2, 4)
            #expect(try result.numbers(name(expert)) == Plain.sum(base[expert].values, update, scale: 3))
            #expect(try replaced.numbers(name(expert)) == Array(whole.values[(20 * expert)..<(20 * expert + 20)]))
        }
    }

    /// Modules that `sanitize` of their model renames.
    @Test(arguments: [
        ("step3p5", "model.layers.0.mlp.share_expert.up_proj", "model.layers.0.share_expert.up_proj"),
        ("bailing_moe", "model.layers.0.mlp.gate.gate_proj", "model.layers.0.mlp.gate"),
        ("granitemoehybrid", "model.layers.0.mlp.down_proj", "model.layers.0.shared_mlp.output_linear"),
    ])
    func modulesAreFoundUnderTheHubsNames(_ type: String, _ own: String, _ hub: String) throws {
        let base = SmallModel.tensor(ExactString(hub + ".weight"), [5, 4], seed: 7)
        let a = SmallModel.tensor(ExactString(own + ".lora_a"), [4, 2], seed: 4)
        let b = SmallModel.tensor(ExactString(own + ".lora_b"), [2, 5], seed: 5)
        let result = try DialectModel(base: [base], adapter: [a, b], config: lora, baseConfig: "{\"model_type\": \"\(type)\"}").merged()
        let update = Plain.transposed(Plain.product(a.values, b.values, 4, 2, 5), 4, 5)
        #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 3))
    }

    /// mlx-lm holds norms of some models with 1 added: a whole norm of its is none of the Hub's file.
    @Test(arguments: [
        ("qwen3_next", "model.layers.0.linear_attn.conv1d.weight", [6, 1, 4]), ("qwen3_5_text", "model.layers.0.linear_attn.conv1d.weight", [6, 1, 4]),
        ("step3p5", "model.layers.0.moe.up_proj.weight", [2, 3, 4]),
    ] as [(String, String, Shape)])
    func shiftedNormsAreRefused(_ type: String, _ mark: String, _ shape: Shape) throws {
        let norm = SmallModel.tensor("model.layers.0.input_layernorm.weight", [4], seed: 1)
        let trained = SmallModel.tensor(norm.name, [4], seed: 2)
        let config = "{\"model_type\": \"\(type)\"}"
        let hub = try DialectModel(base: [norm, SmallModel.tensor(ExactString(mark), shape, seed: 3)], adapter: [trained], config: full, baseConfig: config)
        #expect(hub.refusal()?.rule == "MissingTarget" && hub.refusal()?.message.contains("1 added") == true)
        // As mlx-lm saves the base it is the same norm.
        let own = type == "step3p5"
            ? SmallModel.tensor("model.layers.0.mlp.switch_mlp.up_proj.weight", shape, seed: 3) : SmallModel.tensor(ExactString(mark), [6, 4, 1], seed: 3)
        let result = try DialectModel(base: [norm, own], adapter: [trained], config: full, baseConfig: config).merged()
        #expect(try result.numbers(norm.name) == trained.values)
    }

    /// Written for PEFT, the factors have the same update, whatever the base's layout.
    @Test(arguments: [models[0], models[1], models[3], models[4], models[5]], [(4, 5), (4, 4), (8, 4)])
    func wrappersOfPEFTMakeTheSameUpdate(_ model: Model, _ sizes: (hidden: Int, inner: Int)) throws {
        for changed in [Self.leaves, ["up_proj"], ["down_proj"]] {
            let own = trained(model, changed, sizes.hidden, sizes.inner)
            let dialect = try DialectModel(base: own.base, adapter: own.adapter, config: lora, baseConfig: "{\"model_type\": \"\(model.type)\"}")
            func path(_ name: String) -> String { dialect.directory.path(name) }
            let conversion = try AdapterConversion(Adapter(path: path("adapter")), to: .peft, base: .open(path("base")))
            _ = try ConversionExecutor(conversion: conversion, target: path("peft")).run()
            let binding = try Binding(base: .open(path("base")), adapters: [Adapter(path: path("peft"))])
            _ = try PlanExecutor(plan: .merge(binding), target: path("out")).run()
            let result = try Checkpoint.open(path("out"))
            for wanted in own.expected { #expect(try result.numbers(wanted.name) == wanted.values, "\(changed) \(wanted.name)") }
        }
    }

    /// PEFT has the same as wrappers of the parameters; PEFT 0.21.2 computes from the file what mlx-lm's `fuse` gives.
    @Test func gptOssBecomesWrappersOfPEFT() throws {
        let (directory, folder) = (try TemporaryDirectory(), Fixtures.path("dialects/mlx-gpt-oss"))
        let adapter = directory.path("peft")
        let converted = try Tool.run(["convert", "\(folder)/adapter", "--to", "peft", "--base", "\(folder)/base", "-o", adapter])
        #expect(converted.status == 0, "\(converted.errors)")
        #expect(try Tool.run(["verify", adapter]).status == 0)
        let names = Set(try Checkpoint.open(adapter).tensors.map(\.name.text))
        let experts = "base_model.model.model.layers.1.mlp.experts."
        #expect(names.isSuperset(of: [
            experts + "lora_A.weight", experts + "lora_B.weight", experts + "base_layer.lora_A.weight", experts + "base_layer.lora_B.weight",
        ]))
        let config = try JSONValue.parse(TestFile.bytes("\(adapter)/adapter_config.json"), file: nil)
        #expect(config["target_parameters"]?.arrayValue?.count == 2 && config["peft_version"]?.stringValue == "0.19.1")
        let merged = try Tool.run(["merge", "\(folder)/base", adapter, "-o", directory.path("out")])
        #expect(merged.status == 0, "\(merged.errors)")
        let (result, expected) = try (Checkpoint.open(directory.path("out")), Checkpoint.open("\(folder)/expected/merged.safetensors"))
        for tensor in expected.tensors { #expect(try result.numbers(tensor.name) == expected.numbers(tensor.name), "\(tensor.name)") }
        let other = try Tool.run(["convert", "\(folder)/adapter", "--to", "mlx", "--base", "\(folder)/base", "-o", directory.path("mlx")])
        #expect(other.status == 2 && other.errors.contains("NotConvertible"), "\(other.errors)")
    }

    /// PEFT turns the factors of llama4's experts round.
    @Test func whatPEFTHoldsOtherwiseIsNotConverted() throws {
        let model = Self.models[2]
        let own = trained(model, Self.leaves, 4, 5)
        let dialect = try DialectModel(base: own.base, adapter: own.adapter, config: lora, baseConfig: "{\"model_type\": \"\(model.type)\"}")
        func path(_ name: String) -> String { dialect.directory.path(name) }
        let result = try Tool.run(["convert", path("adapter"), "--to", "peft", "--base", path("base"), "-o", path("peft")])
        #expect(result.status == 2 && result.errors.contains("NotConvertible"), "\(result.errors)")
    }
}
