import Peftfile
import TestSupport
import Testing

/// `--square-orientation` answers what nothing else does. Where the architecture, other matrices or the file say how a square matrix lies,
/// the option agrees with them or is refused: neither obeyed nor passed over.
@Suite struct SquareOrientationTests {
    private typealias T = SmallModel

    private func model(_ module: String, config: String, others: [SmallTensor] = [], adapted: [SmallTensor] = [], flag: Bool) throws -> SmallModel {
        let model = try SmallModel()
        try model.base([T.tensor(ExactString("\(module).weight"), [4, 4], seed: 1)] + others, config: config)
        try model.adapter(
            [T.tensor(ExactString("\(module).lora_A.weight"), [2, 4], seed: 2), T.tensor(ExactString("\(module).lora_B.weight"), [4, 2], seed: 3)]
                + adapted, config: flag ? #""fan_in_fan_out": true"# : "")
        return model
    }

    private func options(_ orientation: BindingOptions.Orientation?) -> BindingOptions {
        var options = BindingOptions()
        options.squareOrientation = orientation
        return options
    }

    /// W + 3·B·A, or its update turned.
    private func expected(turned: Bool) -> [Double] {
        let update = Plain.product(SmallTensor.numbers(8, seed: 3), SmallTensor.numbers(8, seed: 2), 4, 2, 4)
        return Plain.sum(SmallTensor.numbers(16, seed: 1), turned ? Plain.transposed(update, 4, 4) : update, scale: 3)
    }

    /// The architecture tells: Conv1D in GPT-2, and in the decoder of a pair; nn.Linear in llama, where PEFT sets `fan_in_fan_out` to false
    /// whatever the config says (`dispatch_default` in src/peft/tuners/lora/layer.py).
    @Test(arguments: [
        ("h.0.attn.c_proj", #"{"model_type": "gpt2"}"#, true),
        ("decoder.transformer.h.0.attn.c_proj", #"{"model_type": "vision-encoder-decoder", "encoder": {"model_type": "vit"}, "decoder": {"model_type": "gpt2"}}"#, true),
        ("h.0.attn.other", #"{"model_type": "gpt2"}"#, false),
        ("model.layers.0.self_attn.q_proj", #"{"model_type": "llama"}"#, false),
        ("transformer.h.0.attn.c_proj", #"{"model_type": "gpt_bigcode"}"#, false),
    ], [true, false])
    func anArchitectureIsNotContradicted(_ item: (module: String, config: String, isTurned: Bool), _ flag: Bool) throws {
        let model = try model(item.module, config: item.config, flag: flag)
        let right: BindingOptions.Orientation = item.isTurned ? .inOut : .outIn
        for (number, orientation) in [nil, right].enumerated() {
            let merged = try model.merged(options: options(orientation), as: "out\(number)")
            #expect(try merged.numbers(ExactString("\(item.module).weight")) == expected(turned: item.isTurned))
        }
        let wrong: BindingOptions.Orientation = item.isTurned ? .outIn : .inOut
        #expect(model.refusal(options: options(wrong)) == "SquareOrientation")
        let paths = [model.directory.path("base"), model.directory.path("adapter"), "-o", model.directory.path("x")]
        let refused = try Tool.run(["merge"] + paths + ["--square-orientation", wrong.rawValue])
        #expect(refused.status == 2 && refused.errors.contains(item.module) && refused.errors.contains("leave the option out"), "\(refused.errors)")
        #expect(!FileSystem.exists(model.directory.path("x")))
    }

    /// Others that are not square tell of the base without a config.
    @Test(arguments: [true, false]) func otherMatricesAreNotContradicted(_ isTurned: Bool) throws {
        let model = try model(
            "h.0.proj", config: "{}", others: [T.tensor("h.1.proj.weight", isTurned ? [4, 6] : [6, 4], seed: 7)],
            adapted: [T.tensor("h.1.proj.lora_A.weight", [2, 4], seed: 5), T.tensor("h.1.proj.lora_B.weight", [6, 2], seed: 6)], flag: true)
        let (right, wrong): (BindingOptions.Orientation, BindingOptions.Orientation) = isTurned ? (.inOut, .outIn) : (.outIn, .inOut)
        #expect(try model.merged(options: options(right)).numbers("h.0.proj.weight") == expected(turned: isTurned))
        #expect(model.refusal(options: options(wrong)) == "SquareOrientation")
    }

    /// GPT-2's Conv1D beside a layer that is none: `in-out` says that there are such, `out-in` that there are none.
    @Test func aLayerOfAnotherKindIsNoContradiction() throws {
        let other = [T.tensor("h.0.other.lora_A.weight", [2, 4], seed: 5), T.tensor("h.0.other.lora_B.weight", [4, 2], seed: 6)]
        let model = try model(
            "h.0.attn.c_proj", config: #"{"model_type": "gpt2"}"#, others: [T.tensor("h.0.other.weight", [4, 4], seed: 4)], adapted: other, flag: true)
        let merged = try model.merged(options: options(.inOut))
        #expect(try merged.numbers("h.0.attn.c_proj.weight") == expected(turned: true))
        let update = Plain.product(SmallTensor.numbers(8, seed: 6), SmallTensor.numbers(8, seed: 5), 4, 2, 4)
        #expect(try merged.numbers("h.0.other.weight") == Plain.sum(SmallTensor.numbers(16, seed: 4), update, scale: 3))
        #expect(model.refusal(options: options(.outIn)) == "SquareOrientation")
    }

    /// A pair whose config does not name its parts says nothing of their layers.
    @Test func aPairWithoutPartsIsAsked() throws {
        let model = try model("decoder.h.0.q", config: #"{"model_type": "encoder-decoder"}"#, flag: true)
        #expect(model.refusal() == "SquareOrientation")
        #expect(try model.merged(options: options(.inOut)).numbers("decoder.h.0.q.weight") == expected(turned: true))
    }

    /// What settled the question when the file was written stands in it.
    @Test func theFilesOwnWordIsNotContradicted() throws {
        let model = try model("h.0.q", config: "{}", flag: true)
        let file = model.directory.path("k.safetensors")
        let arguments = ["convert", model.directory.path("adapter"), "--to", "kohya", "-o", file, "--square-orientation", "in-out"]
        #expect(try Tool.run(arguments).status == 0)
        for (orientation, status) in [("in-out", 0), ("out-in", 2)] {
            let out = model.directory.path(orientation)
            let merged = try Tool.run(["merge", model.directory.path("base"), file, "-o", out, "--square-orientation", orientation])
            #expect(merged.status == Int32(status), "\(merged.errors)")
            #expect(FileSystem.exists(out) == (status == 0))
            if status == 2 { #expect(merged.errors.contains("[SquareOrientation]"), "\(merged.errors)") }
        }
        #expect(try Checkpoint.open(model.directory.path("in-out")).numbers("h.0.q.weight") == expected(turned: true))
    }
}
