import Peftfile
import TestSupport
import Testing

/// How much of each weight an adapter changes, against plain loops and against what a merge finds.
@Suite struct WeightChangeTests {
    @Test(arguments: ["lora-linear-f32", "lora-linear-bf16", "dora-linear-f32", "loha-linear", "oft-block", "ia3-llama"])
    func normsAreThoseOfPlainLoops(_ name: String) throws {
        let merge = try MergeCase(name)
        let binding = try merge.binding()
        let changes = try RewritePlan.merge(binding).changes(jobs: 2)
        let expected = try merge.expected()
        #expect(changes.count > 1)
        for change in changes {
            let base = try #require(binding.base[change.name])
            let result = try #require(expected[change.name])
            let w = try Conversion.widened(binding.base.read(base), as: base.dtype, count: base.info.elementCount)
            let e = try Conversion.widened(expected.read(result), as: result.dtype, count: base.info.elementCount)
            var (size, moved, different) = (0.0, 0.0, 0)
            for index in w.indices {
                size += w[index] * w[index]
                moved += (e[index] - w[index]) * (e[index] - w[index])
                if e[index] != w[index] { different += 1 }
            }
            #expect(abs(change.baseNorm - size.squareRoot()) <= 1e-12 * size.squareRoot(), "\(change.name)")
            let stored = try #require(change.statistics.survival) * change.statistics.norm
            #expect(abs(stored - moved.squareRoot()) <= 1e-5 * moved.squareRoot(), "\(change.name)")
            #expect(change.statistics.updated - change.statistics.unchanged == different, "\(change.name)")
            #expect(abs(try #require(change.relative) - change.statistics.norm / size.squareRoot()) <= 1e-15)
        }
    }

    /// Looking and doing come to the same, for every number of workers.
    @Test func changesAreThoseOfTheReceipt() throws {
        let binding = try MergeCase("lora-sharded-bf16").binding()
        let plan = try RewritePlan.merge(binding)
        let directory = try TemporaryDirectory()
        let receipt = try PlanExecutor(plan: plan, target: directory.path("out")).run()
        let looked = try plan.changes(jobs: 1)
        #expect(looked.map(\.json) == (try plan.changes(jobs: 3).map(\.json)))
        #expect(looked.map(\.json) == (try plan.changes(of: receipt, jobs: 2).map(\.json)))
        let rows = receipt.document(target: "out")["predicate"]?["tensors"]?.arrayValue ?? []
        #expect(rows.count == looked.count && rows.count > 1)
        for (row, change) in zip(rows, looked) {
            #expect(row["name"] == change.json["tensor"] && row["update_norm"] == change.json["update_norm"])
            #expect(row["unchanged"] == change.json["unchanged"] && row["updated"] == change.json["updated"])
        }
    }
}
