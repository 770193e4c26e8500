import Adapters
import ByteAccess
import Testing

/// Modules whose rows a file holds in a way that is not read are refused with that reason, and not as if the base lacked them.
@Suite struct UnreadLayoutTests {
    private func refusal(_ type: String, names: [String], _ requests: [ParameterRequest]) -> PeftfileError? {
        let base = SyntheticBase(type, names: names)
        return #expect(throws: PeftfileError.self) { _ = try base.resolver.resolve(requests) }
    }

    @Test func rowsInAnotherOrder() {
        let error = refusal(
            "kimi_k25", names: ["vision_tower.encoder.blocks.0.wqkv.weight", "vision_tower.encoder.blocks.0.wo.weight"],
            [ParameterRequest(module: "model.vision_tower.layers.0.attn.q_proj", parameter: .weight, update: (6, 4))])
        #expect(error?.rule == "MissingTarget")
        #expect(error?.message.contains("in the order of another position encoding, which is not read") == true)
        #expect(error?.help?.contains("save_original_format=False") == true)
    }

    /// Of inkling's experts the file has `down_proj` under another name, and gate and up in turn.
    @Test func expertsWhoseRowsTakeTurns() {
        var base = SyntheticBase(
            "inkling_mm_model", [
                "model.llm.layers.0.mlp.experts.w13_weight": [4, 12, 8], "model.llm.layers.0.mlp.experts.w2_weight": [4, 8, 6],
            ])
        base.targetParameters = ["experts.gate_up_proj", "experts.down_proj"]
        let error = #expect(throws: PeftfileError.self) {
            _ = try base.wrapped("model.language_model.layers.0.mlp.experts", [(8, 6), (12, 8)])
        }
        #expect(error?.rule == "WrappedParameters")
        #expect(error?.message.contains("take turns (w13_weight), which is not read") == true)
    }
}
