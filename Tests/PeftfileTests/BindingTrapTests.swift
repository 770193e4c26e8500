import Peftfile
import TestSupport
import Testing

/// Places where a merge could go wrong in silence, each found on purpose.
@Suite struct BindingTrapTests {
    private typealias T = SmallModel

    /// q (in, out) of a Conv1D is square; its siblings tell.
    @Test func aSquareConv1DIsTurnedWhereItsSiblingsOrBiasesTell() throws {
        for (config, biases) in [(#"{"model_type": "vision-encoder-decoder"}"#, true), (#"{}"#, true), (#"{}"#, false)] {
            let model = try SmallModel()
            var base = [T.tensor("h.0.attn.c_proj.weight", [4, 4], seed: 1), T.tensor("h.0.attn.c_attn.weight", [4, 12], seed: 2)]
            if biases { base += [T.tensor("h.0.attn.c_proj.bias", [4], seed: 3), T.tensor("h.0.attn.c_attn.bias", [12], seed: 4)] }
            try model.base(base, config: config)
            try model.adapter(
                [T.tensor("h.0.attn.c_proj.lora_A.weight", [2, 4], seed: 5), T.tensor("h.0.attn.c_proj.lora_B.weight", [4, 2], seed: 6)],
                config: #""fan_in_fan_out": true"#)
            guard biases else {
                #expect(model.refusal() == "SquareOrientation")
                // The option that the refusal names settles it, either way.
                for orientation in [BindingOptions.Orientation.inOut, .outIn] {
                    var options = BindingOptions()
                    options.squareOrientation = orientation
                    let update = Plain.product(SmallTensor.numbers(8, seed: 6), SmallTensor.numbers(8, seed: 5), 4, 2, 4)
                    let own = orientation == .inOut ? Plain.transposed(update, 4, 4) : update
                    #expect(
                        try model.merged(options: options, as: orientation.rawValue).numbers("h.0.attn.c_proj.weight")
                            == Plain.sum(SmallTensor.numbers(16, seed: 1), own, scale: 3))
                }
                continue
            }
            let update = Plain.product(SmallTensor.numbers(8, seed: 6), SmallTensor.numbers(8, seed: 5), 4, 2, 4)
            let w = SmallTensor.numbers(16, seed: 1)
            let expected = Plain.sum(w, Plain.transposed(update, 4, 4), scale: 3)
            #expect(try model.merged().numbers("h.0.attn.c_proj.weight") == expected)
        }
    }

    /// The advice names what is missing: the config, or nothing but the caller's word.
    @Test(arguments: [(#"{}"#, true), (#"{"model_type": "jais"}"#, false)])
    func whatASquareMatrixLacksIsNamed(_ config: String, _ isConfig: Bool) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)], config: config)
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)],
            config: #""fan_in_fan_out": true"#)
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "SquareOrientation" && error?.help?.contains("--square-orientation") == true)
        #expect(error?.help?.contains("config.json") == isConfig)
        #expect(error?.message.contains("jais") == !isConfig)
    }

    /// 3 experts' factors on a base of 4: no rank of the config would make them fit.
    @Test func anotherNumberOfExpertsIsAnotherBase() throws {
        let model = try SmallModel()
        try model.base([T.tensor("mlp.experts.down_proj", [4, 5, 3], seed: 1)], config: #"{"model_type": "qwen3_moe"}"#)
        try model.adapter(
            [T.tensor("mlp.experts.lora_A.weight", [6, 3], seed: 2), T.tensor("mlp.experts.lora_B.weight", [5, 6], seed: 3)],
            config: #""target_parameters": ["experts.down_proj"]"#)
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "RankMismatch" && error?.help?.contains("base") == true && error?.help?.contains("correct r") == false)
    }

    /// A wrapper around nothing: the inner pair, or the outer one, is lost.
    @Test func aWrapperTooDeepSaysHowManyThereAre() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter([
            T.tensor("q.base_layer.lora_A.weight", [2, 4], seed: 2), T.tensor("q.base_layer.lora_B.weight", [4, 2], seed: 3),
        ])
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "WrappedParameters" && error?.message.contains("1 of the 2 pairs") == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [("5", "is no text"), ("null", "has no peft_type")])
    func aPeftTypeThatIsNoTextIsNotAbsent(_ value: String, _ says: String) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter([T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)])
        try model.directory.write(#"{"peft_type": \#(value), "r": 2, "lora_alpha": 2}"#, to: "adapter/adapter_config.json")
        let error = #expect(throws: PeftfileError.self) { _ = try model.binding() }
        #expect(error?.rule == "PeftTypeMissing" && error?.message.contains(says) == true)
    }

    @Test(arguments: ["pissa", "olora"]) func initialisationsLeaveEmbeddingsAlone(_ name: String) throws {
        let model = try SmallModel()
        try model.base([T.tensor("model.embed_tokens.weight", [6, 4], seed: 1), T.tensor("lm_head.weight", [6, 4], seed: 2)])
        try model.adapter([
            T.tensor("model.embed_tokens.lora_embedding_A", [2, 6], seed: 4),
            T.tensor("model.embed_tokens.lora_embedding_B", [4, 2], seed: 5),
        ], config: #""init_lora_weights": "\#(name)""#)
        let update = Plain.product(SmallTensor.numbers(8, seed: 5), SmallTensor.numbers(12, seed: 4), 4, 2, 6)
        let w = SmallTensor.numbers(24, seed: 1)
        let expected = Plain.sum(w, Plain.transposed(update, 4, 6), scale: 3)
        #expect(try model.merged().numbers("model.embed_tokens.weight") == expected)
    }

    @Test func savedModulesUnderTheirWrapperAreTheModulesThemselves() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1), T.tensor("lm_head.weight", [6, 4], seed: 2)])
        let pair = [T.tensor("q.lora_A.weight", [2, 4], seed: 3), T.tensor("q.lora_B.weight", [4, 2], seed: 4)]
        let saved = #""modules_to_save": ["lm_head", "nrom", "norm"]"#
        try model.adapter(pair + [T.tensor("lm_head.modules_to_save.weight", [6, 4], seed: 5)], config: saved)
        let result = try model.merged()
        #expect(result.tensors.count == 2)
        #expect(try result.numbers("lm_head.weight") == SmallTensor.numbers(24, seed: 5))
        // The same values under both names are one tensor; other values are a contradiction.
        try model.adapter(
            pair + [T.tensor("lm_head.modules_to_save.weight", [6, 4], seed: 5), T.tensor("lm_head.weight", [6, 4], seed: 5)],
            config: saved, name: "both")
        #expect(try model.merged(["both"], as: "out2").numbers("lm_head.weight") == SmallTensor.numbers(24, seed: 5))
        try model.adapter(
            pair + [T.tensor("lm_head.modules_to_save.weight", [6, 4], seed: 5), T.tensor("lm_head.weight", [6, 4], seed: 6)],
            config: saved, name: "apart")
        #expect(throws: PeftfileError.self) { _ = try Adapter(path: model.directory.path("apart")) }
    }

    @Test func aSavedModuleInsideTheBaseMustBeThere() throws {
        let model = try SmallModel()
        try model.base([
            T.tensor("model.q.weight", [4, 4], seed: 1), T.tensor("model.input_layernorm.weight", [4], seed: 2),
        ])
        let pair = [T.tensor("model.q.lora_A.weight", [2, 4], seed: 3), T.tensor("model.q.lora_B.weight", [4, 2], seed: 4)]
        try model.adapter(pair + [T.tensor("model.nrom.weight", [4], seed: 5)], config: #""modules_to_save": ["nrom"]"#)
        #expect(model.refusal() == "MissingTarget")
        // PEFT's rule is the end of the path, not a whole component: "norm" wraps input_layernorm too.
        try model.adapter(
            pair + [T.tensor("model.input_layernorm.weight", [4], seed: 6)], config: #""modules_to_save": ["norm"]"#, name: "norm")
        #expect(try model.merged(["norm"]).numbers("model.input_layernorm.weight") == SmallTensor.numbers(4, seed: 6))
    }

    @Test func untyingLongT5WouldChangeItsAnswer() throws {
        let model = try SmallModel()
        try model.base(
            [T.tensor("shared.weight", [6, 4], seed: 1)],
            config: #"{"model_type": "longt5", "tie_word_embeddings": true, "architectures": ["LongT5ForConditionalGeneration"]}"#)
        try model.adapter([T.tensor("lm_head.lora_A.weight", [2, 4], seed: 2), T.tensor("lm_head.lora_B.weight", [6, 2], seed: 3)])
        #expect(model.refusal() == "TiedEmbeddings")
        let kept = try model.merged(options: BindingOptions(tie: .keep))
        #expect(kept.tensors.count == 1)
    }

    @Test func bothTieFlagsAreSet() throws {
        let model = try SmallModel()
        try model.base(
            [T.tensor("model.language_model.embed_tokens.weight", [6, 4], seed: 1)],
            config: #"{"model_type": "gemma3", "tie_word_embeddings": true, "text_config": {"tie_word_embeddings": true}}"#)
        try model.adapter([T.tensor("lm_head.lora_A.weight", [2, 4], seed: 2), T.tensor("lm_head.lora_B.weight", [6, 2], seed: 3)])
        let result = try model.merged()
        #expect(result.config?["tie_word_embeddings"]?.boolValue == false)
        #expect(result.config?["text_config"]?["tie_word_embeddings"]?.boolValue == false)
    }

    @Test func aVocabularyIsResizedOnBothSidesOrNotAtAll() throws {
        let model = try SmallModel()
        try model.base(
            [T.tensor("model.embed_tokens.weight", [6, 4], seed: 1), T.tensor("lm_head.weight", [6, 4], seed: 2)],
            config: #"{"model_type": "llama", "vocab_size": 6, "tie_word_embeddings": false}"#)
        try model.adapter([T.tensor("lm_head.weight", [8, 4], seed: 3)], config: #""modules_to_save": ["lm_head"]"#)
        #expect(model.refusal() == "VocabularySize")
    }

    @Test func blocksMustCoverTheMatrix() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 8], seed: 1)])
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)],
            config: #""use_bdlora": {"nblocks": 1, "target_modules_bd_a": ["q"]}"#)
        #expect(model.refusal() == "ShapeMismatch")
    }

    @Test func replicatedLayersTakeTheirOwnPartsOnly() throws {
        let model = try SmallModel()
        try model.base([
            T.tensor("model.layers.0.dense.weight", [4, 4], seed: 1), T.tensor("model.layers.1.moe.weight", [4, 4], seed: 2),
            T.tensor("model.layers.2.moe.weight", [4, 4], seed: 3),
        ], config: #"{"model_type": "llama", "num_hidden_layers": 3, "tie_word_embeddings": false}"#)
        try model.adapter([
            T.tensor("model.layers.2.dense.lora_A.weight", [2, 4], seed: 4),
            T.tensor("model.layers.2.dense.lora_B.weight", [4, 2], seed: 5),
        ], config: #""layer_replication": [[0, 2], [0, 2]]"#)
        let result = try model.merged()
        #expect(
            Set(result.tensors.map(\.name.text)) == [
                "model.layers.0.dense.weight", "model.layers.1.moe.weight", "model.layers.2.dense.weight",
                "model.layers.3.moe.weight",
            ])
        let update = Plain.product(SmallTensor.numbers(8, seed: 5), SmallTensor.numbers(8, seed: 4), 4, 2, 4)
        #expect(
            try result.numbers("model.layers.2.dense.weight") == Plain.sum(SmallTensor.numbers(16, seed: 1), update, scale: 3))
        #expect(try result.numbers("model.layers.3.moe.weight") == SmallTensor.numbers(16, seed: 2))
        #expect(result.config?["num_hidden_layers"]?.intValue == 4)
    }

    @Test func optionsThatAConfigAnswersAreRefused() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter([T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)])
        #expect(model.refusal(options: BindingOptions(scale: 5)) == "ConfigDecides")
        #expect(model.refusal(options: BindingOptions(orientation: .inOut)) == "ConfigDecides")
    }

    @Test func twoModulesOfOneAdapterCannotMeanOneTensor() throws {
        let model = try SmallModel()
        try model.base([T.tensor("model.layers.0.q.weight", [4, 4], seed: 1)])
        var tensors: [SmallTensor] = []
        for path in ["model.layers.0.q", "layers.0.q"] {
            tensors += [T.tensor(ExactString(path + ".lora_A.weight"), [2, 4], seed: 2)]
            tensors += [T.tensor(ExactString(path + ".lora_B.weight"), [4, 2], seed: 3)]
        }
        try model.adapter(tensors)
        let rule = model.refusal()
        #expect(rule == "SameTarget" || rule == "MissingTarget" || rule == "AmbiguousTarget")
    }

    @Test func countersComeThroughAsTheyAre() throws {
        let model = try SmallModel()
        try FileSystem.makeDirectory(model.directory.path("base"))
        try FileSystem.makeDirectory(model.directory.path("adapter"))
        func write(_ path: String, _ tensors: [(name: ExactString, dtype: DType, shape: Shape)], counter: UInt8) throws {
            let layout = try SafetensorsLayout(metadata: nil, tensors: tensors)
            var bytes = layout.headerBytes + [counter, 0, 0, 0, 0, 0, 0, 0]
            bytes += [UInt8](repeating: 0, count: Int(layout.totalBytes) - bytes.count)
            try TestFile.write(bytes, to: model.directory.path(path))
        }
        try write(
            "base/model.safetensors", [("bn.num_batches_tracked", .i64, []), ("q.weight", .f32, [4, 4])], counter: 1)
        try write(
            "adapter/adapter_model.safetensors",
            [
                ("base_model.model.bn.num_batches_tracked", .i64, []), ("base_model.model.q.lora_A.weight", .f32, [2, 4]),
                ("base_model.model.q.lora_B.weight", .f32, [4, 2]),
            ], counter: 7)
        try model.directory.write(
            #"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q"], "modules_to_save": ["bn"]}"#, to: "adapter/adapter_config.json")
        let result = try model.merged()
        #expect(try result.read(#require(result["bn.num_batches_tracked"])) == [7, 0, 0, 0, 0, 0, 0, 0])
    }
}
