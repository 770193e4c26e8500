import Peftfile
import TestSupport
import Testing

/// The probes of additive methods: the merged matrix against the update as a map, on vectors.
@Suite struct FunctionalFormTests {
    static let cases = [
        "adalora", "adalora-bf16", "loha-linear", "loha-linear-bf16", "loha-conv2d-cp", "lokr-both", "lokr-default", "lokr-conv2d-cp",
        "c3a", "c3a-rect", "delora", "gralora", "hira", "miss", "miss-mini", "shira", "supertuning", "glora", "peanut", "deft", "osf",
    ]

    /// Right merges pass; a tensor from which the update is missing does not.
    @Test(arguments: cases) func probesSeeALostUpdate(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        let binding = try merge.binding()
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let matrices = binding.outputs.filter { !$0.recipe.updates.isEmpty && $0.recipe.shape.count > 1 }
        #expect(!matrices.isEmpty)
        for tensor in try Self.report(binding, result).tensors where matrices.contains(where: { $0.recipe.name == tensor.name }) {
            guard case .compared(let vectors, let failures, let worst) = tensor.probe else {
                Issue.record("\(tensor.name): not probed")
                continue
            }
            #expect(vectors == 4 && failures == 0 && worst > 0 && worst <= 1, "\(tensor.name): \(worst)")
        }

        let lost = try #require(matrices.first).recipe.name
        let base = try Checkpoint.open(merge.base)
        let stored = try #require(result[lost])
        let original = try base.read(try #require(base[lost]))
        for shard in result.shards {
            var bytes = try TestFile.bytes(FileSystem.join(try #require(result.directory), shard.fileName))
            if shard.fileName == result.shards[stored.shard].fileName {
                bytes.replaceSubrange(Int(stored.info.begin)..<Int(stored.info.end), with: original)
            }
            try directory.write(bytes, to: shard.fileName)
        }
        let report = try Self.report(binding, try Checkpoint.open(directory.path("model.safetensors")))
        let tensor = try #require(report.tensors.first { $0.name == lost })
        guard case .compared(_, let failures, let worst) = tensor.probe else {
            Issue.record("\(lost): not probed")
            return
        }
        #expect(failures > 0 && worst > 1)
    }

    private static func report(_ binding: Binding, _ result: Checkpoint) throws -> EquivalenceReport {
        try Verifier(
            binding: binding, result: result, dtype: nil, convertsAllDTypes: false, maxULP: 0, jobs: 2, probes: 4
        ).run()
    }
}
