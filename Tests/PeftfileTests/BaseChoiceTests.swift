import Peftfile
import TestSupport
import Testing

/// What an adapter leaves to the base, where the base leaves it open.
@Suite struct BaseChoiceTests {
    private typealias T = SmallTensor

    private func supertuned(_ base: [Double], count: Int) throws -> SmallModel {
        let model = try SmallModel()
        try model.base([T(name: "q_proj.weight", shape: [2, 4], values: base)])
        try model.adapter(
            [T(name: "q_proj.supertuning_values", shape: [count], values: (0..<count).map { Double(100 * ($0 + 1)) })],
            peftType: "SUPERTUNING",
            shared: #""r": null, "sparsity": \#(1 - Double(count) / 8), "save_precomputed_indices": false, "target_modules": ["q_proj"]"#)
        return model
    }

    /// The largest magnitude takes the first value, whatever its sign.
    @Test func supertuningGoesByMagnitude() throws {
        let merged = try supertuned([1, -8, 3, 4, -5, 6, 7, 2], count: 2).merged()
        #expect(try merged.numbers("q_proj.weight") == [1, 92, 3, 4, -5, 6, 207, 2])
    }

    /// Equal magnitudes among the largest, or at their border, have no order; equal ones behind them do not matter.
    @Test func equalMagnitudesAreRefused() throws {
        #expect(try supertuned([1, -8, 3, 4, -5, 6, 8, 2], count: 2).refusal() == "IndicesMissing")
        #expect(try supertuned([1, -8, 3, 4, -5, 7, 7, 2], count: 2).refusal() == "IndicesMissing")
        #expect(try supertuned([1, -8, 3, 3, -3, 6, 7, 1], count: 2).refusal() == nil)
    }

    /// Layers that the base lacks are named, and those that it has.
    @Test func layersThatAreNotThereAreNotReplicated() throws {
        let model = try SmallModel()
        try model.base(
            [0, 1, 3].map { T(name: ExactString("model.layers.\($0).q.weight"), shape: [4, 4], values: SmallTensor.numbers(16, seed: $0)) },
            config: #"{"model_type": "llama", "num_hidden_layers": 4, "tie_word_embeddings": false}"#)
        try model.adapter(
            [
                T(name: "model.layers.2.q.lora_A.weight", shape: [2, 4], values: SmallTensor.numbers(8, seed: 4)),
                T(name: "model.layers.2.q.lora_B.weight", shape: [4, 2], values: SmallTensor.numbers(8, seed: 5)),
            ], config: #""layer_replication": [[0, 3], [2, 5]]"#)
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "LayerReplication")
        #expect(
            error?.message == "layer_replication copies layers 2, 4, and the base has no tensors of them: its layers are 0 to 1, 3")
    }
}
