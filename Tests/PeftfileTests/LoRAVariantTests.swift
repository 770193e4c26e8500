import Peftfile
import TestSupport
import Testing

/// Forms of LoRA that no fixture of the library shows, against formulas written down here.
@Suite struct LoRAVariantTests {
    private typealias T = SmallModel

    /// lora_alpha / r of every model here.
    private let scale = 3.0

    @Test func conv3dWithAndWithoutMagnitude() throws {
        for usesDoRA in [false, true] {
            let model = try SmallModel()
            let shape = [4, 3, 2, 1, 2]
            try model.base([T.tensor("proj.weight", shape, seed: 1)])
            var tensors = [
                T.tensor("proj.lora_A.weight", [2, 3, 2, 1, 2], seed: 2),
                T.tensor("proj.lora_B.weight", [4, 2, 1, 1, 1], seed: 3),
            ]
            if usesDoRA { tensors.append(T.tensor("proj.lora_magnitude_vector", [1, 4, 1, 1, 1], seed: 4)) }
            try model.adapter(tensors, config: #""use_dora": \#(usesDoRA)"#)
            let result = try model.merged().numbers("proj.weight")
            let update = Plain.product(
                SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(24, seed: 2), 4, 2, 12)
            var expected = Plain.sum(SmallTensor.numbers(48, seed: 1), update, scale: scale)
            if usesDoRA {
                let magnitude = SmallTensor.numbers(4, seed: 4)
                for row in 0..<4 {
                    let norm = expected[(row * 12)..<((row + 1) * 12)].reduce(0) { $0 + $1 * $1 }.squareRoot()
                    for column in 0..<12 { expected[row * 12 + column] *= magnitude[row] / norm }
                }
            }
            for (a, b) in zip(result, expected) { #expect((a - b).magnitude <= 1e-6 * max(1, b.magnitude)) }
        }
    }

    @Test func anAdapterUnderAnotherNameIsFoundInItsSubdirectory() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        let pair = [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)]
        try model.adapter(pair, name: "run/french")
        let update = Plain.product(SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(8, seed: 2), 4, 2, 4)
        let expected = Plain.sum(SmallTensor.numbers(16, seed: 1), update, scale: scale)
        #expect(try model.merged(["run"]).numbers("q.weight") == expected)
        try model.adapter(pair, name: "run/german")
        #expect(throws: PeftfileError.self) { _ = try model.binding(["run"]) }
        #expect(try model.merged(["run/german"], as: "out2").numbers("q.weight") == expected)
    }

    @Test func rawStateDictKeysMeanTheSame() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1), T.tensor("score.weight", [2, 4], seed: 5)])
        try model.adapter([
            T.tensor("q.lora_A.default.weight", [2, 4], seed: 2), T.tensor("q.lora_B.default.weight", [4, 2], seed: 3),
            T.tensor("score.modules_to_save.default.weight", [2, 4], seed: 6),
            T.tensor("score.original_module.weight", [2, 4], seed: 5),
        ], config: #""modules_to_save": ["score"]"#)
        let result = try model.merged()
        let update = Plain.product(SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(8, seed: 2), 4, 2, 4)
        #expect(try result.numbers("q.weight") == Plain.sum(SmallTensor.numbers(16, seed: 1), update, scale: scale))
        #expect(try result.numbers("score.weight") == SmallTensor.numbers(8, seed: 6))
    }

    @Test func aSavedHeadThatTheBaseLacksIsAdded() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1, dtype: .bf16)])
        try model.adapter([
            T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3),
            T.tensor("score.weight", [3, 4], seed: 6),
        ], config: #""modules_to_save": ["score"]"#)
        let result = try model.merged()
        #expect(result["score.weight"]?.dtype == .bf16)
        #expect(try result.numbers("score.weight") == SmallTensor.numbers(12, seed: 6))
        // Without modules_to_save the same tensor has no home.
        try model.adapter([
            T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3),
            T.tensor("score.weight", [3, 4], seed: 6),
        ], name: "unnamed")
        #expect(model.refusal(["unnamed"]) == "UnclaimedTensor")
    }

    @Test func aResizedEmbeddingReplacesTheBaseAndTheConfigFollows() throws {
        let model = try SmallModel()
        let config = #"{"model_type": "llama", "vocab_size": 5, "tie_word_embeddings": false}"#
        try model.base([
            T.tensor("model.embed_tokens.weight", [5, 4], seed: 1), T.tensor("lm_head.weight", [5, 4], seed: 2),
        ], config: config)
        try model.adapter([
            T.tensor("model.embed_tokens.base_layer.weight", [7, 4], seed: 3),
            T.tensor("model.embed_tokens.lora_embedding_A", [2, 7], seed: 4),
            T.tensor("model.embed_tokens.lora_embedding_B", [4, 2], seed: 5),
            T.tensor("lm_head.weight", [7, 4], seed: 6),
        ])
        let result = try model.merged()
        // W (vocab, dim) += s·(B·A)ᵀ, on the resized W that the adapter brings.
        let update = Plain.product(SmallTensor.numbers(8, seed: 5), SmallTensor.numbers(14, seed: 4), 4, 2, 7)
        let w = SmallTensor.numbers(28, seed: 3)
        let expected = (0..<28).map { w[$0] + scale * update[($0 % 4) * 7 + $0 / 4] }
        #expect(try result.numbers("model.embed_tokens.weight") == expected)
        #expect(try result.numbers("lm_head.weight") == SmallTensor.numbers(28, seed: 6))
        #expect(result.config?["vocab_size"]?.intValue == 7)
    }

    @Test func anUpdateOfTheHeadAloneBreaksTheTie() throws {
        let model = try SmallModel()
        try model.base(
            [T.tensor("model.embed_tokens.weight", [5, 4], seed: 1)],
            config: #"{"model_type": "llama", "tie_word_embeddings": true}"#)
        try model.adapter([T.tensor("lm_head.lora_A.weight", [2, 4], seed: 2), T.tensor("lm_head.lora_B.weight", [5, 2], seed: 3)])
        let update = Plain.product(SmallTensor.numbers(10, seed: 3), SmallTensor.numbers(8, seed: 2), 5, 2, 4)
        let w = SmallTensor.numbers(20, seed: 1)
        let broken = try model.merged()
        #expect(try broken.numbers("model.embed_tokens.weight") == w)
        #expect(try broken.numbers("lm_head.weight") == Plain.sum(w, update, scale: scale))
        #expect(broken.config?["tie_word_embeddings"]?.boolValue == false)
        let kept = try model.merged(options: BindingOptions(tie: .keep), as: "kept")
        #expect(try kept.numbers("model.embed_tokens.weight") == Plain.sum(w, update, scale: scale))
        #expect(kept["lm_head.weight"] == nil)
        #expect(kept.config?["tie_word_embeddings"]?.boolValue == true)
    }

    @Test(arguments: ["corda", "loftq", "lora_ga", "pissa_niter_4", "something_new"])
    func initialisationsThatChangedTheBaseNeedTheResidual(_ name: String) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)],
            config: #""init_lora_weights": "\#(name)""#)
        #expect(model.refusal() == "ResidualBase")
        let update = Plain.product(SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(8, seed: 2), 4, 2, 4)
        let result = try model.merged(options: BindingOptions(baseRole: .residual))
        #expect(try result.numbers("q.weight") == Plain.sum(SmallTensor.numbers(16, seed: 1), update, scale: scale))
    }

    @Test(arguments: [
        (#""arrow_config": {"top_k": 2}"#, "ArrowRouter"), (#""alora_invocation_tokens": [1, 2]"#, "ActivatedLoRA"),
        (#""brand_new_feature": "on""#, "UnknownConfigKey"), (#""brand_new_feature": null"#, nil),
        (#""rank_pattern": {"(": 3}"#, "PatternSyntax"), (#""use_dora": true"#, "MagnitudeMissing"),
        (#""kasa_config": {"beta": 0.1}"#, "DiagonalMissing"),
        (#""kasa_config": {"beta": 0.1}, "use_bdlora": {"nblocks": 2, "target_modules_bd_a": ["v"]}"#, "DiagonalMissing"),
        (#""lora_bias": true"#, "LoRABiasMissing"), (#""lora_bias": false"#, nil),
        (#""trainable_token_indices": [1, 2]"#, "TokenIndicesMissing"), (#""trainable_token_indices": []"#, nil), (#""bias": "some""#, "ConfigValue"),
        (#""r": 2"#, "DuplicateKey"),
    ] as [(String, String?)])
    func configKeysAreUsedOrNamed(_ config: String, _ rule: String?) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)], config: config)
        #expect(model.refusal() == rule)
    }

    @Test(arguments: [
        (#""lora_bias": true"#, nil), (#""lora_bias": false"#, "LoRABiasUnexpected"), ("", "LoRABiasUnexpected"),
    ] as [(String, String?)])
    func aTrainedBiasIsAnnouncedByTheConfig(_ config: String, _ rule: String?) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1), T.tensor("q.bias", [4], seed: 5)])
        try model.adapter(
            [
                T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3),
                T.tensor("q.lora_B.bias", [4], seed: 4),
            ], config: config)
        #expect(model.refusal() == rule)
        guard rule == nil else { return }
        let expected = Plain.sum(SmallTensor.numbers(4, seed: 5), SmallTensor.numbers(4, seed: 4), scale: scale)
        #expect(try model.merged().numbers("q.bias") == expected)
    }

    @Test func severalAdaptersAddUpAndConflictsAreRefused() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1), T.tensor("score.weight", [2, 4], seed: 7)])
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)], name: "one")
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 4), T.tensor("q.lora_B.weight", [4, 2], seed: 5)], name: "two")
        try model.adapter(
            [
                T.tensor("q.lora_A.weight", [2, 4], seed: 4), T.tensor("q.lora_B.weight", [4, 2], seed: 5),
                T.tensor("q.lora_magnitude_vector", [4], seed: 6),
            ], config: #""use_dora": true"#, name: "dora")
        for name in ["head1", "head2"] {
            try model.adapter(
                [
                    T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3),
                    T.tensor("score.weight", [2, 4], seed: 8),
                ], config: #""modules_to_save": ["score"]"#, name: name)
        }
        let first = Plain.product(SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(8, seed: 2), 4, 2, 4)
        let second = Plain.product(SmallTensor.numbers(8, seed: 5), SmallTensor.numbers(8, seed: 4), 4, 2, 4)
        let w = SmallTensor.numbers(16, seed: 1)
        let result = try model.merged(["one", "two"], options: BindingOptions(weights: [0.5, -2]))
        #expect(
            try result.numbers("q.weight")
                == Plain.sum(Plain.sum(w, first, scale: 0.5 * scale), second, scale: -2 * scale))
        #expect(model.refusal(["one", "dora"]) == "NotAdditive")
        #expect(model.refusal(["dora", "one"]) == "NotAdditive")
        #expect(model.refusal(["head1", "head2"]) == "ReplacedTwice")
        #expect(model.refusal(["dora"], options: BindingOptions(weights: [0.5])) == "WeightedDoRA")
        #expect(model.refusal(["one"], options: BindingOptions(weights: [1, 2])) == "Weights")
    }

    @Test func integerAndPackedBasesAreNotUpdated() throws {
        let model = try SmallModel()
        try FileSystem.makeDirectory(model.directory.path("base"))
        let layout = try SafetensorsLayout(metadata: nil, tensors: [(name: "q.weight", dtype: .u8, shape: [4, 4])])
        try TestFile.write(
            layout.headerBytes + [UInt8](repeating: 1, count: 16), to: model.directory.path("base/model.safetensors"))
        try model.adapter([T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)])
        #expect(model.refusal() == "BaseDType")
    }
}

/// Which side of a tie sees what, as PEFT's wrappers decide it.
@Suite struct TiedTests {
    private typealias T = SmallModel

    private func model(_ adapter: [SmallTensor], _ config: String) throws -> SmallModel {
        let model = try SmallModel()
        try model.base(
            [T.tensor("model.embed_tokens.weight", [5, 4], seed: 1), T.tensor("q.weight", [4, 4], seed: 2)],
            config: #"{"model_type": "llama", "tie_word_embeddings": true}"#)
        try model.adapter(
            adapter + [T.tensor("q.lora_A.weight", [2, 4], seed: 3), T.tensor("q.lora_B.weight", [4, 2], seed: 4)],
            config: config)
        return model
    }

    @Test func tokenRowsOfTheEmbeddingReachTheHead() throws {
        let model = try model(
            [T.tensor("model.embed_tokens.token_adapter.trainable_tokens_delta", [2, 4], seed: 5)],
            #""trainable_token_indices": [3, 1]"#)
        let result = try model.merged()
        var expected = SmallTensor.numbers(20, seed: 1)
        let rows = SmallTensor.numbers(8, seed: 5)
        expected.replaceSubrange(12..<16, with: rows[..<4])
        expected.replaceSubrange(4..<8, with: rows[4...])
        #expect(try result.numbers("model.embed_tokens.weight") == expected)
        #expect(result["lm_head.weight"] == nil)
        #expect(result.config?["tie_word_embeddings"]?.boolValue == true)
    }

    @Test func tokenRowsOfTheHeadStayThere() throws {
        let model = try model(
            [T.tensor("lm_head.token_adapter.trainable_tokens_delta", [1, 4], seed: 5)],
            #""trainable_token_indices": {"lm_head": [2]}"#)
        let result = try model.merged()
        var head = SmallTensor.numbers(20, seed: 1)
        head.replaceSubrange(8..<12, with: SmallTensor.numbers(4, seed: 5))
        #expect(try result.numbers("model.embed_tokens.weight") == SmallTensor.numbers(20, seed: 1))
        #expect(try result.numbers("lm_head.weight") == head)
        #expect(result.config?["tie_word_embeddings"]?.boolValue == false)
    }

    @Test func ensuredTyingHoldsWithoutTheHeadsOwnFactors() throws {
        let model = try model(
            [
                T.tensor("model.embed_tokens.lora_embedding_A", [2, 5], seed: 5),
                T.tensor("model.embed_tokens.lora_embedding_B", [4, 2], seed: 6),
            ], #""ensure_weight_tying": true"#)
        let result = try model.merged()
        #expect(result["lm_head.weight"] == nil)
        #expect(result.config?["tie_word_embeddings"]?.boolValue == true)
    }
}
