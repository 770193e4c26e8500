import Peftfile
import TestSupport
import Testing

/// PiSSA and OLoRA whose r is above min(out, in): PEFT's factors have as many columns as there are triplets, and the scale is that of
/// the config's r (`LoraLayer.pissa_init`, `olora_init`). PiSSA took the whole base out, so that W' = s·B·A alone; OLoRA took s of it.
@Suite struct DecomposedRankTests {
    private typealias T = SmallModel

    private func model(_ initialisation: String, r: Int = 8) throws -> SmallModel {
        let model = try SmallModel()
        try model.base([
            SmallTensor(name: "q.weight", shape: [3, 4], values: base, dtype: .f32)
        ])
        try model.adapter(
            [
                SmallTensor(name: "q.lora_A.weight", shape: [3, 4], values: [1, 2, 0, 1, 0, 1, 3, -1, 2, 0, 1, 1], dtype: .f32),
                SmallTensor(name: "q.lora_B.weight", shape: [3, 3], values: [1, 0, 2, 0, 1, 1, 3, -1, 0], dtype: .f32),
            ], config: #""init_lora_weights": "\#(initialisation)""#, shared: #""r": \#(r), "lora_alpha": 4"#)
        return model
    }

    private let base: [Double] = [4, 1, 0, 2, -1, 3, 2, 0, 1, 0, 5, -2]
    /// B·A by hand, times 4/8.
    private let product: [Double] = [5, 2, 2, 3, 2, 1, 4, 0, 3, 5, -3, 4].map { $0 / 2 }

    @Test(arguments: [("pissa", 0.0), ("olora", 0.5)]) func theScaleIsOfTheConfig(_ initialisation: String, _ left: Double) throws {
        let merged = try model(initialisation).merged().numbers("q.weight")
        let expected = zip(base, product).map { left * $0 + $1 }
        #expect(zip(merged, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(merged)")
    }

    /// On the base that the initialisation left nothing is taken out, and the factors are as they are.
    @Test(arguments: ["pissa", "olora", "pissa_niter_4"]) func onTheResidual(_ initialisation: String) throws {
        let merged = try model(initialisation).merged(options: BindingOptions(baseRole: .residual)).numbers("q.weight")
        #expect(merged == zip(base, product).map(+))
    }

    /// Of other initialisations the factors have the config's rank.
    @Test func othersAreRefused() throws {
        #expect(try model("gaussian").refusal() == "RankMismatch")
        #expect(try model("pissa", r: 2).refusal() == "RankMismatch")
    }
}
