import Foundation
import Peftfile
import TestSupport
import Testing

/// Numbers that are none, and matrices without an inverse, are reported by name or refused.
@Suite struct NumberDefectTests {
    private typealias T = SmallModel

    private func broken(_ tensor: SmallTensor) -> SmallTensor {
        var copy = tensor
        copy.values[1] = .nan
        copy.values[2] = .infinity
        return copy
    }

    /// Layer norms, modules saved whole, token rows: copied or rounded, with and without hashes.
    @Test(arguments: [true, false], [DType.f32, .bf16]) func whatIsStoredWholeIsLookedAt(_ hashing: Bool, _ dtype: DType) throws {
        for (type, tensor, shared) in [
            ("LN_TUNING", T.tensor("norm.ln_tuning_layers.weight", [6], seed: 2, dtype: dtype), #""target_modules": ["norm"]"#),
            ("LORA", T.tensor("norm.modules_to_save.weight", [6], seed: 2, dtype: dtype), #""r": 2, "lora_alpha": 2, "modules_to_save": ["norm"]"#),
            ("TRAINABLE_TOKENS", T.tensor("norm.trainable_tokens_delta", [2, 3], seed: 2, dtype: dtype), #""token_indices": [0, 1]"#),
        ] {
            let model = try SmallModel()
            let isRows = type == "TRAINABLE_TOKENS"
            try model.base([T.tensor("norm.weight", isRows ? [4, 3] : [6], seed: 1), T.tensor("other.weight", [2, 2], seed: 1)])
            try model.adapter([broken(tensor)], peftType: type, shared: shared)
            let plan = try RewritePlan.merge(model.binding())
            let receipt = try PlanExecutor(plan: plan, target: model.directory.path("out"), settings: .init(hashing: hashing)).run()
            let warnings = receipt.warnings.filter { $0.contains("NaN or infinite") }
            #expect(warnings.count == 1 && warnings[0].hasPrefix("norm.weight: 2 results"), "\(type): \(receipt.warnings)")
            #expect(receipt.total.nonfinite == 2)
        }
    }

    /// A convolution in two groups, (4, 3, 3, 3) for 6 inputs, under factors that mix all 6: LyCORIS' LoCon and LoHa, PEFT's LoHa.
    @Test func groupedConvolutionsAreRefusedByName() throws {
        func hada(_ prefix: String) -> [SmallTensor] {
            [("w1_a", [4, 2]), ("w1_b", [2, 54]), ("w2_a", [4, 2]), ("w2_b", [2, 54])].map {
                T.tensor(ExactString("\(prefix)conv.hada_\($0.0)"), $0.1, seed: 2)
            }
        }
        let model = try SmallModel()
        try model.base([T.tensor("conv.weight", [4, 3, 3, 3], seed: 1)])
        try SmallTensor.write(
            [
                T.tensor("lycoris_conv.lora_down.weight", [2, 6, 3, 3], seed: 2), T.tensor("lycoris_conv.lora_up.weight", [4, 2, 1, 1], seed: 3),
                T.tensor("lycoris_conv.alpha", [], seed: 4),
            ], to: model.directory.path("locon.safetensors"))
        try SmallTensor.write(hada("lycoris_") + [T.tensor("lycoris_conv.alpha", [], seed: 4)], to: model.directory.path("loha.safetensors"))
        try model.adapter(hada(""), peftType: "LOHA", shared: #""r": 2, "alpha": 2"#)
        for name in ["locon.safetensors", "loha.safetensors", "adapter"] {
            let error = #expect(throws: PeftfileError.self) { _ = try RewritePlan.merge(model.binding([name])) }
            #expect(error?.rule == "GroupedConvolution" && error?.tensor == "conv.weight", "\(name): \(String(describing: error))")
            #expect(error?.message.contains("2 groups") == true && error?.help == "serve it unmerged")
        }
    }

    /// FRoD's V with two columns alike has no inverse, and one whose third column is the sum of the others none but for rounding.
    @Test(arguments: [[1.0, 1, 2, 3, 3, 1, 5, 5, 4], [1.1, 0.3, 1.4, 0.7, 2.9, 3.6, 0.2, 0.9, 1.1]])
    func aSingularProjectionIsRefused(_ values: [Double]) throws {
        let model = try SmallModel()
        try model.base([T.tensor("self_attn.q.weight", [2, 3], seed: 1)])
        var projection = T.tensor("frod_V.self_attn_q", [3, 3], seed: 2)
        projection.values = values
        projection.dtype = .f64
        var indices = T.tensor("frod_s_indices.self_attn_q", [2, 1], seed: 2)
        indices.values = [0, 1]
        try model.adapter(
            [T.tensor("self_attn.q.frod_lambda_l", [3], seed: 3), T.tensor("self_attn.q.frod_lambda_s_values", [1], seed: 4), projection, indices],
            peftType: "FROD", shared: #""save_projection": true"#)
        let plan = try RewritePlan.merge(model.binding())
        let error = #expect(throws: PeftfileError.self) {
            try PlanExecutor(plan: plan, target: model.directory.path("out")).run()
        }
        #expect(error?.rule == "SingularMatrix" && error?.tensor == "self_attn.q.weight" && error?.code == .refused, "\(String(describing: error))")
        #expect(!FileManager.default.fileExists(atPath: model.directory.path("out")))
        #expect(try FileManager.default.contentsOfDirectory(atPath: model.directory.path).sorted() == ["adapter", "base"])
    }
}
