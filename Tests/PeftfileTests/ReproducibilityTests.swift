import Peftfile
import TestSupport
import Testing

/// The weights' bytes depend on the inputs alone: not on the number of workers, the cut into panels, the shards, or the form of the
/// kernels that the processor runs.
@Suite struct ReproducibilityTests {
    private static let merged = MergeCase.names.filter { (try? MergeCase($0).mustRefuse) == false }

    @Test(arguments: merged) func bytesAreTheSameHoweverTheyAreMade(_ name: String) throws {
        let merge = try MergeCase(name)
        try hold(
            try merge.binding(), base: merge.base, adapter: merge.adapter,
            flags: merge.options.tie == .keep ? ["--tie", "keep"] : [])
    }

    @Test(arguments: QuantisedMergeTests.merged) func bytesOfQuantisedBasesAreTheSameToo(_ name: String) throws {
        let merge = try QuantisedMergeTests.Case(name)
        let folder = Fixtures.path("quantised/\(name)")
        try hold(try merge.binding(), base: "\(folder)/base", adapter: "\(folder)/adapter", flags: merge.flags)
    }

    private func hold(_ binding: Binding, base: String, adapter: String, flags: [String]) throws {
        let directory = try TemporaryDirectory()
        func hashes(_ output: String) throws -> [ExactString: String] {
            let result = try Checkpoint.open(directory.path(output))
            return Dictionary(uniqueKeysWithValues: try result.tensors.map { ($0.name, SHA256.hex(SHA256.hash(try result.read($0)))) })
        }
        func tensors(_ output: String, _ settings: MergeSettings, jobs: Int, panel: Int, hashing: Bool) throws -> [ExactString: String] {
            _ = try PlanExecutor(
                plan: .merge(binding, settings: settings), target: directory.path(output),
                settings: .init(jobs: jobs, hashing: hashing, isDurable: false, panelElements: panel)
            ).run()
            return try hashes(output)
        }
        let plain = try tensors("plain", MergeSettings(), jobs: 1, panel: Panels.elements, hashing: true)
        #expect(!plain.isEmpty)
        #expect(try tensors("workers", MergeSettings(), jobs: 5, panel: 64, hashing: true) == plain)
        #expect(try tensors("panels", MergeSettings(), jobs: 2, panel: 1, hashing: false) == plain)
        #expect(try tensors("shards", MergeSettings(maximumShardSize: 3000), jobs: 3, panel: 500, hashing: true) == plain)
        // A process finds its path once: each has its own.
        for path in KernelPath.available where path != KernelPath.active {
            let run = try Tool.run(
                ["merge", base, adapter, "-o", directory.path(path.rawValue), "--no-sync", "--quiet"] + flags,
                environment: ["PEFTFILE_CPU": path.rawValue])
            #expect(run.status == 0, "\(path): \(run.errors)")
            #expect(try hashes(path.rawValue) == plain, "\(path)")
        }
    }
}
