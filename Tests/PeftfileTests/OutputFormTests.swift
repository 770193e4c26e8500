import Peftfile
import TestSupport
import Testing

/// What the name of an output asks for.
@Suite struct OutputFormTests {
    /// The tensors of a directory's shards, in one file where the name is that of one.
    @Test func shardsMergeIntoOneFile() throws {
        let base = try Checkpoint.open(Fixtures.path("merge/lora-sharded-bf16/base"))
        let binding = try Binding(base: base, adapters: [Adapter(path: Fixtures.path("merge/lora-sharded-bf16/adapter"))])
        let directory = try TemporaryDirectory()
        var results: [Checkpoint] = []
        for name in ["out", "out.safetensors", "OUT.SafeTensors"] {
            var settings = MergeSettings()
            settings.form = try OutputForm(output: directory.path(name), base: base)
            _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: directory.path(name)).run()
            let result = try Checkpoint.open(directory.path(name))
            #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
            results.append(result)
        }
        #expect(FileSystem.isDirectory(directory.path("out")) && FileSystem.isRegularFile(directory.path("out.safetensors")))
        #expect(results[0].shards.count > 1 && results[1].isSingleFile && results[2].isSingleFile)
        for result in results {
            #expect(result.tensors.count == results[0].tensors.count)
            for tensor in results[0].tensors {
                let other = try #require(result[tensor.name])
                #expect(try results[0].read(tensor) == result.read(other), "\(tensor.name)")
            }
        }
    }

    /// A name that says another container than the one that is written.
    @Test(arguments: [("a.gguf", false), ("a.GGUF", false), ("a.safetensors", true), ("a.SAFETENSORS", true)])
    func namesOfOtherContainersAreRefused(_ name: String, _ gguf: Bool) throws {
        let error = #expect(throws: PeftfileError.self) { try ConvertOutput.requireMatch(name, gguf: gguf, option: "--to x") }
        #expect(error?.rule == "OutputForm")
        try ConvertOutput.requireMatch(name, gguf: !gguf, option: "--to x")
        try ConvertOutput.requireMatch("directory", gguf: gguf, option: "--to x")
    }

    @Test(arguments: ["a.BIN", "a.Pt", "a.NPZ"]) func endingsAreRefusedInAnyCase(_ name: String) {
        #expect(throws: PeftfileError.self) { try ConvertOutput.requireWritable(name) }
    }
}
