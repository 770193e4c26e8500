import Peftfile
import TestSupport
import Testing

/// Every LoRA-family case that the real libraries wrote: merged, compared with the expected values, and verified.
@Suite struct MergeFixtureTests {
    @Test func allCasesAreThere() {
        // The set is copied whole; a lost folder must not turn into fewer tests.
        #expect(MergeCase.names.count == 113)
    }

    @Test(arguments: MergeCase.names) func mergesOrRefuses(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        if merge.mustRefuse {
            let error = #expect(throws: PeftfileError.self) {
                _ = try PlanExecutor(plan: .merge(merge.binding()), target: target).run()
            }
            #expect(error?.rule != nil)
            #expect(error?.code == .refused || name == "lora-bin" && error?.code == .unsupported)
            #expect(try directory.names().isEmpty)
            return
        }
        let binding = try merge.binding()
        let receipt = try PlanExecutor(plan: .merge(binding), target: target).run()
        #expect(receipt.total.updated > 0)
        let result = try Checkpoint.open(target)
        try compare(result, with: merge)
        let report = try Verifier(
            binding: binding, result: result, dtype: nil, convertsAllDTypes: false, maxULP: 0, jobs: 2, probes: 2
        ).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
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
