import Peftfile
import TestSupport
import Testing

/// Every case that the real libraries wrote: merged, compared with the expected values, and verified.
@Suite struct MergeFixtureTests {
    @Test func allCasesAreThere() {
        // The set is copied whole; a lost folder must not turn into fewer tests.
        #expect(MergeCase.names.count == 181)
        #expect(MergeCase.projections.count == 44)
    }

    @Test(arguments: MergeCase.names) func mergesOrRefuses(_ name: String) throws { try check(MergeCase(name)) }

    /// Random projections and index sets that no file holds, against PEFT on torch 2.13.
    @Test(arguments: MergeCase.projections) func regenerates(_ name: String) throws {
        try check(MergeCase(name, in: "projections"))
    }

    private func check(_ merge: MergeCase) throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        if merge.mustRefuse {
            let error = #expect(throws: PeftfileError.self) {
                _ = try PlanExecutor(plan: .merge(merge.binding()), target: target).run()
            }
            #expect(error?.rule != nil)
            #expect(error?.code == .refused)
            #expect(try directory.names().isEmpty)
            return
        }
        let binding = try merge.binding()
        let receipt = try PlanExecutor(plan: .merge(binding), target: target).run()
        // LN tuning trains copies of whole parameters and adds nothing to any.
        let replaced = binding.outputs.contains(where: \.recipe.isFromAdapter)
        #expect(receipt.total.updated > 0 || replaced)
        let result = try Checkpoint.open(target)
        try compare(result, with: merge)
        let report = try Verifier(
            binding: binding, result: result, dtype: nil, convertsAllDTypes: false, maxULP: 0, jobs: 2, probes: 2
        ).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
        try findsFlippedBit(in: result, binding: binding)
    }

    /// One bit of one computed number is changed: the lowest of an element in the middle of the first such tensor.
    private func findsFlippedBit(in result: Checkpoint, binding: Binding) throws {
        let computed = binding.outputs.first { output in
            !output.recipe.isCopy && !output.recipe.updates.contains { if case .decomposed = $0.update { true } else { false } }
        }
        // What is decomposed is accepted from any build of LAPACK, and saved parameters alone compute nothing.
        guard let recipe = computed?.recipe, let stored = result[recipe.name] else { return }
        let directory = try TemporaryDirectory()
        for shard in result.shards {
            var bytes = try TestFile.bytes(FileSystem.join(try #require(result.directory), shard.fileName))
            if shard.fileName == result.shards[stored.shard].fileName {
                let element = stored.info.elementCount / 2
                bytes[Int(stored.info.begin) + element * stored.dtype.bits / 8] ^= 1
            }
            try directory.write(bytes, to: shard.fileName)
        }
        if result.shards.count > 1 {
            let index = FileSystem.join(try #require(result.directory), "model.safetensors.index.json")
            try directory.write(TestFile.bytes(index), to: "model.safetensors.index.json")
        }
        let report = try Verifier(
            binding: binding, result: Checkpoint.open(directory.path), dtype: nil, convertsAllDTypes: false, maxULP: 0,
            jobs: 1, probes: 0
        ).run()
        #expect(report.tensors.filter { $0.mismatched > 0 }.map(\.name) == [recipe.name])
    }

    private func compare(_ result: Checkpoint, with merge: MergeCase) throws {
        let base = try Checkpoint.open(merge.base)
        let expected = try merge.expected()
        let names = Set(base.tensors.map(\.name)).subtracting(merge.dropped).union(expected.tensors.map(\.name))
        #expect(Set(result.tensors.map(\.name)) == names)
        for tensor in result.tensors {
            let bytes = try result.read(tensor)
            guard let wanted = expected[tensor.name] else {
                let original = try #require(base[tensor.name])
                #expect(original.dtype == tensor.dtype && original.shape == tensor.shape)
                #expect(try base.read(original) == bytes, "\(tensor.name) must come through bit for bit")
                continue
            }
            #expect(wanted.dtype == tensor.dtype && wanted.shape == tensor.shape)
            let right = try expected.read(wanted)
            if bytes == right { continue }
            #expect(tensor.dtype == .f32, "\(tensor.name): 16-bit outputs equal the expected bytes")
            try compare(bytes, right, tensor, merge)
        }
    }

    /// Within `max_ulp`, or where base and update nearly cancel within `scaled_ulp` steps of the largest element.
    private func compare(_ bytes: [UInt8], _ right: [UInt8], _ tensor: StoredTensor, _ merge: MergeCase) throws {
        let count = tensor.info.elementCount
        let stored = try Conversion.widened(bytes, as: tensor.dtype, count: count)
        let wanted = try Conversion.widened(right, as: tensor.dtype, count: count)
        let largest = wanted.map(\.magnitude).max() ?? 0
        let step = Ulp.spacing(at: largest, in: tensor.dtype)
        for (a, b) in zip(stored, wanted) {
            let isClose = Ulp.distance(a, b, in: tensor.dtype) <= merge.maximumULP
                || (a - b).magnitude <= merge.scaledULP * step
            #expect(isClose, "\(tensor.name): \(a) for \(b)")
            if !isClose { return }
        }
    }
}
