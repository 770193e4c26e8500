import Peftfile
import TestSupport
import Testing

/// Adapters that were trained on one tower of a model of two: in transformers 5 both have the same names, and the config has the class.
@Suite struct TowerClassTests {
    private typealias T = SmallModel

    private func model(_ modelClass: String?, type: String, front: String = "") throws -> SmallModel {
        let model = try SmallModel()
        let layer = "encoder.layers.0.self_attn.q_proj"
        try model.base(
            ["vision_model", "text_model"].enumerated().map { T.tensor(ExactString("\(front)\($1).\(layer).weight"), [4, 4], seed: $0) },
            config: #"{"model_type": "\#(type)"}"#)
        let mapping = modelClass.map { #", "auto_mapping": {"base_model_class": "\#($0)", "parent_library": "transformers.models.clip.modeling_clip"}"# }
        try model.adapter(
            [T.tensor(ExactString("\(layer).lora_A.weight"), [2, 4], seed: 5), T.tensor(ExactString("\(layer).lora_B.weight"), [4, 2], seed: 6)],
            config: #""target_modules": ["q_proj"]"# + (mapping ?? ""))
        return model
    }

    @Test(arguments: [("CLIPVisionModel", "vision_model"), ("CLIPTextModelWithProjection", "text_model")], ["clip", "clipseg"])
    func theClassTellsTheTower(_ trained: (name: String, tower: String), _ type: String) throws {
        let front = type == "clipseg" ? "clip." : ""
        let model = try model(trained.name, type: type, front: front)
        let binding = try model.binding()
        #expect(binding.targets.flatMap(\.tensors).map(\.text) == ["\(front)\(trained.tower).encoder.layers.0.self_attn.q_proj.weight"])
        _ = try model.merged()
    }

    @Test(arguments: [nil, "CLIPModel", "AVisionModelOfTextModel"]) func noClassLeavesItOpen(_ name: String?) throws {
        #expect(try model(name, type: "clip").refusal() == "AmbiguousTarget")
    }

    /// A segmenter holds a whole CLIP below its own name, which an adapter of the bare model lacks.
    @Test func aSegmentersModelStandsBelowClip() throws {
        let model = try SmallModel()
        let name = "vision_model.encoder.layers.0.self_attn.q_proj"
        try model.base([T.tensor(ExactString("clip.\(name).weight"), [4, 4], seed: 1)], config: #"{"model_type": "clipseg"}"#)
        try model.adapter(
            [T.tensor(ExactString("\(name).lora_A.weight"), [2, 4], seed: 5), T.tensor(ExactString("\(name).lora_B.weight"), [4, 2], seed: 6)])
        #expect(try model.binding().targets.flatMap(\.tensors).map(\.text) == ["clip.\(name).weight"])
    }
}
