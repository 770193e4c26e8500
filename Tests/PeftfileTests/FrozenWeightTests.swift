import Peftfile
import TestSupport
import Testing

/// What a training state of a whole model must have of its base, on states of small whole numbers.
@Suite struct FrozenWeightTests {
    private typealias T = SmallModel
    private static let base = [
        T.tensor("model.embed_tokens.weight", [6, 4], seed: 1), T.tensor("model.layers.0.self_attn.q_proj.weight", [4, 4], seed: 2),
        T.tensor("model.layers.0.input_layernorm.weight", [4], seed: 3), T.tensor("lm_head.weight", [6, 4], seed: 4),
    ]
    private static let factors = [
        T.tensor("model.layers.0.self_attn.q_proj.lora_A.default.weight", [2, 4], seed: 5),
        T.tensor("model.layers.0.self_attn.q_proj.lora_B.default.weight", [4, 2], seed: 6),
    ]
    private static let target = #""target_modules": ["q_proj"]"#

    /// The base's own tensors under the names that they have in a state.
    private static func frozen(_ layer: String = "base_layer.weight", dtype: DType = .f32) -> [SmallTensor] {
        base.map { tensor in
            var copy = tensor
            copy.dtype = dtype
            copy.name = ExactString(tensor.name.text.replacing("q_proj.weight", with: "q_proj.\(layer)"))
            return copy
        }
    }

    private func model(_ state: [SmallTensor], config: String = "", base: [SmallTensor] = base) throws -> SmallModel {
        let model = try SmallModel()
        try model.base(base, config: #"{"model_type": "llama", "tie_word_embeddings": false, "vocab_size": 6}"#)
        try model.adapter(state, config: [Self.target, config].filter { !$0.isEmpty }.joined(separator: ", "))
        try model.adapter(Self.factors, config: Self.target, name: "alone")
        return model
    }

    private func error(_ model: SmallModel, options: BindingOptions = BindingOptions()) -> PeftfileError? {
        do { _ = try model.binding(options: options) } catch { return error as? PeftfileError }
        return nil
    }

    /// PEFT before 0.6 had a wrapped layer's weight under the layer's own name.
    @Test(arguments: ["base_layer.weight", "weight"], [DType.f32, .bf16, .f16]) func aStateIsItsAdapter(_ layer: String, _ dtype: DType) throws {
        let model = try model(Self.factors + Self.frozen(layer, dtype: dtype))
        let (state, alone) = try (model.merged(as: "one"), model.merged(["alone"], as: "two"))
        for tensor in alone.tensors { #expect(try state.numbers(tensor.name) == alone.numbers(tensor.name)) }
        let note = try model.binding().warnings.first { $0.contains("4 frozen weights have the base's numbers") }
        // Small whole numbers are the same in every dtype, and those of a wider base might have been rounded.
        #expect(note?.contains("4 rounded to the dtype of training") == (dtype != .f32), "\(note ?? "")")
    }

    /// One number of many, and the last: all are looked at.
    @Test func oneOtherNumberIsFound() throws {
        var large = Self.base
        large[0] = T.tensor("model.embed_tokens.weight", [70_000, 8], seed: 1)
        for place in [0, 262_143, 262_144, 559_999] {
            var state = Self.frozen()
            state[0] = large[0]
            state[0].values[place] += 1
            let error = error(try model(Self.factors + state, base: large))
            #expect(error?.rule == "FrozenWeight" && error?.tensor == "base_model.model.model.embed_tokens.weight")
        }
    }

    @Test func aTrainedNormIsRefusedUntilTheConfigNamesIt() throws {
        var state = Self.frozen()
        state[2].values[1] += 1
        state[3].values[0] += 1
        let refused = error(try model(Self.factors + state))
        #expect(refused?.rule == "FrozenWeight" && refused?.tensor == "base_model.model.model.layers.0.input_layernorm.weight")
        #expect(refused?.message.contains("so do 1 more of 4") == true, "\(refused as Any)")
        #expect(refused?.help?.contains("modules_to_save") == true && refused?.help?.contains("\"input_layernorm\"") == true)
        let checked = try model(Self.factors + state)
        let report = try Tool.run(["check", checked.directory.path("adapter"), "--base", checked.directory.path("base")])
        #expect(report.status == 1 && report.output.contains("target-not-in-base") && report.output.contains("input_layernorm"), "\(report.output)")
        let named = try model(Self.factors + state, config: #""modules_to_save": ["input_layernorm", "lm_head"]"#)
        let result = try named.merged()
        #expect(try result.numbers("model.layers.0.input_layernorm.weight") == state[2].values)
        #expect(try result.numbers("lm_head.weight") == state[3].values)
    }

    @Test func namesAndShapesAreTheBases() throws {
        var other = Self.frozen()
        other[2] = T.tensor("model.layers.0.input_layernorm.weight", [5], seed: 3)
        let shape = error(try model(Self.factors + other))
        #expect(shape?.rule == "FrozenWeight" && shape?.message.contains("has shape [5]") == true)
        let more = error(try model(Self.factors + Self.frozen() + [T.tensor("model.layers.0.extra.weight", [4], seed: 7)]))
        #expect(more?.rule == "FrozenWeight" && more?.tensor == "base_model.model.model.layers.0.extra.weight")
        #expect(more?.message.contains("the base has no such tensor") == true)
        // What models compute anew is in no base of today.
        let buffer = try model(Self.factors + Self.frozen() + [T.tensor("model.layers.0.self_attn.rotary_emb.inv_freq", [2], seed: 7)])
        #expect(try buffer.binding().warnings.contains { $0.contains("1 buffers are computed by the model") })
    }

    /// ZeRO-3 leaves shapes of nothing where other ranks have the numbers.
    @Test func whatOtherFilesHoldIsGatheredFirst() throws {
        var state = Self.frozen()
        for index in state.indices { (state[index].shape, state[index].values) = ([0], []) }
        let refused = error(try model(Self.factors + state))
        #expect(refused?.rule == "FrozenWeight" && refused?.help?.contains("zero_to_fp32.py") == true, "\(refused as Any)")
    }

    /// A value head stands beside the model that PEFT wrapped: nothing says that it is frozen.
    @Test func whatStandsBesideTheModelIsNotLeftOut() throws {
        let model = try model(Self.factors + Self.frozen())
        let stray = SmallTensor(name: "v_head.summary.weight", shape: [1, 4], values: [1, 2, 3, 4])
        try SmallTensor.write(
            (Self.factors + Self.frozen()).map { tensor in
                var copy = tensor
                copy.name = ExactString("base_model.model.\(tensor.name)")
                return copy
            } + [stray], to: model.directory.path("adapter/adapter_model.safetensors"))
        #expect(error(model)?.rule == "UnclaimedTensor" && error(model)?.tensor == stray.name)
        let run = try Tool.run(["convert", model.directory.path("adapter"), "--to", "peft", "-o", model.directory.path("out")])
        #expect(run.status == 2 && run.errors.contains("v_head.summary.weight") && run.errors.contains("--base"), "\(run.errors)")
    }

    /// bitsandbytes keeps codes and scales: of what they stand for nothing can be said.
    @Test func codesAreCountedAndNotCompared() throws {
        var state = Self.frozen()
        let layer = "model.layers.0.self_attn.q_proj.base_layer.weight"
        state[1] = SmallTensor(name: ExactString(layer), shape: [8, 1], values: [1, 2, 3, 4, 5, 6, 7, 8], dtype: .u8)
        let companions = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"].map { T.tensor(ExactString("\(layer).\($0)"), [2], seed: 8) }
        let type = SmallTensor(name: ExactString("\(layer).quant_state.bitsandbytes__nf4"), shape: [3], values: [1, 2, 3], dtype: .u8)
        let model = try model(Self.factors + state + companions + [type])
        let note = try model.binding().warnings.first { $0.contains("training state") }
        #expect(note?.contains("6 quantised tensors could not be compared") == true, "\(note ?? "")")
        #expect(note?.contains("3 frozen weights have") == true)
        let result = try model.merged(as: "one")
        #expect(try result.numbers(Self.base[1].name) == model.merged(["alone"], as: "two").numbers(Self.base[1].name))
    }

    /// PiSSA's factors are relative to what they left of the base, which is what the state holds.
    @Test func whatAnInitialisationLeftIsNoOtherBase() throws {
        var state = Self.frozen()
        state[1].values[0] += 1
        let residual = BindingOptions(baseRole: .residual)
        let pissa = try model(Self.factors + state, config: #""init_lora_weights": "pissa""#)
        #expect(try pissa.binding(options: residual).warnings.contains { $0.contains("1 weights are what their initialisation left") })
        #expect(error(try model(Self.factors + state))?.rule == "FrozenWeight")
        state[2].values[0] += 1
        #expect(error(try model(Self.factors + state, config: #""init_lora_weights": "pissa""#), options: residual)?.rule == "FrozenWeight")
    }

    /// Biases that the config says were trained are the state's; the others are the base's.
    @Test func trainedBiasesAreTaken() throws {
        let biases = [T.tensor("model.layers.0.self_attn.q_proj.bias", [4], seed: 9), T.tensor("model.layers.0.mlp.bias", [4], seed: 10)]
        var trained = biases
        trained[0].name = "model.layers.0.self_attn.q_proj.base_layer.bias"
        trained[0].values[0] += 1
        let all = Self.factors + Self.frozen()
        let model = try model(all + trained, config: #""bias": "lora_only""#, base: Self.base + biases)
        #expect(try model.merged().numbers(biases[0].name) == trained[0].values)
        #expect(try model.binding().warnings.contains { $0.contains("5 frozen weights") })
        #expect(error(try self.model(all + trained, base: Self.base + biases))?.tensor?.text.hasSuffix("base_layer.bias") == true)
        trained[1].values[0] += 1
        let only = error(try self.model(all + trained, config: #""bias": "lora_only""#, base: Self.base + biases))
        #expect(only?.rule == "FrozenWeight" && only?.tensor == "base_model.model.model.layers.0.mlp.bias")
        let both = try self.model(all + trained, config: #""bias": "all""#, base: Self.base + biases)
        #expect(try both.merged().numbers(biases[1].name) == trained[1].values)
    }

    /// A directory with a config and no file of PEFT's: the one state is meant, of several the caller names one.
    @Test func aDirectorysStateIsTheOneThatHoldsAnAdapter() throws {
        let model = try model(Self.factors + Self.frozen())
        let (old, path) = (model.directory.path("adapter/adapter_model.safetensors"), model.directory.path("adapter"))
        let bytes = try TestFile.bytes(old)
        try FileSystem.remove(old)
        #expect(error(model)?.rule == "AdapterWeightsMissing" && error(model)?.code == .notFound)
        try SmallTensor.write(Self.base, to: "\(path)/model.safetensors")
        #expect(error(model)?.message.contains("no tensor of an adapter is in model.safetensors") == true, "\(error(model) as Any)")
        try model.directory.write(bytes, to: "adapter/epoch.safetensors")
        #expect(error(model) == nil)
        #expect(try Tool.run(["check", path, "--base", model.directory.path("base"), "--json"]).output.contains("training state of the whole model"))
        try model.directory.write(bytes, to: "adapter/last.safetensors")
        let several = error(model)
        #expect(several?.rule == "AdapterWeightsMissing" && several?.code == .refused && several?.help?.contains("last.safetensors") == true)
        try FileSystem.makeDirectory("\(path)/global_step3")
        for name in ["epoch", "last", "model"] { try FileSystem.remove("\(path)/\(name).safetensors") }
        try model.directory.write(bytes, to: "adapter/global_step3/mp_rank_00_model_states.pt")
        #expect(error(model)?.help?.contains("global_step3/mp_rank_00_model_states.pt") == true)
    }
}
