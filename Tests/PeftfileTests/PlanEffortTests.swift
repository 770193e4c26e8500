import Peftfile
import TestSupport
import Testing

/// A merge that takes long says so before it starts, and no other does.
@Suite struct PlanEffortTests {
    private typealias T = SmallModel

    /// PiSSA of 1024 × 1024 takes 11.8·10⁹ multiplications, which is below the limit, and of 1600 × 1600 45·10⁹.
    @Test(arguments: [(1024, false), (1600, true)]) func ofADecomposition(_ size: Int, _ isLong: Bool) throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [size, size], seed: 1)])
        try model.adapter(
            [T.tensor("q.lora_A.weight", [2, size], seed: 2), T.tensor("q.lora_B.weight", [size, 2], seed: 3)],
            config: #""init_lora_weights": "pissa""#)
        let warnings = try RewritePlan.merge(model.binding()).warnings.filter { $0.hasPrefix("this takes long") }
        #expect(warnings.isEmpty == !isLong)
        // 11 · 1600³ = 45.1·10⁹.
        if isLong { #expect(warnings[0].contains("45 billion") && warnings[0].contains("23 s") && warnings[0].contains("PiSSA")) }
    }

    /// A LoRA of the same size has no word of it.
    @Test func ofNone() throws {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [1600, 1600], seed: 1)])
        try model.adapter([T.tensor("q.lora_A.weight", [2, 1600], seed: 2), T.tensor("q.lora_B.weight", [1600, 2], seed: 3)])
        #expect(try !RewritePlan.merge(model.binding()).warnings.contains { $0.hasPrefix("this takes long") })
    }
}
