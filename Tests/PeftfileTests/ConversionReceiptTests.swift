import Peftfile
import TestSupport
import Testing

/// The receipt of an adapter's conversion, and the proof that `verify` makes by it.
@Suite struct ConversionReceiptTests {
    private let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func convert(_ source: String, _ target: String, _ output: String, _ options: [String] = []) throws {
        let result = try Tool.run(["convert", source, "--to", target, "-o", directory.path(output)] + options)
        #expect(result.status == 0, "\(result.errors)")
    }

    private func verify(_ output: String, _ options: [String] = []) throws -> Tool.Result {
        try Tool.run(["verify", directory.path(output)] + options)
    }

    /// Changes the last byte of a file: the sign and exponent of its last number.
    private func spoil(_ name: String) throws {
        var bytes = try TestFile.bytes(directory.path(name))
        let end = try #require(bytes.lastIndex { $0 != 0 })
        bytes[end] ^= 0x80
        try TestFile.write(bytes, to: directory.path(name))
    }

    @Test(arguments: [
        ("lora-rslora", "kohya", "adapter.safetensors"), ("lora-linear-bf16", "mlx", "adapters.safetensors"),
        ("dora-linear-f32", "mlx", "adapters.safetensors"), ("dora-linear-f32", "kohya", "adapter.safetensors"),
        ("dora-conv2d", "diffusers", "pytorch_lora_weights.safetensors"), ("loha-linear", "kohya", "adapter.safetensors"),
        ("lora-linear-bf16", "gguf", "adapter.gguf"), ("lora-mts", "peft", "adapter_model.safetensors"),
    ]) func aDirectoryIsProvedByItsReceipt(_ name: String, _ target: String, _ file: String) throws {
        let merge = try MergeCase(name)
        let base = target == "gguf" ? ["--base", merge.base] : []
        for (output, options) in [("out", []), ("unhashed", ["--no-hash"])] {
            try convert(merge.adapter, target, output, base + options)
            let verdict = try verify(output)
            #expect(verdict.status == 0 && verdict.output.contains(": equivalent\n"), "\(verdict.output)\(verdict.errors)")
            // Without a digest the numbers tell.
            try spoil("\(output)/\(file)")
            let spoilt = try verify(output)
            #expect(spoilt.status == 1 && spoilt.output.contains("NOT equivalent"), "\(spoilt.output)\(spoilt.errors)")
        }
    }

    @Test func aReceiptNamesWhatWasReadAndWritten() throws {
        let adapter = Fixtures.path("merge/lora-rslora/adapter")
        try convert(adapter, "kohya", "out")
        let path = directory.path("out/\(Receipt.fileName)")
        let receipt = try JSONValue.parse(TestFile.bytes(path), file: path)
        func digest(_ path: String) throws -> JSONValue {
            var hash = SHA256()
            hash.update(try TestFile.bytes(path))
            return .string(SHA256.hex(hash.finalize()))
        }
        let subject = receipt["subject"]?.arrayValue
        #expect(subject?.count == 1 && subject?[0]["name"] == "adapter.safetensors")
        #expect(try subject?[0]["digest"]?["sha256"] == digest(directory.path("out/adapter.safetensors")))
        let input = receipt["predicate"]?["adapters"]?.arrayValue?.first
        #expect(try input?["files"]?.arrayValue?.first?["sha256"] == digest(adapter + "/adapter_model.safetensors"))
        #expect(try input?["config_sha256"] == digest(adapter + "/adapter_config.json"))
        #expect(receipt["predicate"]?["options"]?["to"] == "kohya")
        #expect(receipt["predicate"]?["notes"]?.arrayValue?.count == 1)
    }

    @Test func aFileHasItsReceiptBesideIt() throws {
        let adapter = Fixtures.path("dialects/kohya-lora-with-te/adapter")
        let base = ["--base", Fixtures.path("dialects/kohya-lora-with-te/base")]
        try convert(adapter, "diffusers", "out.safetensors", base)
        #expect(try directory.names() == ["out.safetensors", "out.safetensors.receipt.json"])
        let verdict = try verify("out.safetensors")
        #expect(verdict.status == 0, "\(verdict.output)\(verdict.errors)")
        let path = directory.path("out.safetensors.receipt.json")
        let receipt = try JSONValue.parse(TestFile.bytes(path), file: path)
        #expect(receipt["predicate"]?["left_out"]?.arrayValue?.isEmpty == false)
        // Neither is written over unasked.
        try FileSystem.remove(directory.path("out.safetensors"))
        let arguments = ["convert", adapter, "--to", "diffusers", "-o", directory.path("out.safetensors")] + base
        let refused = try Tool.run(arguments)
        #expect(refused.status == 2 && refused.errors.contains("receipt.json"), "\(refused.errors)")
        #expect(try directory.names() == ["out.safetensors.receipt.json"])
        #expect(try Tool.run(arguments + ["--force"]).status == 0)
        #expect(try verify("out.safetensors").status == 0)
    }

    @Test func anInputThatChangedIsRefused() throws {
        try SmallTensor.write(
            [
                SmallModel.tensor("lora_unet_a.lora_down.weight", [2, 4], seed: 1),
                SmallModel.tensor("lora_unet_a.lora_up.weight", [4, 2], seed: 2),
            ], to: directory.path("lora.safetensors"))
        try convert(directory.path("lora.safetensors"), "kohya", "out.safetensors")
        #expect(try verify("out.safetensors").status == 0)
        try spoil("lora.safetensors")
        let refused = try verify("out.safetensors")
        #expect(refused.status == 2 && refused.errors.contains("[ReceiptInput]"), "\(refused.errors)")
        // Named, it is judged by what it is now.
        #expect(try verify("out.safetensors", ["--from", directory.path("lora.safetensors")]).status == 1)
    }
}
