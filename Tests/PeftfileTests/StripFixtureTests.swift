import Peftfile
import TestSupport
import Testing

/// Every training state that the real libraries wrote: stripped, compared with the expected values, verified, and
/// stripped again.
@Suite struct StripFixtureTests {
    @Test func allCasesAreThere() {
        // The set is copied whole; a lost folder must not turn into fewer tests.
        #expect(StripCase.names.count == 21)
    }

    @Test(arguments: StripCase.names) func stripsOrRefuses(_ name: String) throws {
        let strip = try StripCase(name)
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        if strip.mustRefuse {
            for layout in StripOptions.Layout.allCases {
                let error = #expect(throws: PeftfileError.self) {
                    _ = try StripCase.strip(strip.unstripped, to: target, StripOptions(layout: layout))
                }
                #expect(error?.code == .refused && error?.tensor != nil && error?.file != nil)
                #expect(error?.message.contains("[") == true, "shapes are named: \(error?.message ?? "")")
            }
            #expect(try directory.names().isEmpty)
            return
        }
        var options = StripOptions(layout: strip.layout)
        if name == "chatglm-plain" {
            // Stripped by training: nothing is written unless asked for.
            #expect(try StripCase.strip(strip.unstripped, to: target, options) == nil)
            #expect(try directory.names().isEmpty)
            options.writesStripped = true
        }
        let receipt = try #require(try StripCase.strip(strip.unstripped, to: target, options))
        #expect(receipt.document["schema"]?.stringValue == "peftfile.strip/1")
        try compare(try PromptSource.open(target).checkpoint, with: strip, leavingOut: "task_prompts.")
        let report = try StripCase.verify(target, from: strip.unstripped)
        #expect(report.isEquivalent, "\(report.json.serialized())")
        #expect(report.tensors.allSatisfy { $0.maxULP == 0 })
        // A stripped prompt is known as one.
        options.writesStripped = false
        #expect(try StripCase.strip(target, to: directory.path("again"), options) == nil)
        #expect(try directory.names() == ["out"])
    }

    @Test(arguments: 0..<3) func bakesATask(_ task: Int) throws {
        let strip = try StripCase("multitask")
        let directory = try TemporaryDirectory()
        for path in [strip.unstripped, Fixtures.path("strip/multitask/peft")] {
            let target = directory.path("out-\(path.hasSuffix("peft"))")
            _ = try #require(try StripCase.strip(path, to: target, StripOptions(task: task)))
            let result = try PromptSource(path: target)
            #expect(result.checkpoint.tensors.map(\.name) == ["prompt_embeddings"])
            #expect(result.modules[0].kind == .prompt)
            let expected = try strip.expected()
            try compare(
                "prompt_embeddings", of: result.checkpoint, with: ExactString("task_prompts.\(task)"), of: expected, strip)
            #expect(try StripCase.verify(target, from: path).isEquivalent)
        }
    }

    /// What the library itself saves is stripped already, and its float32 rounding lies within its own noise.
    @Test(arguments: StripCase.names) func theLibrarysOwnFilesAreStripped(_ name: String) throws {
        let strip = try StripCase(name)
        let directory = try TemporaryDirectory()
        for path in ["peft", "library"].map({ Fixtures.path("strip/\(name)/\($0)") }) where FileSystem.exists(path) {
            #expect(try StripCase.strip(path, to: directory.path("out"), StripOptions(layout: strip.layout)) == nil)
            let page = try Inspection(path: path)
            #expect(page.kind == .prompt && page.unclaimed.isEmpty)
            #expect(page.prompts.allSatisfy { !$0.module.isReparametrized && $0.savedBytes == 0 })
        }
    }

    // MARK: Comparison

    private func compare(_ result: Checkpoint, with strip: StripCase, leavingOut prefix: String) throws {
        let expected = try strip.expected()
        let wanted = expected.tensors.map(\.name).filter { !$0.text.hasPrefix(prefix) }
        #expect(Set(result.tensors.map(\.name)) == Set(wanted))
        for name in wanted { try compare(name, of: result, with: name, of: expected, strip) }
    }

    private func compare(
        _ name: ExactString, of result: Checkpoint, with other: ExactString, of expected: Checkpoint, _ strip: StripCase
    ) throws {
        let stored = try #require(result[name])
        let right = try #require(expected[other])
        #expect(stored.dtype == right.dtype && stored.shape == right.shape, "\(name)")
        let count = stored.info.elementCount
        let values = try Conversion.widened(try result.read(stored), as: stored.dtype, count: count)
        let wanted = try Conversion.widened(try expected.read(right), as: right.dtype, count: count)
        let step = Ulp.spacing(at: wanted.map(\.magnitude).max() ?? 0, in: stored.dtype)
        for (value, right) in zip(values, wanted) {
            let isClose = Ulp.distance(value, right, in: stored.dtype) <= strip.maximumULP
                && (value - right).magnitude <= strip.scaledULP * step
            #expect(isClose, "\(name): \(value) for \(right)")
            if !isClose { return }
        }
    }
}
