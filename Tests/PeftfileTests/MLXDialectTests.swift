import Peftfile
import TestSupport
import Testing

/// MLX's layouts that no fixture has.
@Suite struct MLXDialectTests {
    private let config = #"{"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 2, "scale": 3.0, "dropout": 0.0}}"#

    @Test func embeddingsAreTurned() throws {
        let base = SmallModel.tensor("model.embed_tokens.weight", [5, 4], seed: 1)
        let a = SmallModel.tensor("model.embed_tokens.lora_a", [5, 2], seed: 2)
        let b = SmallModel.tensor("model.embed_tokens.lora_b", [2, 4], seed: 3)
        let result = try DialectModel(
            base: [base], adapter: [a, b], config: config,
            baseConfig: #"{"model_type": "llama", "tie_word_embeddings": false}"#).merged()
        let update = Plain.product(a.values, b.values, 5, 2, 4)
        #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 3))
    }

    private let tied = #"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": true}"#

    /// The head is computed by the embedding (`LoRAEmbedding.as_linear`), so that one tensor stands for both.
    @Test func aTiedHeadMovesWithItsEmbedding() throws {
        let base = [SmallModel.tensor("model.embed_tokens.weight", [5, 4], seed: 1), SmallModel.tensor("model.norm.weight", [4], seed: 9)]
        let a = SmallModel.tensor("model.embed_tokens.lora_a", [5, 2], seed: 2)
        let b = SmallModel.tensor("model.embed_tokens.lora_b", [2, 4], seed: 3)
        let model = try DialectModel(base: base, adapter: [a, b], config: config, baseConfig: tied)
        for tie in [BindingOptions.Tie.break, .keep] {
            var options = BindingOptions()
            options.tie = tie
            let result = try model.merged(options)
            #expect(result.tensors.count == 2 && result.config?["tie_word_embeddings"]?.boolValue == true)
            #expect(try result.numbers(base[0].name) == Plain.sum(base[0].values, Plain.product(a.values, b.values, 5, 2, 4), scale: 3))
        }
        // In PEFT the embedding alone would move.
        let converted = try Tool.run([
            "convert", model.directory.path("adapter"), "--to", "peft", "--base", model.directory.path("base"), "-o", model.directory.path("peft"),
        ])
        #expect(converted.status == 2 && converted.errors.contains("NotConvertible"), "\(converted.errors)")
    }

    /// And the other way: what PEFT trained of a tied embedding does not move the head.
    @Test func anEmbeddingOfPEFTIsNoneOfMLXWhereTheHeadIsTied() throws {
        let prefix = "base_model.model.model.embed_tokens.lora_embedding_"
        let pair = [SmallModel.tensor(ExactString(prefix + "A"), [2, 5], seed: 2), SmallModel.tensor(ExactString(prefix + "B"), [4, 2], seed: 3)]
        let base = [SmallModel.tensor("model.embed_tokens.weight", [5, 4], seed: 1), SmallModel.tensor("model.norm.weight", [4], seed: 9)]
        let peft = #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["embed_tokens"]}"#
        for (flags, status) in [(tied, 2), (tied.replacing("true", with: "false"), 0)] {
            let model = try DialectModel(base: base, adapter: [], config: peft, baseConfig: flags)
            try SmallTensor.write(pair, to: model.directory.path("adapter/adapter_model.safetensors"))
            try FileSystem.remove(model.directory.path("adapter/adapters.safetensors"))
            let result = try Tool.run([
                "convert", model.directory.path("adapter"), "--to", "mlx", "--base", model.directory.path("base"), "-o", model.directory.path("mlx"),
            ])
            #expect(Int(result.status) == status, "\(result.errors)")
        }
    }

    /// `DoRAEmbedding.set_embedding`: one magnitude for each row of the vocabulary, square or not.
    @Test(arguments: [5, 4]) func anEmbeddingsMagnitudesAreOfItsRows(vocabulary: Int) throws {
        let base = SmallModel.tensor("model.embed_tokens.weight", [vocabulary, 4], seed: 1)
        let a = SmallModel.tensor("model.embed_tokens.lora_a", [vocabulary, 2], seed: 2)
        let b = SmallModel.tensor("model.embed_tokens.lora_b", [2, 4], seed: 3)
        let m = SmallModel.tensor("model.embed_tokens.m", [vocabulary], seed: 4)
        let model = try DialectModel(
            base: [base], adapter: [a, b, m], config: config.replacing("\"lora\"", with: "\"dora\""),
            baseConfig: tied.replacing("true", with: "false"))
        let moved = Plain.sum(base.values, Plain.product(a.values, b.values, vocabulary, 2, 4), scale: 3)
        let wanted = (0..<vocabulary).flatMap { row in
            let line = moved[(4 * row)..<(4 * row + 4)]
            return line.map { m.values[row] * $0 / line.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        }
        #expect(isClose(try model.merged().numbers(base.name), wanted))
        let converted = try Tool.run([
            "convert", model.directory.path("adapter"), "--to", "peft", "--base", model.directory.path("base"), "-o", model.directory.path("peft"),
        ])
        #expect(converted.status == 2 && converted.errors.contains("one for each row"), "\(converted.errors)")
    }

    /// Where updates are not compared as numbers the config decides, and of MLX' config its scale.
    @Test(arguments: [("3.0", 0), ("4.0", 1)]) func theTrainersArgumentsMakeNoOtherAdapter(scale: String, status: Int32) throws {
        let norm = SmallModel.tensor("model.norm.weight", [4], seed: 6)
        let trained = config.replacing("\"num_layers\": 2", with: "\"num_layers\": 4, \"iters\": 100").replacing("3.0", with: scale)
        let models = try [config, trained].map { try DialectModel(base: [norm], adapter: [a, b], config: $0) }
        let result = try Tool.run(["diff"] + models.map { $0.directory.path("adapter") })
        #expect(result.status == status, "\(result.output)")
    }

    private let experts = 3
    private let a = SmallModel.tensor("model.layers.0.mlp.switch_mlp.up_proj.lora_a", [3, 2, 4], seed: 4)
    private let b = SmallModel.tensor("model.layers.0.mlp.switch_mlp.up_proj.lora_b", [3, 5, 2], seed: 5)

    private func update(_ expert: Int) -> [Double] {
        Plain.product(
            Array(b.values[(10 * expert)..<(10 * expert + 10)]), Array(a.values[(8 * expert)..<(8 * expert + 8)]), 5, 2, 4)
    }

    @Test func switchLayersInMLXsOwnBase() throws {
        let base = SmallModel.tensor("model.layers.0.mlp.switch_mlp.up_proj.weight", [3, 5, 4], seed: 6)
        let result = try DialectModel(base: [base], adapter: [a, b], config: config).merged()
        let wanted = Plain.sum(base.values, (0..<3).flatMap(update), scale: 3)
        #expect(try result.numbers(base.name) == wanted)
    }

    /// A square matrix does not tell how it lies, and mlx-lm's never lie the other way round, whatever PEFT does with stacks of the model.
    @Test(arguments: ["qwen3_moe", "gpt_oss", ""], ["mlp.switch_mlp", "mlp.experts"])
    func squareSwitchLayersAreNotTurned(_ type: String, _ path: String) throws {
        let front = "model.layers.0.\(path).up_proj"
        let base = SmallModel.tensor(ExactString("\(front).weight"), [3, 4, 4], seed: 6)
        let a = SmallModel.tensor(ExactString("\(front).lora_a"), [3, 2, 4], seed: 4)
        let b = SmallModel.tensor(ExactString("\(front).lora_b"), [3, 4, 2], seed: 5)
        let result = try DialectModel(
            base: [base], adapter: [a, b], config: config, baseConfig: type.isEmpty ? nil : "{\"model_type\": \"\(type)\"}"
        ).merged()
        var updates: [Double] = []
        for expert in 0..<3 {
            let range = (8 * expert)..<(8 * expert + 8)
            updates += Plain.product(Array(b.values[range]), Array(a.values[range]), 4, 2, 4)
        }
        #expect(try result.numbers(base.name) == Plain.sum(base.values, updates, scale: 3))
    }

    @Test func switchLayersInABaseWithOneMatrixForEachExpert() throws {
        let base = (0..<3).map { SmallModel.tensor(ExactString("model.layers.0.mlp.experts.\($0).up_proj.weight"), [5, 4], seed: 7 + $0) }
        let result = try DialectModel(
            base: base, adapter: [a, b], config: config, baseConfig: #"{"model_type": "qwen3_moe"}"#).merged()
        for (expert, tensor) in base.enumerated() {
            #expect(try result.numbers(tensor.name) == Plain.sum(tensor.values, update(expert), scale: 3))
        }
    }

    /// Three experts of rank 2 are no matrix of rank 6.
    @Test func aStackThatCannotBeConvertedIsSaidToBeOne() throws {
        let model = try DialectModel(base: [SmallModel.tensor("model.norm.weight", [4], seed: 6)], adapter: [a, b], config: config)
        let result = try Tool.run(["convert", model.directory.path("adapter"), "--to", "peft", "-o", model.directory.path("peft")])
        #expect(result.status == 2 && result.errors.contains("3 experts of rank 2") && !result.errors.contains("rank 6"), "\(result.errors)")
    }

    @Test func fullFineTuningReplaces() throws {
        let base = SmallModel.tensor("model.layers.0.mlp.up_proj.weight", [5, 4], seed: 1)
        let trained = SmallModel.tensor("model.layers.0.mlp.up_proj.weight", [5, 4], seed: 2)
        let result = try DialectModel(base: [base], adapter: [trained], config: #"{"fine_tune_type": "full", "num_layers": 1}"#)
            .merged()
        #expect(try result.numbers(base.name) == trained.values)
    }

    /// mlx-lm's Mixtral has the experts of a layer in stacks, and the Hub's each apart under names of its own.
    @Test func fullFineTuningOfStacksReplacesEachExpert() throws {
        let front = "model.layers.0.block_sparse_moe."
        let shapes: [(String, String, Shape)] = [("gate_proj", "w1", [5, 4]), ("down_proj", "w2", [4, 5]), ("up_proj", "w3", [5, 4])]
        let base = shapes.flatMap { part in
            (0..<3).map { SmallModel.tensor(ExactString("\(front)experts.\($0).\(part.1).weight"), part.2, seed: 7 + $0) }
        } + [SmallModel.tensor(ExactString(front + "gate.weight"), [3, 4], seed: 2)]
        let trained = shapes.enumerated().map { number, part in
            SmallModel.tensor(ExactString("\(front)switch_mlp.\(part.0).weight"), [3] + part.2, seed: 20 + number)
        }
        let result = try DialectModel(
            base: base, adapter: trained, config: #"{"fine_tune_type": "full", "num_layers": 1}"#, baseConfig: #"{"model_type": "mixtral"}"#).merged()
        for (number, part) in shapes.enumerated() {
            for expert in 0..<3 {
                let values = trained[number].values[(20 * expert)..<(20 * expert + 20)]
                #expect(try result.numbers(ExactString("\(front)experts.\(expert).\(part.1).weight")) == Array(values))
            }
        }
        // A base that MLX made takes the stacks as they are.
        let own = try DialectModel(
            base: trained.map { SmallModel.tensor($0.name, $0.shape, seed: 1) }, adapter: trained, config: #"{"fine_tune_type": "full", "num_layers": 1}"#,
            baseConfig: #"{"model_type": "mixtral"}"#).merged()
        for tensor in trained { #expect(try own.numbers(tensor.name) == tensor.values) }
    }

    @Test func withoutAScaleTheOptionIsNamed() throws {
        let base = SmallModel.tensor("layer.weight", [4, 5], seed: 1)
        let pair = [SmallModel.tensor("layer.lora_a", [5, 2], seed: 2), SmallModel.tensor("layer.lora_b", [2, 4], seed: 3)]
        let model = try DialectModel(base: [base], adapter: pair)
        #expect(model.refusal()?.rule == "ScaleMissing")
        #expect(model.refusal()?.help?.contains("--scale") == true)
        let result = try model.merged(BindingOptions(scale: 2))
        let update = Plain.transposed(Plain.product(pair[0].values, pair[1].values, 5, 2, 4), 5, 4)
        #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 2))
    }

    @Test func anUnknownParameterIsRefused() throws {
        let base = SmallModel.tensor("layer.weight", [4, 5], seed: 1)
        let pair = [SmallModel.tensor("layer.lora_a", [5, 2], seed: 2), SmallModel.tensor("layer.lora_b", [2, 4], seed: 3)]
        let model = try DialectModel(
            base: [base], adapter: pair,
            config: #"{"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 3.0, "gamma": 1}}"#)
        #expect(model.refusal()?.rule == "UnknownConfigKey")
    }
}
