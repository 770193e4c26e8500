import Peftfile
import TestSupport
import Testing

/// What `inspect` shows of the modules of methods without a merged form, against the configs and the shapes of the library's files.
@Suite struct UnmergeableFigureTests {
    private func targets(_ name: String) throws -> [AdapterTarget] {
        try Inspection(path: MergeCase(name).adapter).targets
    }

    private func text(_ target: AdapterTarget) -> String {
        let numbers = [target.rank.map { "r \($0)" }, target.alpha.map { "alpha \($0)" }, target.scale.map { "scale \($0)" }]
        return (numbers.compactMap { $0 } + target.details.map(\.text)).joined(separator: ", ")
    }

    @Test(arguments: [
        ("lily", "Lily", ["model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.q_proj"], "r 4, scale 1.0, num_B 2, stride_A 1"),
        ("psoft", "PSOFT", ["model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.q_proj"], "r 4, alpha 32.0, scale 8.0, psoft_orth true, magnitudes a and b"),
        ("refuse-adaption-prompt", "LLaMA-Adapter", ["model.layers.0.self_attn"], "adapter_len 4, width 24"),
        ("refuse-xlora", "X-LoRA", ["internal_xlora_classifier"], "experts 2, xlora_depth 2, xlora_size 8, layerwise_scalings false"),
        ("shadow", "ShadowPEFT", ["model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.q_proj"], "r 8, alpha 0.1, update_hidden_size 8"),
    ]) func modulesAndParameters(_ name: String, _ method: String, _ modules: [String], _ figures: String) throws {
        let found = try targets(name)
        #expect(found.map(\.module.text).prefix(modules.count) == modules[...])
        #expect(found.allSatisfy { $0.method == method })
        #expect(text(found[0]) == figures)
        // The model that runs beside the base is one more row.
        #expect(found.dropFirst(modules.count).map(\.module.text) == (name == "shadow" ? ["shadow_backbone"] : []))
    }

    /// λ as it was trained, and not the one that the config began with.
    @Test func deLoRAsLambda() throws {
        let stored = try Checkpoint.open(MergeCase("delora").adapter)
        for target in try targets("delora") {
            let value = try stored.numbers(ExactString("base_model.model.\(target.module).delora_lambda"))[0]
            #expect(target.details.map(\.value) == [.number(value)] && value != 15)
        }
    }

    /// A file without tensors is said to be one, and what to do.
    @Test func anEmptyFile() throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("q.weight", [4, 4], seed: 1)])
        try model.adapter([], config: #""target_modules": ["q"]"#)
        let path = model.directory.path("adapter")
        #expect(try Inspection(path: path).warnings.contains { $0.contains("holds no tensors") && $0.contains("save it") })
        let error = #expect(throws: PeftfileError.self) { _ = try RewritePlan.merge(model.binding()) }
        #expect(error?.message.hasPrefix("adapter_model.safetensors holds no tensors") == true && error?.help != nil)
    }
}
