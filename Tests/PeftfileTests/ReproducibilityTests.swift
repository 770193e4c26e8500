import Peftfile
import TestSupport
import Testing

/// The weights' bytes depend on the inputs alone: not on the number of workers, the cut into panels or the shards.
@Suite struct ReproducibilityTests {
    private static let merged = MergeCase.names.filter { (try? MergeCase($0).mustRefuse) == false }

    @Test(arguments: merged) func bytesAreTheSameHoweverTheyAreMade(_ name: String) throws {
        let merge = try MergeCase(name)
        let binding = try merge.binding()
        let directory = try TemporaryDirectory()
        func tensors(_ output: String, _ settings: MergeSettings, jobs: Int, panel: Int, hashing: Bool) throws -> [ExactString: String] {
            let target = directory.path(output)
            _ = try PlanExecutor(
                plan: .merge(binding, settings: settings), target: target,
                settings: .init(jobs: jobs, hashing: hashing, isDurable: false, panelElements: panel)
            ).run()
            let result = try Checkpoint.open(target)
            var hashes: [ExactString: String] = [:]
            for tensor in result.tensors { hashes[tensor.name] = SHA256.hex(SHA256.hash(try result.read(tensor))) }
            return hashes
        }
        let plain = try tensors("plain", MergeSettings(), jobs: 1, panel: Panels.elements, hashing: true)
        #expect(!plain.isEmpty)
        #expect(try tensors("workers", MergeSettings(), jobs: 5, panel: 64, hashing: true) == plain)
        #expect(try tensors("panels", MergeSettings(), jobs: 2, panel: 1, hashing: false) == plain)
        #expect(try tensors("shards", MergeSettings(maximumShardSize: 3000), jobs: 3, panel: 500, hashing: true) == plain)
    }
}
