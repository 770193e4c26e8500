import ByteAccess
import Checking
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// Adapters without a merged form are held against a base by names and shapes: a genuine one passes with a note, and
/// what does not fit is found.
@Suite struct UnmergedTests {
    static let names = [
        "lily", "psoft", "lora-conv-grouped", "refuse-adaption-prompt", "refuse-alora", "refuse-cartridge", "refuse-cpt",
        "refuse-lora-bias-nobias", "refuse-multitask", "refuse-p-tuning", "refuse-prefix-tuning", "refuse-prompt-tuning",
        "refuse-xlora", "shadow",
    ]

    static func check(_ adapter: String, _ base: String) throws -> CheckedSubject {
        try Checker(options: CheckOptions(base: try Checkpoint.open(base), jobs: 2)).check(adapter)
    }

    @Test(arguments: names) func aGenuineOnePassesWithANote(_ name: String) throws {
        let subject = try Self.check(Fixtures.path("merge/\(name)/adapter"), Fixtures.path("merge/\(name)/base"))
        #expect(subject.findings.filter { $0.severity > .note } == [])
        #expect(subject.findings.map(\.rule) == ["no-merged-form"])
        #expect(subject.verdict(failOn: .error) == .pass, "\(subject.omissions)")
        #expect(subject.verdict(failOn: .note) == .fail)
    }

    /// A router for each task has a merged form for each: all have the same shapes.
    @Test func aRouterOfTasksIsBound() throws {
        let subject = try Self.check(Fixtures.path("merge/refuse-poly/adapter"), Fixtures.path("merge/refuse-poly/base"))
        #expect(subject.findings == [])
        #expect(subject.verdict(failOn: .error) == .pass, "\(subject.omissions)")
    }

    /// BEFT on layers without a bias, which PEFT adapts with a warning that they cannot be merged (`BeftLayer.update_layer`).
    @Test func biasesOfLayersThatHaveNone() throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.base(in: folder.path("base"))
        try FileManager.default.createDirectory(atPath: folder.path("a"), withIntermediateDirectories: true)
        try TestFile.write(#"{"peft_type": "BEFT", "target_modules": ["q_proj"]}"#, to: folder.path("a/adapter_config.json"))
        for (shape, wanted) in [([1, 8], ["no-merged-form"]), ([1, 9], ["shape-mismatch"]), ([8], ["shape-mismatch"])] {
            try SmallAdapter.write([.init("\(SmallAdapter.root).beft_bias", shape)], to: folder.path("a/adapter_model.safetensors"))
            let subject = try Self.check(folder.path("a"), folder.path("base"))
            #expect(subject.findings.map(\.rule).contains(wanted[0]), "\(shape) \(subject)")
            #expect(subject.verdict(failOn: .error) == (shape == [1, 8] ? .pass : .fail), "\(shape) \(subject)")
        }
    }

    /// FRoD without its projection, which PEFT makes again from the base: names and shapes are held against the base, of all modules.
    @Test func aProjectionThatWasLeftOut() throws {
        let base = Fixtures.path("merge/frod/base")
        func check(_ change: (inout AlteredAdapter) -> Void) throws -> CheckedSubject {
            let folder = try TemporaryDirectory()
            var adapter = try AlteredAdapter(Fixtures.path("merge/frod/adapter"), in: folder.path("a"))
            adapter.tensors.removeAll { $0.name.contains("frod_V") || $0.name.contains("frod_s_") }
            adapter.config["save_projection"] = false
            change(&adapter)
            try adapter.write()
            return try Self.check(adapter.path, base)
        }
        let whole = try check { _ in }
        #expect(whole.findings.map(\.rule) == ["no-merged-form"] && whole.verdict(failOn: .error) == .pass, "\(whole)")
        for (component, axis) in [("frod_lambda_l", 0), ("frod_lambda_s_values", 0)] {
            let longer = try check { adapter in
                guard let last = adapter.tensors.lastIndex(where: { $0.name.hasSuffix(component) }) else { return }
                adapter.tensors[last] = adapter.tensors[last].lengthened(axis)
            }
            #expect(longer.findings.contains { $0.rule == "shape-mismatch" && $0.severity == .error }, "\(longer)")
        }
        let strange = try check { adapter in adapter.rename { $0.replacing("layers.0.", with: "layers.9.") } }
        #expect(strange.findings.contains { $0.rule == "target-not-in-base" && $0.severity == .error }, "\(strange)")
        // PEFT raises where the config says that they were saved.
        let lost = try check { $0.config["save_projection"] = true }
        #expect(lost.findings.contains { $0.rule == "missing-pair" && $0.severity == .error }, "\(lost)")
    }

    /// What this version does not know the sizes of stays open.
    @Test func whatIsNotKnownStaysOpen() throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.base(in: folder.path("base"))
        try SmallAdapter.lora(
            in: folder.path("a"), config: #", "use_dora": true, "lora_bias": true"#,
            more: [.init("\(SmallAdapter.root).lora_magnitude_vector", [8]), .init("\(SmallAdapter.root).lora_B.bias", [8])])
        let subject = try Self.check(folder.path("a"), folder.path("base"))
        #expect(subject.omissions.contains { $0.rule == "shape-mismatch" && $0.isInconclusive })
        #expect(subject.verdict(failOn: .error) == .inconclusive)
    }

    /// An adapter of another size of the model: the base of the fixtures has 24 hidden states, this one 8.
    @Test(arguments: ["lily", "refuse-adaption-prompt", "refuse-alora", "refuse-lora-bias-nobias", "refuse-poly", "shadow"])
    func anotherSizeIsFound(_ name: String) throws {
        let folder = try TemporaryDirectory()
        let layers: [SmallAdapter.Values] = (0..<2).flatMap { layer in
            ["q_proj", "k_proj", "v_proj", "o_proj"].map { .init("model.layers.\(layer).self_attn.\($0).weight", [8, 8]) }
                + ["gate_proj", "up_proj"].map { .init("model.layers.\(layer).mlp.\($0).weight", [8, 8]) }
        }
        try SmallAdapter.base(in: folder.path("base"), config: #", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2"#, more: layers.filter { $0.name != "model.layers.0.self_attn.q_proj.weight" })
        let subject = try Self.check(Fixtures.path("merge/\(name)/adapter"), folder.path("base"))
        #expect(subject.findings.contains { $0.rule == "shape-mismatch" && $0.severity == .error }, "\(subject)")
    }

    /// A base without the layers: names are looked for.
    @Test(arguments: ["lily", "refuse-adaption-prompt", "refuse-alora", "refuse-poly", "shadow"]) func missingLayersAreFound(_ name: String) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: folder.path("base"), withIntermediateDirectories: true)
        try SmallAdapter.write([.init("model.layers.7.mlp.up_proj.weight", [8, 8])], to: folder.path("base/model.safetensors"))
        try TestFile.write(#"{"model_type": "llama", "hidden_size": 24}"#, to: folder.path("base/config.json"))
        let subject = try Self.check(Fixtures.path("merge/\(name)/adapter"), folder.path("base"))
        #expect(subject.findings.contains { $0.rule == "target-not-in-base" && $0.severity == .error }, "\(subject)")
    }

    /// Names and types are looked at as those of any other method: a level that no model has, codes without a scale, a tensor that
    /// the method does not have.
    @Test(arguments: ["lily", "psoft", "refuse-adaption-prompt"]) func namesAndTypesAreLookedAt(_ name: String) throws {
        let base = Fixtures.path("merge/\(name)/base")
        func check(_ base: String?, _ change: (inout AlteredAdapter) throws -> Void) throws -> [Finding] {
            let folder = try TemporaryDirectory()
            var adapter = try AlteredAdapter(Fixtures.path("merge/\(name)/adapter"), in: folder.path("a"))
            try change(&adapter)
            try adapter.write()
            let options = CheckOptions(base: try base.map { try Checkpoint.open($0) }, jobs: 2)
            return try Checker(options: options).check(adapter.path).findings.filter { $0.severity == .error }
        }
        let wrapped = try check(base) { $0.rename { $0.replacing("base_model.model.", with: "base_model.model.module.") } }
        #expect(!wrapped.isEmpty && wrapped.allSatisfy { $0.rule == "target-not-in-base" }, "\(wrapped)")
        for base in [nil, base] {
            let codes = try check(base) { adapter in
                for index in adapter.tensors.indices {
                    (adapter.tensors[index].dtype, adapter.tensors[index].bytes) = ("I8", Data(count: adapter.tensors[index].shape.reduce(1, *)))
                }
            }
            #expect(codes.contains { $0.rule == "dtype-mismatch" }, "\(codes)")
            let strange = try check(base) { adapter in
                let first = try #require(adapter.tensors.first)
                let parts = first.name.split(separator: ".").map(String.init)
                let module = parts.prefix { !$0.contains("lily") && !$0.contains("psoft") && !$0.contains("adaption") }.joined(separator: ".")
                adapter.tensors.append(.init(name: "\(module).foo_X", dtype: "F32", shape: [1], bytes: Data(count: 4)))
            }
            #expect(strange.contains { $0.rule == "unexpected-keys" && $0.tensor?.text.hasSuffix("foo_X") == true }, "\(strange)")
        }
    }

    /// A prompt has no tensors at modules of the base.
    @Test(arguments: ["prompt-tuning", "prefix-tuning", "cpt", "multitask", "cartridge"]) func aPromptHasNoModules(_ name: String) throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/refuse-\(name)/adapter"), in: folder.path("a"))
        let tensor = "base_model.model.model.layers.0.self_attn.q_proj.foo_X"
        adapter.tensors.append(.init(name: tensor, dtype: "F32", shape: [1], bytes: Data(count: 4)))
        try adapter.write()
        #expect(try Checker().check(adapter.path).findings.contains { $0.rule == "unexpected-keys" && $0.tensor?.text == tensor })
    }

    /// ShadowPEFT's tensors of the hidden states' width, each one row or column larger than the base's (`ShadowLayer.update_layer`).
    @Test(arguments: [
        ("shadow_down.default.weight", 1), ("shadow_up.default.weight", 0), ("shadow_update_transform.default.0.weight", 1), ("shadow_update_transform.default.2.weight", 0),
        ("shadow_update_transform.default.2.bias", 0), ("shadow_update_gate.default.0.weight", 1), ("shadow_update_gate.default.2.weight", 0),
        ("shadow_update_gate.default.2.bias", 0),
    ]) func shadowsPartsAreOfTheBasesWidth(_ part: String, _ axis: Int) throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/shadow/adapter"), in: folder.path("a"))
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(part) })
        adapter.tensors[index] = adapter.tensors[index].lengthened(axis)
        let name = adapter.tensors[index].name
        try adapter.write()
        let base = try Checkpoint.open(Fixtures.path("merge/shadow/base"))
        let report = try Checker(options: CheckOptions(base: base, jobs: 2)).check(folder.path("a"))
        #expect(report.findings.contains { $0.rule == "shape-mismatch" && $0.tensor?.text == name }, "\(report.findings)")
    }
}
