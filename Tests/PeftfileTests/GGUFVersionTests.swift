import Peftfile
import TestSupport
import Testing

/// GGUF's version 2, whose layout is that of version 3.
@Suite struct GGUFVersionTests {
    @Test func versionTwoIsReadAndConverted() throws {
        var builder = GGUFBuilder()
        builder.version = 2
        builder.add("general.architecture", "llama")
        builder.add("llama.attention.head_count", UInt32(1))
        builder.tensors = [
            .init("output_norm.weight", [3], GGUFBuilder.bytes([1, 2, 3])),
            .init("token_embd.weight", [3, 2], GGUFBuilder.bytes([1, -2, 3, 4, 5.5, 6])),
        ]
        let directory = try TemporaryDirectory()
        let path = try directory.write(builder.file(), to: "old.gguf")
        let page = try Tool.run(["inspect", path])
        #expect(page.status == 0 && page.output.contains("gguf"), "\(page.output)\(page.errors)")
        let target = directory.path("new.safetensors")
        let converted = try Tool.run(["convert", path, "-o", target])
        #expect(converted.status == 0, "\(converted.errors)")
        let result = try Checkpoint.open(target)
        #expect(try result.numbers("model.norm.weight") == [1, 2, 3])
        #expect(try result.numbers("model.embed_tokens.weight") == [1, -2, 3, 4, 5.5, 6])
        #expect(result["model.embed_tokens.weight"]?.shape == [2, 3])
        #expect(try Tool.run(["verify", target]).status == 0)
    }
}
