import Foundation
import Peftfile
import TestSupport
import Testing

/// Forms of methods, and broken files, whose results are stated from PEFT 0.21.2 run in float64 (torch 2.13).
@Suite struct MethodDefectTests {
    private typealias T = SmallModel

    private func refusal(_ model: SmallModel, _ adapters: [String] = ["adapter"]) -> PeftfileError? {
        do {
            _ = try RewritePlan.merge(model.binding(adapters))
            return nil
        } catch {
            return error as? PeftfileError
        }
    }

    // MARK: What PEFT computes

    /// `torch.kron(w1, w2).reshape(4, 6, 3)` of w1 (2, 2) and a whole w2 (2, 3, 3): kron pairs the last dimensions.
    @Test func lokrOfAConv1dWithAWholeSecondFactor() throws {
        let model = try SmallModel()
        try model.base([T.tensor("conv.weight", [4, 6, 3], seed: 1)])
        try model.adapter(
            [T.tensor("conv.lokr_w1", [2, 2], seed: 2), T.tensor("conv.lokr_w2", [2, 3, 3], seed: 3)], peftType: "LOKR",
            shared: #""r": 2, "alpha": 4"#)
        let expected = [
            -5, 10, -8, -14, 33, -41, -5, 10, -8, 5, 41, -33, 6, 10, -8, 13, 49, -25, 6, -14, 21, -3, 9, -12, 0, -20, 15, -1, 11,
            -10, -6, -15, 9, 1, 24, -8, 0, -7, -3, 15, -48, -12, 11, -7, -3, 34, -40, -4, 11, -7, -3, 42, -32, 15, -7, 17, 8, 8,
            -24, -1, -13, 11, 2, 10, -11, 1, -19, 16, -4, 12, -9, 3,
        ]
        #expect(try model.merged().numbers("conv.weight") == expected.map { Double($0) })
    }

    /// 16 = 4 · 4: with r = 1 and `decompose_both` both factors are low-rank, by `LoKrLayer.update_layer`; another form or another
    /// factorisation is of another config.
    @Test(arguments: [
        (#""decompose_both": true"#, nil), (#""decompose_both": true, "decompose_factor": 4"#, nil),
        (#""decompose_both": false"#, "decompose_both"), ("", "decompose_both"),
        (#""decompose_both": true, "decompose_factor": 2"#, "decompose_factor"),
        (#""decompose_both": true, "decompose_factor": 8"#, "decompose_factor"),
    ] as [(String, String?)]) func lokrsFormIsTheConfigs(_ config: String, _ key: String?) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [16, 16], seed: 1)])
        try model.adapter(
            [
                T.tensor("q.lokr_w1_a", [4, 1], seed: 2), T.tensor("q.lokr_w1_b", [1, 4], seed: 3), T.tensor("q.lokr_w2_a", [4, 1], seed: 4),
                T.tensor("q.lokr_w2_b", [1, 4], seed: 5),
            ], config: config, peftType: "LOKR", shared: #""r": 1, "alpha": 2"#)
        let error = refusal(model)
        #expect(error?.rule == (key == nil ? nil : "ConfigMismatch"))
        if let key { #expect(error?.message.contains(key) == true && error?.tensor != nil, "\(error?.description ?? "")") }
    }

    /// A convolution in two groups that scales its input: output i takes the three inputs of its own group.
    @Test func ia3OfAGroupedConvolutionsInput() throws {
        let model = try SmallModel()
        try model.base([T.tensor("conv.weight", [4, 3, 2, 1], seed: 1), T.tensor("conv.bias", [4], seed: 2)])
        try model.adapter(
            [T.tensor("conv.ia3_l", [1, 6, 1, 1], seed: 2)], peftType: "IA3", shared: #""feedforward_modules": ["conv"]"#)
        let expected = [3, -4, 0, 20, 6, -2, 5, -2, 10, -25, 2, -6, -8, 0, -20, 15, -1, -5, -4, 4, 25, 5, -3, 4]
        let result = try model.merged()
        #expect(try result.numbers("conv.weight") == expected.map { Double($0) })
        #expect(try result.numbers("conv.bias") == SmallTensor.numbers(4, seed: 2))
    }

    /// PEFT's `dispatch_default` gives every module r, whatever `rank_pattern` says.
    @Test func hiraTakesARankThatThePatternDoesNotSay() throws {
        for pattern in ["2", "3"] {
            let model = try SmallModel()
            try model.base([T.tensor("q.weight", [4, 5], seed: 1)])
            try model.adapter(
                [T.tensor("q.hira_A", [2, 5], seed: 2), T.tensor("q.hira_B", [4, 2], seed: 3)],
                config: #""rank_pattern": {"q": \#(pattern)}"#, peftType: "HIRA", shared: #""r": 2"#)
            let (w, a, b) = (SmallTensor.numbers(20, seed: 1), SmallTensor.numbers(10, seed: 2), SmallTensor.numbers(8, seed: 3))
            let expected = zip(w, Plain.product(b, a, 4, 2, 5)).map { $0 + $0 * $1 }
            #expect(try model.merged().numbers("q.weight") == expected)
        }
    }

    /// `_resolve_rank`: a float of at most 1 is a fraction of min(out, in), a whole number a rank.
    @Test(arguments: [("0.5", true), ("0.75", false), ("2", true), ("2.0", true), ("1", false), ("1.0", false), ("\"2\"", false)])
    func osfRanksMayBeFractions(_ rank: String, _ isFit: Bool) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [5, 4], seed: 1)])
        try model.adapter(
            [
                T.tensor("q.osf_svd_params.U_low", [5, 2], seed: 2), T.tensor("q.osf_svd_params.S_low", [2], seed: 3),
                T.tensor("q.osf_svd_params.V_low", [2, 4], seed: 4),
            ], peftType: "OSF", shared: #""effective_rank": \#(rank)"#)
        #expect((refusal(model) == nil) == isFit)
    }

    // MARK: Config and tensors that contradict each other

    /// In both directions, and where a bias would be scaled or not.
    @Test(arguments: [("[\"q\"]", [4, 1]), ("[]", [1, 5]), ("\".*q\"", [4, 1])])
    func ia3RefusesAContradiction(_ modules: String, _ shape: [Int]) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1), T.tensor("q.bias", [4], seed: 2)])
        try model.adapter([T.tensor("q.ia3_l", shape, seed: 3)], peftType: "IA3", shared: #""feedforward_modules": \#(modules)"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "FeedforwardMismatch")
        #expect(error.description.contains("feedforward_modules") && error.description.contains("\(shape)"))
        #expect(error.tensor == "base_model.model.q.ia3_l")
    }

    /// Without the key the shape decides.
    @Test func ia3WithoutTheKeyGoesByTheShape() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1)])
        try model.adapter([T.tensor("q.ia3_l", [1, 5], seed: 3)], peftType: "IA3", shared: "")
        let (w, l) = (SmallTensor.numbers(20, seed: 1), SmallTensor.numbers(5, seed: 3))
        #expect(try model.merged().numbers("q.weight") == w.indices.map { w[$0] * l[$0 % 5] })
    }

    /// PEFT has as many factors as the config says, or one where its extension is missing.
    @Test(arguments: [(1, 2, false), (2, 2, true), (2, 1, true), (3, 2, false), (3, 1, true)])
    func boftFactorsAreThoseOfTheConfig(_ configured: Int, _ stored: Int, _ isFit: Bool) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 8], seed: 1)])
        try model.adapter(
            [T.tensor("q.boft_R", [stored, 4, 2, 2], seed: 2), T.tensor("q.boft_s", [4, 1], seed: 3)], peftType: "BOFT",
            shared: #""boft_block_size": 2, "boft_n_butterfly_factor": \#(configured)"#)
        #expect(refusal(model)?.rule == (isFit ? nil : "BlockSize"))
    }

    @Test func aWholeFactorBesideItsParts() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 6], seed: 1)])
        try model.adapter(
            [
                T.tensor("q.lokr_w1", [2, 2], seed: 2), T.tensor("q.lokr_w1_a", [2, 2], seed: 3),
                T.tensor("q.lokr_w1_b", [2, 2], seed: 4), T.tensor("q.lokr_w2", [2, 3], seed: 5),
            ], peftType: "LOKR", shared: #""r": 2, "alpha": 2"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "TwoForms" && error.description.contains("lokr_w1_a") && error.description.contains("lokr_w1,"))
    }

    /// A tensor of the method's own that the formula of this module has no use for.
    @Test func aTensorThatTheFormulaDoesNotRead() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 6], seed: 1)])
        try model.adapter(
            [
                T.tensor("q.vera_lambda_b", [4], seed: 2), T.tensor("q.vera_lambda_d", [2], seed: 3),
                T.tensor("q.vera_lambda_b.old", [4], seed: 4), T.tensor("vera_A", [2, 6], seed: 5), T.tensor("vera_B", [4, 2], seed: 6),
            ], peftType: "VERA", shared: #""r": 2"#)
        #expect(refusal(model)?.rule == "UnclaimedTensor")
    }

    // MARK: Messages

    @Test func theShorterProjectionIsNamed() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 6], seed: 1)])
        try model.adapter(
            [
                T.tensor("q.vera_lambda_b", [4], seed: 2), T.tensor("q.vera_lambda_d", [2], seed: 3),
                T.tensor("vera_A", [2, 6], seed: 5), T.tensor("vera_B", [3, 2], seed: 6),
            ], peftType: "VERA", shared: #""r": 2"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "ShapeMismatch")
        #expect(error.description.contains("vera_B [3, 2]") && error.description.contains("\"q\""))
    }

    @Test func anOldRotationIsSaidToBeOne() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter(
            [T.tensor("q.oft_r", [2, 2, 2], seed: 2), T.tensor("q.oft_s", [4, 1], seed: 3)], peftType: "OFT",
            shared: #""r": 2"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "RetiredFormat" && !error.description.contains("peft_type"))
    }

    @Test func aGroupThatDoesNotDivideIsTheConfigs() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [6, 4], seed: 1)])
        try model.adapter(
            [T.tensor("q.road_theta", [3], seed: 2), T.tensor("q.road_alpha", [3], seed: 3)], peftType: "ROAD",
            shared: #""variant": "road_1", "group_size": 4"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "GroupSize" && error.help?.contains("group_size") == true)
    }

    @Test(arguments: [("HRA", "hra_u", [4, 3], #""apply_GS": false"#), ("MISS", "miss_block", [3, 4], #""init_weights": true"#)])
    func aRankThatScalesNothingIsNotCalledAScale(_ type: String, _ name: String, _ shape: [Int], _ config: String) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter([T.tensor(ExactString("q.\(name)"), shape, seed: 2)], config: config, peftType: type, shared: #""r": 2"#)
        let error = try #require(refusal(model))
        #expect(error.rule == "RankMismatch" && !error.description.contains("scale"))
    }

    /// Scales of rows and of columns commute; what is not defined is their sum.
    @Test func twoThatMultiplyAreNoSum() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1)])
        for name in ["one", "two"] {
            try model.adapter(
                [T.tensor("q.ia3_l", [4, 1], seed: 2)], name: name, peftType: "IA3", shared: #""feedforward_modules": []"#)
        }
        let error = try #require(refusal(model, ["one", "two"]))
        #expect(error.rule == "NotAdditive" && !error.description.contains("order"))
    }

    // MARK: Numbers without a meaning

    /// PEFT divides by the length of the column, 0, and its merge holds NaN; with apply_GS and a column twice another what
    /// is left is rounding.
    @Test(arguments: [(false, 0.0, 1.0, true), (true, 0, 1, true), (true, 2, 0, true), (false, 2, 0, false), (true, 2, 1, false)])
    func hraNeedsDirections(_ isBasis: Bool, _ factor: Double, _ rest: Double, _ isRefused: Bool) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [3, 4], seed: 1)])
        let first = [1.0, 2, -1, 3]
        let second = factor == 0 ? [0, 0, 0, 0] : first.indices.map { factor * first[$0] + ($0 == 2 ? rest : 0) }
        let values = zip(first, second).flatMap { [$0, $1] }
        try model.adapter(
            [SmallTensor(name: "q.hra_u", shape: [4, 2], values: values)], config: #""apply_GS": \#(isBasis)"#, peftType: "HRA",
            shared: #""r": 2"#)
        #expect(refusal(model)?.rule == (isRefused ? "NoDirection" : nil))
    }

    /// Every method's NaN is counted, on a 32-bit base as on a 16-bit one.
    @Test(arguments: [DType.f32, .bf16]) func whatBecomesNaNIsReported(_ dtype: DType) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1, dtype: dtype)])
        var broken = T.tensor("q.hada_w1_a", [4, 2], seed: 2)
        broken.values[0] = .nan
        try model.adapter(
            [
                broken, T.tensor("q.hada_w1_b", [2, 5], seed: 3), T.tensor("q.hada_w2_a", [4, 2], seed: 4),
                T.tensor("q.hada_w2_b", [2, 5], seed: 5),
            ], peftType: "LOHA", shared: #""r": 2, "alpha": 2"#)
        let receipt = try PlanExecutor(plan: .merge(model.binding()), target: model.directory.path("out")).run()
        #expect(receipt.total.nonfinite == 5)
        #expect(receipt.warnings.contains { $0.contains("5 results are NaN or infinite") })
    }

    // MARK: modules_to_save

    @Test func aSavedModuleWithoutItsTensor() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1), T.tensor("head.weight", [3, 4], seed: 2), T.tensor("head.bias", [3], seed: 3)])
        let lora = [T.tensor("q.lora_A.weight", [2, 5], seed: 4), T.tensor("q.lora_B.weight", [4, 2], seed: 5)]
        let saved = [T.tensor("head.weight", [3, 4], seed: 6), T.tensor("head.bias", [3], seed: 7)]
        for kept in 0...2 {
            let name = "kept\(kept)"
            try model.adapter(lora + saved.prefix(kept), config: #""modules_to_save": ["head"]"#, name: name)
            let error = refusal(model, [name])
            #expect(error?.rule == (kept == 2 ? nil : "SavedModuleMissing"))
            #expect(error.map { $0.tensor == (kept == 0 ? "head.weight" : "head.bias") } ?? true)
        }
    }

    /// PEFT writes both names for classification; the model has one head, and the base none or its own.
    @Test func namesThatTheBaseDoesNotHaveEither() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 5], seed: 1)])
        let lora = [T.tensor("q.lora_A.weight", [2, 5], seed: 4), T.tensor("q.lora_B.weight", [4, 2], seed: 5)]
        let names = #""modules_to_save": ["classifier", "score"]"#
        try model.adapter(lora + [T.tensor("score.weight", [3, 4], seed: 6)], config: names, name: "one")
        #expect(refusal(model, ["one"]) == nil)
        try model.adapter(lora, config: names, name: "none")
        let binding = try model.binding(["none"])
        #expect(binding.warnings.contains { $0.contains("modules_to_save names classifier, score") })
    }
}
