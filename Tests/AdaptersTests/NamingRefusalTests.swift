import Adapters
import ByteAccess
import Testing

/// What cannot be placed is named, with what was looked for and what comes nearest; and none of it takes long.
@Suite struct NamingRefusalTests {
    @Test func missingModulesAreListed() {
        let base = SyntheticBase("llama", names: (0..<4).map { "model.layers.\($0).self_attn.q_proj.weight" })
        let modules = (2..<10).map { "model.layers.\($0).self_attn.q_proj" }
        let error = #expect(throws: PeftfileError.self) { try base.tensors(of: modules) }
        #expect(error?.code == .refused && error?.rule == "MissingTarget")
        #expect(error?.tensor == "model.layers.4.self_attn.q_proj.weight")
        let message = error?.message ?? ""
        #expect(message.hasPrefix("6 of the adapter's 8 parameters have no tensor in the base (model_type llama): "))
        for part in [
            "model.layers.4.self_attn.q_proj (no tensor model.layers.4.self_attn.q_proj.weight; nearest: ",
            "nearest: model.layers.3.self_attn.q_proj.weight, model.layers.2.", "model.layers.6.self_attn.q_proj", "and 3 more",
        ] {
            #expect(message.contains(part), "\(message)")
        }
    }

    /// Where others have their place, the base is not accused alone: a renaming that is not known looks the same.
    @Test func aPartThatIsMissing() {
        let base = SyntheticBase("newtype", names: ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.mixer.out.weight"])
        let some = #expect(throws: PeftfileError.self) { try base.tensors(of: ["model.layers.0.self_attn.q_proj", "model.layers.0.mixer.o_proj"]) }
        #expect(some?.help?.contains("renaming of model_type newtype that this version does not know") == true, "\(some?.help ?? "")")
        let all = #expect(throws: PeftfileError.self) { try base.tensors(of: ["model.layers.3.self_attn.q_proj"]) }
        #expect(all?.help?.hasPrefix("give the base model that the adapter was trained on; if this is it, ") == true)
        #expect(all?.help?.contains("renaming of model_type newtype that this version does not know") == true, "\(all?.help ?? "")")
        let known = SyntheticBase("llama", names: ["model.layers.0.self_attn.q_proj.weight"])
        let other = #expect(throws: PeftfileError.self) { try known.tensors(of: ["model.layers.3.self_attn.q_proj"]) }
        #expect(other?.help == "give the base model that the adapter was trained on")
    }

    /// Whatever is misspelt: the module's own name, its parent, its number, or all of it.
    @Test(arguments: [
        ("model.layers.0.self_attn.qq_proj", "model.layers.0.self_attn.q_proj.weight"),
        ("model.layers.0.attention.q_proj", "model.layers.0.self_attn.q_proj.weight"),
        ("model.layers.9.mlp.up_proj", "model.layers.3.mlp.up_proj.weight"),
        ("transformer.h.1.mlp.upproj", "model.layers.1.mlp.up_proj.weight"), ("lmhead", "lm_head.weight"), ("zzz", "lm_head.weight"),
    ]) func theNearestNamesAreGiven(_ module: String, _ nearest: String) {
        let names = (0..<4).flatMap { layer in
            ["self_attn.k_proj", "self_attn.q_proj", "mlp.down_proj", "mlp.up_proj"].map { "model.layers.\(layer).\($0).weight" }
        }
        let base = SyntheticBase("llama", names: names + ["lm_head.weight"])
        let error = #expect(throws: PeftfileError.self) { try base.tensors(of: [module]) }
        let message = error?.message ?? ""
        let hint = message.split(separator: "nearest: ").last ?? ""
        #expect(hint.hasPrefix(nearest), "\(message)")
        #expect(hint.split(separator: ", ").count == 3, "\(message)")
    }

    @Test func aSurveyListsThemInstead() throws {
        let base = SyntheticBase("bert", names: ["bert.encoder.layer.0.output.dense.weight"])
        let requests = [
            ParameterRequest(module: "encoder.layer.0.output.dense", parameter: .weight),
            ParameterRequest(module: "classifier", parameter: .named("weight")),
        ]
        let resolution = try base.resolver.survey(requests)
        #expect(resolution.places.keys.map(\.module) == ["encoder.layer.0.output.dense"])
        #expect(resolution.missing.map(\.request) == [requests[1]])
        #expect(resolution.missing.map(\.storedName) == ["bert.classifier.weight"])
    }

    @Test func nothingAskedIsNothingFound() throws {
        #expect(try SyntheticBase("llama", names: ["a.weight"]).resolver.resolve([]).isEmpty)
    }

    @Test func wrappersThatContradictAreRefused() {
        let base = SyntheticBase(
            "qwen3_moe", ["m.experts.gate_up_proj": [2, 24, 8], "m.experts.down_proj": [2, 8, 12]])
        func request(_ level: Int, _ levels: Int) -> ParameterRequest {
            ParameterRequest(module: "m.experts", parameter: .wrapped(level: level, levels: levels), update: (24, 8))
        }
        for requests in [[request(0, 0)], [request(2, 2)], [request(-1, 1)], [request(0, 2), request(0, 1)]] {
            #expect(throws: PeftfileError.self) { try base.resolver.resolve(requests) }
        }
        let three = (0..<3).map { request($0, 3) }
        let error = #expect(throws: PeftfileError.self) { try base.resolver.resolve(three) }
        #expect(error?.message.contains("wraps 3 parameters of m.experts") == true)
    }

    /// 100,000 names and 10,000 requests, found under the last forms, or under none. Measured at well under a second in
    /// release; the bound leaves room for a debug build on a busy machine, not for a quadratic one.
    @Test func largeModelsTakeLinearTime() throws {
        var names: [String] = []
        for layer in 0..<100 {
            for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
                names.append("language_model.model.layers.\(layer).self_attn.\(part).weight")
            }
            for expert in 0..<332 {
                for leaf in ["gate_proj", "up_proj", "down_proj"] {
                    names.append("language_model.model.layers.\(layer).mlp.experts.\(expert).\(leaf).weight")
                }
            }
        }
        let base = SyntheticBase("llava", names: names)
        let modules = names.prefix(10_000).map {
            "model.language_model." + $0.dropFirst("language_model.model.".count).dropLast(".weight".count)
        }
        let clock = ContinuousClock()
        let resolver = base.resolver
        let asked = requests(modules)
        var places: [ParameterRequest: ParameterPlace] = [:]
        let found = try clock.measure { places = try resolver.resolve(asked) }
        #expect(places.count == 10_000)
        let foreign = modules.map { "decoder." + $0 }
        let unknown = requests(foreign)
        let refused = clock.measure {
            _ = #expect(throws: PeftfileError.self) { try resolver.resolve(unknown) }
        }
        #expect(found < .seconds(20) && refused < .seconds(40), "\(found), \(refused)")
    }

    private func requests(_ modules: [String]) -> [ParameterRequest] {
        modules.map { ParameterRequest(module: ExactString($0), parameter: .weight, update: (6, 4)) }
    }
}
