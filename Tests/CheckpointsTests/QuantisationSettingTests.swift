import ByteAccess
@testable import Checkpoints
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// What the config of a quantised base says and cannot be meant, and which layers NF4 is simulated for.
@Suite struct QuantisationSettingTests {
    /// A base of the fixtures with one setting of its quantization_config changed.
    private func refusal(_ name: String, _ key: String, _ value: Any) throws -> PeftfileError? {
        let directory = try TemporaryDirectory()
        let path = directory.path("base")
        try FileManager.default.copyItem(atPath: Fixtures.path("quantised/\(name)/base"), toPath: path)
        let file = URL(filePath: "\(path)/config.json")
        var config = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let part = config["quantization"] == nil || config["quantization_config"] != nil ? "quantization_config" : "quantization"
        for part in Set([part, "quantization_config"]) where config[part] != nil {
            var settings = try #require(config[part] as? [String: Any])
            settings[key] = value
            config[part] = settings
        }
        try JSONSerialization.data(withJSONObject: config).write(to: file)
        do {
            let base = try Checkpoint.open(path)
            _ = try base.requireReadableWeights()
            return nil
        } catch let error as PeftfileError {
            #expect(error.tensor != nil, "names no tensor: \(error)")
            return error
        }
    }

    /// A value of another type is not an absent one: by that, gptq_v2 was read as gptq, and every zero point one off.
    @Test func aSettingThatIsNoString() throws {
        #expect(try refusal("gptq-4bit-asym-v2", "checkpoint_format", 2)?.code == .refused)
        #expect(try refusal("gptq-4bit-asym-v2", "checkpoint_format", ["gptq_v2"])?.code == .refused)
        #expect(try refusal("awq-gemm", "version", 1)?.code == .refused)
        #expect(try refusal("fp8-block128", "fmt", 3)?.code == .refused)
        #expect(try refusal("fp8-block128", "fmt", "e5m2")?.code == .refused)
        #expect(try refusal("fp8-block128", "weight_block_size", 0)?.code == .refused)
        #expect(try refusal("awq-gemm", "bits", NSNull())?.message.contains("does not say bits") == true)
        #expect(try refusal("bnb-nf4", "quant_method", "quip")?.rule == "UnknownScheme")
        #expect(try refusal("bnb-nf4", "quant_method", 5)?.code == .refused)
        #expect(try refusal("gptq-4bit-g128", "bits", "4")?.message.contains("no integer") == true)
        #expect(try refusal("gptq-4bit-asym-v2", "checkpoint_format", "gptq_v2") == nil)
    }

    /// Two files that contradict each other: one is taken, and said.
    @Test func twoConfigsOfGPTQ() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("base")
        try FileManager.default.copyItem(atPath: Fixtures.path("quantised/gptq-4bit-g128/base"), toPath: path)
        #expect(try !Checkpoint.open(path).requireReadableWeights().contains { $0.contains("quantize_config.json") })
        let text = #"{"bits": 4, "group_size": 128, "checkpoint_format": "gptq_v2"}"#
        try Data(text.utf8).write(to: URL(filePath: "\(path)/quantize_config.json"))
        #expect(try Checkpoint.open(path).requireReadableWeights().contains { $0.contains("gptq_v2") && $0.contains("config.json") })
    }

    @Test func widthsOfAMixedBase() throws {
        let title = try Checkpoint.open(Fixtures.path("quantised/mlx-odd-bits/base")).quantisation?.scheme
        #expect(title == "MLX affine, 2, 3, 5 and 6 bits")
    }

    @Test func aTypeThatTheTensorsAreNotOf() throws {
        #expect(try refusal("bnb-nf4", "bnb_4bit_quant_type", "fp4")?.code == .refused)
        #expect(try refusal("bnb-nf4", "bnb_4bit_quant_type", "nf4") == nil)
    }

    /// Rotations at run time have no place in a plain checkpoint.
    @Test func transformsAtRunTime() throws {
        let transform: [String: Any] = ["config_groups": ["v": ["type": "hadamard", "apply": [["location": "input", "targets": ["Linear"]]]]]]
        let error = try refusal("ct-int4-group", "transform_config", transform)
        #expect(error?.code == .refused && error?.message.contains("transform_config") == true)
        #expect(try refusal("ct-int4-group", "transform_config", [String: Any]()) == nil)
    }

    /// `get_keys_to_not_convert` of transformers leaves the output embeddings alone, whatever a model calls them.
    @Test(arguments: [
        ("model.layers.0.mlp.up_proj", true), ("transformer.encoder.layers.0.self_attention.dense", true),
        ("bert.encoder.layer.0.attention.output.dense", true), ("cls.predictions.transform.dense", true),
        ("lm_head", false), ("output", false), ("head", false), ("transformer.output_layer", false), ("cls.predictions.decoder", false),
        ("lm_head.decoder", false), ("score", false), ("embed_out", false), ("model.embed_tokens", false), ("model.norm", false),
    ]) func layersThatQLoRAQuantises(_ module: String, _ isQuantised: Bool) {
        let info = TensorInfo(name: ExactString(module + ".weight"), dtype: .bf16, shape: [4, 4], begin: 0, end: 32, isContiguous: true)
        #expect(NF4Simulation.quantises(StoredTensor(info: info, shard: 0)) == isQuantised)
    }

    /// `_keep_in_fp32_modules` of the classes of T5 and BLIP-2.
    @Test func layersThatStayInF32() {
        func quantises(_ module: String, _ model: String) -> Bool {
            let info = TensorInfo(name: ExactString(module + ".weight"), dtype: .bf16, shape: [4, 4], begin: 0, end: 32, isContiguous: true)
            return NF4Simulation.quantises(StoredTensor(info: info, shard: 0), model: model)
        }
        #expect(!quantises("encoder.block.0.layer.1.DenseReluDense.wo", "t5"))
        #expect(quantises("encoder.block.0.layer.1.DenseReluDense.wi", "t5"))
        #expect(quantises("encoder.block.0.layer.1.DenseReluDense.wo", "longt5"))
        #expect(!quantises("qformer.encoder.layer.0.attention.attention.query", "blip-2"))
        #expect(quantises("vision_model.encoder.layers.0.mlp.fc1", "blip-2"))
    }

    /// What `inspect` and `check` say that a GGUF base weighs is what `convert --dequantise` writes: every number in one dtype.
    @Test(arguments: ["gguf-k-mix", "gguf-legacy"]) func dequantisedBytesOfGGUF(_ name: String) throws {
        let base = try Checkpoint.open(Fixtures.path("quantised/\(name)/base"))
        let elements = base.tensors.reduce(0) { $0 + UInt64($1.info.elementCount) }
        #expect(base.plainBytes == elements * 2)
    }

    /// Whether experts and routers are modules depends on the version of transformers.
    @Test func aMixtureIsNotSimulated() throws {
        let base = try Checkpoint.open(Fixtures.path("merge/lora-mixtral-target-params/base"))
        let error = #expect(throws: PeftfileError.self) { _ = try base.simulating(NF4Simulation()) }
        #expect(error?.rule == "BaseAs")
    }
}
