import Peftfile
import TestSupport
import Testing

/// Names of language models that begin as those of diffusion files do, and answers that no file asked for.
@Suite struct LookalikeNamesTests {
    private static let modules = [
        ("transformer.encoder.layers.0.self_attention.query_key_value", "chatglm"), ("transformer.blocks.0.attn.Wqkv", "mpt"),
        ("blocks.0.ffn.0", "rwkv"), ("layers.0.attention.out", "internlm"),
    ]

    private func model(_ module: String, baseConfig: String?) throws -> (DialectModel, base: [Double], update: [Double]) {
        let base = SmallModel.tensor(ExactString("\(module).weight"), [6, 4], seed: 1)
        let a = SmallModel.tensor(ExactString("\(module).lora_A.weight"), [2, 4], seed: 2)
        let b = SmallModel.tensor(ExactString("\(module).lora_B.weight"), [6, 2], seed: 3)
        let model = try DialectModel(base: [base], adapter: [a, b], baseConfig: baseConfig)
        return (model, base.values, Plain.product(b.values, a.values, 6, 2, 4))
    }

    /// The base's model_type says that the names are no diffusion model's, so nothing says the scale but the caller.
    @Test(arguments: modules) func aLanguageModelsFactorsNeedTheirScale(_ module: String, _ type: String) throws {
        let (model, base, update) = try model(module, baseConfig: "{\"model_type\": \"\(type)\"}")
        #expect(model.refusal()?.rule == "ConfigMissing", "\(model.refusal()?.message ?? "no refusal")")
        let merged = try model.merged(BindingOptions(scale: 3))
        #expect(try merged.numbers(ExactString("\(module).weight")) == Plain.sum(base, update, scale: 3))
    }

    /// Wan's own repository has a config.json with a `model_type`, and with a `_class_name` too: no model of transformers.
    @Test(arguments: ["blocks.0.self_attn.q", "transformer.blocks.0.attn1.to_q", "blocks.0.attn1.to_q"])
    func aDiffusionModelMayHaveAModelType(_ module: String) throws {
        let base = SmallModel.tensor("blocks.0.self_attn.q.weight", [4, 4], seed: 1)
        let a = SmallModel.tensor(ExactString("\(module).lora_A.weight"), [2, 4], seed: 2)
        let b = SmallModel.tensor(ExactString("\(module).lora_B.weight"), [4, 2], seed: 3)
        let model = try DialectModel(
            base: [base], adapter: [a, b], baseConfig: #"{"_class_name": "WanModel", "model_type": "t2v", "num_heads": 2}"#)
        let wanted = Plain.sum(base.values, Plain.product(b.values, a.values, 4, 2, 4), scale: 1)
        #expect(try model.merged().numbers(base.name) == wanted)
    }

    /// A file with alphas, or of a dialect where none means 1, has its scale.
    @Test(arguments: ["transformer.transformer_blocks.0.attn.to_q", "unet.mid_block.attentions.0.proj_in"])
    func aScaleThatNobodyAskedForIsRefused(_ module: String) throws {
        let name = String(module.drop { $0 != "." }.dropFirst())
        let tensors = [("lora_A", [2, 4]), ("lora_B", [4, 2])].enumerated().map { number, part in
            SmallModel.tensor(ExactString("\(module).\(part.0).weight"), part.1, seed: number)
        }
        let model = try DialectModel(base: [SmallModel.tensor(ExactString("\(name).weight"), [4, 4], seed: 5)], adapter: tensors)
        #expect(model.refusal() == nil)
        #expect(model.refusal(BindingOptions(scale: 2))?.rule == "ConfigDecides")
    }
}
