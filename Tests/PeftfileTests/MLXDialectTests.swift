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
