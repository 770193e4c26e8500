import Peftfile
import TestSupport
import Testing

/// What a plan says of bytes is what is read and written then.
@Suite struct DryRunTests {
    @Test(arguments: [ConversionTarget.kohya, .mlx, .peft]) func conversionsWriteWhatWasPlanned(_ target: ConversionTarget) throws {
        let directory = try TemporaryDirectory()
        let source = try Adapter(path: Fixtures.path("merge/lora-sharded-bf16/adapter"))
        let path = directory.path(target == .kohya ? "out.safetensors" : "out")
        let executor = ConversionExecutor(conversion: try AdapterConversion(source, to: target, options: ConversionOptions()), target: path)
        let outline = try executor.outline()
        #expect(try directory.names().isEmpty)
        #expect(outline.bytesRead == source.checkpoint.tensorBytes)
        let files = try executor.run().map { target == .kohya ? path : FileSystem.join(path, $0) }
        #expect(try outline.bytesWritten == files.reduce(0) { $0 + (try FileReader(path: $1).size) })
        #expect(FileSystem.fileName(of: files[0]) == outline.fileName)
        let written = try Checkpoint.open(files[0])
        #expect(written.tensors.map(\.info.begin) == outline.tensors.map(\.begin))
        #expect(written.tensors.map(\.name) == outline.tensors.map(\.name))
    }

    /// Every tensor of these states is part of the prompt.
    @Test(arguments: ["ptuning-mlp", "ptuning-lstm", "prefix-projection-llama"]) func stripsReadThePromptsTensors(_ name: String) throws {
        let source = try PromptSource(path: Fixtures.path("strip/\(name)/unstripped"))
        guard case .plan(let plan) = try StripPlan.make(source) else { throw TestSupportError("nothing to strip") }
        #expect(plan.bytesRead == source.checkpoint.tensorBytes)
        #expect(plan.peakMemory(jobs: 1) >= 64 << 20 && plan.peakMemory(jobs: 8) >= plan.peakMemory(jobs: 1))
    }
}
