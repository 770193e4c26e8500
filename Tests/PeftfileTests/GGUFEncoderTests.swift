import Peftfile
import TestSupport
import Testing

/// Encoders: models without a head, as GGUF files and as bases of llama.cpp's adapters.
@Suite struct GGUFEncoderTests {
    static let folder = Fixtures.path("gguf-models")
    static let adapters = ((try? FileSystem.list(folder + "/lora")) ?? []).sorted()

    @Test func allAreThere() { #expect(Self.adapters == ["bert", "bert-mlm", "modernbert", "modernbert-mlm"]) }

    /// PEFT's adapter becomes the tensors that llama.cpp's converter makes of it, byte for byte, and comes back from there.
    @Test(arguments: adapters) func anAdapterIsTheConverters(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let path = "\(Self.folder)/lora/\(name)"
        let facts = try #require(try GGUFFacts(configAt: "\(path)/config.json"))
        let conversion = try AdapterConversion(Adapter(path: "\(path)/adapter"), to: .gguf, gguf: .init(facts: facts))
        _ = try ConversionExecutor(conversion: conversion, target: directory.path("a.gguf")).run()
        let (wanted, found) = (try GGUFFile.open("\(path)/lora.gguf"), try GGUFFile.open(directory.path("a.gguf")))
        #expect(Set(found.tensors.map(\.name)) == Set(wanted.tensors.map(\.name)) && found.tensors.count >= 4)
        for tensor in wanted.tensors {
            let own = try #require(found.tensors.first { $0.name == tensor.name })
            #expect(own.shape == tensor.shape && own.dtype == tensor.dtype, "\(tensor.name)")
            #expect(
                try found.reader.bytes(at: own.begin, count: Int(own.byteCount)) == wanted.reader.bytes(at: tensor.begin, count: Int(tensor.byteCount)),
                "\(tensor.name)")
        }
        for key: ExactString in ["general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"] { #expect(found.value(key) == wanted.value(key)) }
        // Back, under the names of the bare model.
        let back = try AdapterConversion(Adapter(path: "\(path)/lora.gguf"), to: .peft)
        _ = try ConversionExecutor(conversion: back, target: directory.path("back")).run()
        let (there, here) = (try Checkpoint.open("\(path)/adapter"), try Checkpoint.open(directory.path("back")))
        #expect(there.tensors.count == here.tensors.count)
        for tensor in here.tensors {
            let rest = tensor.name.text.dropFirst("base_model.model.".count)
            let own = try #require(there.tensors.first { $0.name.text.hasSuffix("." + rest) })
            #expect(try there.read(own) == here.read(tensor), "\(tensor.name)")
        }
    }

    /// An update of an embedding unties no head, where the model has none.
    @Test(arguments: [
        ("gemmaembedding", "embed_tokens"), ("bert", "embeddings.word_embeddings"), ("modernbert", "embeddings.tok_embeddings"), ("t5encoder", "shared"),
        ("nomicbert", "embeddings.word_embeddings"), ("eurobert", "embed_tokens"),
    ]) func anEmbeddingAloneIsMerged(_ name: String, _ module: String) throws {
        let base = try Checkpoint.open("\(Self.folder)/\(name).gguf")
        let weight = try #require(base[ExactString(module + ".weight")])
        let model = try SmallModel()
        let (a, b) = (SmallTensor.numbers(2 * weight.shape[0], seed: 1), SmallTensor.numbers(2 * weight.shape[1], seed: 2))
        try model.adapter([
            .init(name: ExactString("\(module).lora_embedding_A"), shape: [2, weight.shape[0]], values: a),
            .init(name: ExactString("\(module).lora_embedding_B"), shape: [weight.shape[1], 2], values: b),
        ])
        let binding = try Binding(base: base, adapters: [Adapter(path: model.directory.path("adapter"))])
        _ = try PlanExecutor(plan: .merge(binding), target: model.directory.path("out")).run()
        let result = try Checkpoint.open(model.directory.path("out"))
        #expect(Set(result.tensors.map(\.name)) == Set(base.tensors.map(\.name)))
        // W + s·(B·A)ᵀ, s = 6 / 2.
        let product = Plain.product(Plain.transposed(a, 2, weight.shape[0]), Plain.transposed(b, weight.shape[1], 2), weight.shape[0], 2, weight.shape[1])
        #expect(try result.numbers(weight.name) == Plain.sum(base.numbers(weight.name), product, scale: 3))
    }
}
