import Peftfile
import TestSupport
import Testing

/// A file that has the adapter twice, as trainers that average the weights save it: which of the two is meant is not guessed, and said in one line.
@Suite struct DoubledModelTests {
    private let pairs = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"].flatMap { module in
        [SmallModel.tensor(ExactString("\(module).lora_A.weight"), [2, 4], seed: 1), SmallModel.tensor(ExactString("\(module).lora_B.weight"), [4, 2], seed: 2)]
    }

    private func refusal(_ fronts: [String], withBase: Bool) throws -> String {
        let model = try SmallModel()
        let weights = [0, 1].map { SmallModel.tensor(ExactString("model.layers.\($0).self_attn.q_proj.weight"), [4, 4], seed: $0) }
        let norm = SmallModel.tensor("model.norm.weight", [4], seed: 7)
        try model.base(weights + [norm])
        try model.adapter(pairs)
        let tensors = fronts.flatMap { front -> [SmallTensor] in
            let frozen = withBase
                ? weights.map { SmallTensor(name: ExactString($0.name.text.replacing(".weight", with: ".base_layer.weight")), shape: $0.shape, values: $0.values) } + [norm] : []
            return (pairs + frozen).map { SmallTensor(name: ExactString(front + $0.name.text), shape: $0.shape, values: $0.values) }
        }
        try SmallTensor.write(tensors, to: model.directory.path("adapter/adapter_model.safetensors"))
        let out = model.directory.path("out")
        let result = try Tool.run(["merge", model.directory.path("base"), model.directory.path("adapter"), "-o", out])
        #expect(result.status == 2 && !FileSystem.exists(out), "\(result.errors)")
        #expect(result.errors.utf8.count < 700, "\(result.errors)")
        return result.errors
    }

    @Test(arguments: [["model.base_model.model.", "ema.base_model.model."], ["base_model.model.", "ema.base_model.model."]], [true, false])
    func averagesBesideTheWeightsAreCalledSo(_ fronts: [String], _ withBase: Bool) throws {
        let errors = try refusal(fronts, withBase: withBase)
        #expect(errors.contains("[SeveralAdapters]") && errors.contains("\"ema.\"") || errors.contains("\"model.\""), "\(errors)")
        #expect(errors.contains("keep one of the two"), "\(errors)")
    }

    @Test func aFrontOfTheModulesIsNamed() throws {
        let errors = try refusal(["base_model.model.", "base_model.model.ema."], withBase: false)
        #expect(errors.contains("[MissingTarget]") && errors.contains("\"ema.\"") && errors.contains("2 modules twice"), "\(errors)")
    }

    /// An option of the container has its own reason, not that of another.
    @Test(arguments: [("--no-sync", "synced"), ("--keep-cache", "cache"), ("--resume", "small file")]) func anOptionHasItsOwnReason(_ option: String, _ reason: String) throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [4, 4], seed: 1)])
        try model.adapter(pairs)
        let result = try Tool.run(["convert", model.directory.path("adapter"), "--to", "peft", option, "-o", model.directory.path("out")])
        #expect(result.status == 2 && result.errors.contains(option) && result.errors.contains(reason), "\(result.errors)")
        #expect(!result.errors.contains("dtype"), "\(result.errors)")
    }
}
