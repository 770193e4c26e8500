import ByteAccess
import Checkpoints
import TestSupport
import Testing

@Suite struct CheckpointDirectoryTests {
    /// Opens a directory with the named files; each holds one tensor called as its file.
    static func open(_ files: [String], index: [(name: String, shards: [String])] = []) throws -> String {
        let directory = try TemporaryDirectory()
        for file in files { try directory.write(CheckpointFiles.file([ExactString(file)]), to: file) }
        for index in index {
            try directory.write(CheckpointFiles.index(index.shards.map { ($0, $0) }), to: index.name)
        }
        let checkpoint = try Checkpoint.open(directory.path)
        return checkpoint.shards.map(\.fileName).joined(separator: " ")
    }

    @Test(arguments: [
        (["model.safetensors"], "model.safetensors"),
        (["model.safetensors", "model.fp16.safetensors", "consolidated.safetensors"], "model.safetensors"),
        (
            ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"],
            "diffusion_pytorch_model.safetensors"
        ),
        (["model.fp16.safetensors"], "model.fp16.safetensors"),
        (["adapter_model.safetensors"], "adapter_model.safetensors"),
        (["weights.safetensors", ".hidden.safetensors"], "weights.safetensors"),
    ])
    func oneFileIsChosen(files: [String], chosen: String) throws {
        #expect(try Self.open(files) == chosen)
    }

    @Test func anIndexIsChosen() throws {
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        #expect(
            try Self.open(shards + ["consolidated.safetensors"], index: [("model.safetensors.index.json", shards)])
                == shards.joined(separator: " "))
        // MLX writes an index for one file, with the file's own name.
        #expect(
            try Self.open(["model.safetensors"], index: [("model.safetensors.index.json", ["model.safetensors"])])
                == "model.safetensors")
        let variant = ["model.fp16-00001-of-00001.safetensors"]
        #expect(try Self.open(variant, index: [("model.safetensors.index.fp16.json", variant)]) == variant[0])
        let diffusers = ["diffusion_pytorch_model-00001-of-00001.safetensors"]
        #expect(
            try Self.open(diffusers, index: [("diffusion_pytorch_model.safetensors.index.json", diffusers)])
                == diffusers[0])
    }

    @Test func severalCandidatesAreRefusedByName() throws {
        for files in [["a.safetensors", "b.safetensors"], ["model.bf16.safetensors", "model.fp16.safetensors"]] {
            let error = #expect(throws: PeftfileError.self) { try Self.open(files) }
            #expect(error?.rule == "AmbiguousCheckpoint")
            for file in files { #expect(error?.message.contains(file) == true) }
        }
        let shard = "model-00001-of-00001.safetensors"
        let error = #expect(throws: PeftfileError.self) {
            try Self.open(["model.safetensors", shard], index: [("model.safetensors.index.json", [shard])])
        }
        #expect(error?.rule == "AmbiguousCheckpoint")
    }

    @Test func shardsWithoutAnIndexAreRefused() throws {
        let error = #expect(throws: PeftfileError.self) { try Self.open(["model-00001-of-00002.safetensors"]) }
        #expect(error?.rule == "MissingIndex")
    }

    @Test func directoriesWithoutSafetensorsSayWhatTheyHold() throws {
        let directory = try TemporaryDirectory()
        #expect((#expect(throws: PeftfileError.self) { try Checkpoint.open(directory.path) })?.code == .notFound)
        try directory.write("x", to: "model.h5")
        let error = #expect(throws: PeftfileError.self) { try Checkpoint.open(directory.path) }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains("model.h5") == true)
        #expect(
            (#expect(throws: PeftfileError.self) { try Checkpoint.open(directory.path("absent")) })?.code == .notFound)
    }
}
