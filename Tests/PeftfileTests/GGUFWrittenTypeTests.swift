import Peftfile
import TestSupport
import Testing

/// What a merge into a GGUF file writes where a tensor's type is not one that it writes, where the file's head is its embedding, and beside
/// whole numbers.
@Suite struct GGUFWrittenTypeTests {
    private static func merge(_ binding: Binding, to path: String, _ change: (inout MergeSettings) -> Void = { _ in }) throws -> Checkpoint {
        var settings = MergeSettings()
        settings.form = .gguf
        change(&settings)
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: path).run()
        var verifier = Verifier(binding: binding, result: try .open(path), dtype: settings.dtype)
        verifier.blockType = settings.blockType
        let report = try verifier.run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
        return try Checkpoint.openStored(path, entire: true)
    }

    /// Of blocks that are not written those that an update reaches become Q8_0 of the exact sum, and no other tensor changes a byte.
    @Test(arguments: ["gguf-legacy", "gguf-k-mix"]) func changedBlocksBecomeQ8(_ name: String) throws {
        let folder = Fixtures.path("quantised/\(name)")
        let binding = try Binding(base: .open("\(folder)/base"), adapters: [Adapter(path: "\(folder)/adapter")])
        let directory = try TemporaryDirectory()
        let result = try Self.merge(binding, to: directory.path("out.gguf")) { $0.blockType = .q8_0 }
        let (base, changed) = (binding.base, Set(binding.outputs.filter { $0.recipe.changesValues }.map(\.recipe.name)))
        let stored = try Checkpoint.openStored(base.path, entire: true)
        var exact = MergeSettings(dtype: .f64)
        exact.form = .safetensorsFile
        _ = try PlanExecutor(plan: .merge(binding, settings: exact), target: directory.path("exact.safetensors")).run()
        let sums = try Checkpoint.open(directory.path("exact.safetensors"))
        var written = 0
        let model = try #require(try Checkpoint.open(directory.path("out.gguf")).gguf)
        for tensor in try #require(base.gguf).tensors {
            let own = try #require(result[tensor.stored.name])
            guard let hub = tensor.names.first, changed.contains(hub), tensor.shape.count > 1 else {
                let before = try #require(stored[tensor.stored.name])
                #expect(try result.read(own) == stored.read(before), "\(tensor.stored.name)")
                continue
            }
            let type = model.tensors.first { $0.stored.name == tensor.stored.name }?.type
            #expect(type == (tensor.type == .f32 ? .f32 : .q8_0))
            guard type == .q8_0, tensor.pieces[0].order == nil, tensor.cut == nil, !tensor.isStack else { continue }
            #expect(try result.read(own) == GGUFMergeTests.q8(sums.numbers(hub)), "\(hub)")
            written += 1
        }
        #expect(written > 0)
    }

    /// The command takes q8_0, its receipt says so, and `verify` believes it; no other output has such blocks.
    @Test func theCommandWritesBlocks() throws {
        let directory = try TemporaryDirectory()
        let folder = Fixtures.path("quantised/gguf-k-mix")
        let arguments = ["merge", "\(folder)/base", "\(folder)/adapter", "--dtype", "q8_0", "-o"]
        let result = try Tool.run(arguments + [directory.path("out.gguf")])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.run(["verify", directory.path("out.gguf")]).status == 0)
        #expect(try TestFile.text(directory.path("out.gguf.receipt.json")).contains(#""dtype": "Q8_0""#))
        let other = try Tool.run(arguments + [directory.path("out")])
        #expect(other.status == 2 && other.errors.contains("GGUF files have such blocks"), "\(other.errors)")
    }

    /// A file without `output.weight` is tied: an update of the embedding alone leaves the head as it was, with the embedding's own bytes,
    /// as `tie_word_embeddings` would have it in a checkpoint of the Hub; told to, both move.
    @Test func aFileWithoutAHeadIsTied() throws {
        let model = try SmallModel()
        let numbers = SmallTensor.numbers(8 * 32, seed: 3)
        func file(_ embedding: [UInt8], head: [UInt8]? = nil, type: UInt32 = 8) -> [UInt8] {
            var builder = GGUFBuilder()
            builder.add("general.architecture", "qwen2")
            builder.tensors = [.init("token_embd.weight", [32, 8], type: type, embedding)]
            if let head { builder.tensors.append(.init("output.weight", [32, 8], type: type, head)) }
            return builder.file()
        }
        let (a, b) = (SmallTensor.numbers(2 * 8, seed: 5), SmallTensor.numbers(32 * 2, seed: 6).map { $0 / 4 })
        try model.adapter([
            .init(name: "model.embed_tokens.lora_embedding_A", shape: [2, 8], values: a),
            .init(name: "model.embed_tokens.lora_embedding_B", shape: [32, 2], values: b),
        ])
        let stored = GGUFMergeTests.q8(numbers)
        let base = try Checkpoint.open(model.directory.write(file(stored), to: "base.gguf"))
        let own = try base.numbers("model.embed_tokens.weight")
        let moved = Plain.sum(own, Plain.transposed(Plain.product(b, a, 32, 2, 8), 32, 8), scale: 3)
        func binding(_ tie: BindingOptions.Tie) throws -> Binding {
            try Binding(base: base, adapters: [Adapter(path: model.directory.path("adapter"))], options: BindingOptions(tie: tie))
        }
        let apart = try Self.merge(binding(.break), to: model.directory.path("apart.gguf"))
        #expect(try TestFile.bytes(apart.path) == file(GGUFMergeTests.q8(moved), head: stored))
        let together = try Self.merge(binding(.keep), to: model.directory.path("together.gguf"))
        #expect(try TestFile.bytes(together.path) == file(GGUFMergeTests.q8(moved)))
        // The same in safetensors under a config that ties.
        try model.base(
            [.init(name: "model.embed_tokens.weight", shape: [8, 32], values: own)], config: #"{"model_type": "qwen2", "tie_word_embeddings": true}"#)
        let plain = try model.merged()
        #expect(try plain.numbers("model.embed_tokens.weight") == moved && plain.numbers("lm_head.weight") == own)
    }

    /// Whole numbers beside blocks are numbers, and no codes.
    @Test func wholeNumbersAreCopied() throws {
        let directory = try TemporaryDirectory()
        var builder = GGUFBuilder()
        builder.add("general.architecture", "something-else")
        builder.tensors = [
            .init("blk.0.w.weight", [32, 1], type: 8, GGUFMergeTests.q8(SmallTensor.numbers(32, seed: 3))),
            .init("blk.0.bytes.weight", [4, 2], type: 24, [1, 2, 3, 4, 255, 254, 253, 252]),
            .init("blk.0.shorts.weight", [2, 1], type: 25, [1, 0, 255, 255]),
            .init("blk.0.words.weight", [2], type: 26, [1, 0, 0, 0, 254, 255, 255, 255]),
        ]
        let path = try directory.write(builder.file(), to: "base.gguf")
        let result = try Tool.run(["convert", path, "--to", "safetensors", "-o", directory.path("out.safetensors")])
        #expect(result.status == 0, "\(result.errors)")
        let plain = try Checkpoint.open(directory.path("out.safetensors"))
        #expect(try plain.read(#require(plain["blk.0.bytes.weight"])) == [1, 2, 3, 4, 255, 254, 253, 252])
        #expect(plain["blk.0.bytes.weight"]?.dtype == .i8 && plain["blk.0.shorts.weight"]?.dtype == .i16 && plain["blk.0.words.weight"]?.dtype == .i32)
        #expect(plain["blk.0.w.weight"]?.dtype == .bf16)
    }
}
