import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Genuine adapters of which a part was lost or cut, looked at without a base or on another one.
@Suite struct LostPartTests {
    private func errors(
        _ fixture: String, weights: String = "adapter_model.safetensors", base: String? = nil, _ change: (inout AlteredAdapter) throws -> Void
    ) throws -> [Finding] {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("\(fixture)/adapter"), in: folder.path("adapter"), weights: weights)
        try change(&adapter)
        try adapter.write()
        let options = CheckOptions(base: try base.map { try Checkpoint.open(Fixtures.path($0)) }, jobs: 2)
        return try Checker(options: options).check(adapter.path).findings.filter { $0.severity == .error }
    }

    private func weights(_ fixture: String) throws -> String {
        try #require(
            try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("\(fixture)/adapter")).sorted().first { $0.hasSuffix(".safetensors") })
    }

    /// The first tensor with this end loses its last row.
    private func cut(_ adapter: inout AlteredAdapter, _ end: String) throws {
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(end) })
        adapter.tensors[index] = adapter.tensors[index].rows(adapter.tensors[index].shape[0] - 1)
    }

    @Test(arguments: [
        ("dialects/kohya-lora", "proj_in.lora_down.weight", "rank-mismatch"), ("dialects/kohya-lora-noalpha", "to_k.lora_down.weight", "rank-mismatch"),
        ("dialects/diffusers-lora-old", "to_q_lora.down.weight", "rank-mismatch"), ("dialects/lycoris-locon", "proj_in.lora_down.weight", "rank-mismatch"),
        ("dialects/kohya-dora", "to_q.dora_scale", "shape-mismatch"), ("dialects/lycoris-dora", "proj_in.dora_scale", "shape-mismatch"),
        ("merge/dora-linear-f32", "q_proj.lora_magnitude_vector", "shape-mismatch"), ("merge/lora-bdlora", "lora_A.weight", "rank-mismatch"),
    ])
    func whatContradictsItselfNeedsNoBase(_ fixture: String, _ end: String, _ rule: String) throws {
        let found = try errors(fixture, weights: weights(fixture)) { try cut(&$0, end) }
        #expect(found.map(\.rule) == [rule], "\(found)")
    }

    /// What is of the text encoder was held against nothing while the UNet's part was bound.
    @Test func aRankOfAnotherComponentThanTheBase() throws {
        let fixture = "dialects/kohya-lora-with-te"
        let found = try errors(fixture, weights: weights(fixture), base: "\(fixture)/base") { try cut(&$0, "self_attn_q_proj.lora_down.weight") }
        #expect(found.map(\.rule) == ["rank-mismatch"], "\(found)")
    }

    @Test(arguments: [
        ("dialects/kohya-lora", ".alpha"), ("dialects/lycoris-locon", ".alpha"), ("dialects/kohya-dora", ".dora_scale"),
        ("dialects/lycoris-dora", ".dora_scale"), ("merge/lora-kasa", ".lora_diag"),
    ])
    func oneOfManyIsMissed(_ fixture: String, _ end: String) throws {
        var lost = ""
        let found = try errors(fixture, weights: weights(fixture)) { adapter in
            let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(end) })
            lost = adapter.tensors.remove(at: index).name
        }
        #expect(found.map(\.rule) == ["missing-pair"], "\(found)")
        #expect(end == ".lora_diag" || found.first?.tensor?.text == lost)
    }

    /// What acts in training alone is a warning: PEFT's inference does not read it.
    @Test(arguments: [("lora-monteclora", ".std_prior"), ("lora-velora", ".lora_velora_embed")])
    func lostTrainingStateIsWarnedOf(_ fixture: String, _ end: String) throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/\(fixture)/adapter"), in: folder.path("adapter"))
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(end) })
        let lost = adapter.tensors.remove(at: index).name
        try adapter.write()
        let findings = try Checker().check(adapter.path).findings.filter { $0.rule == "missing-pair" }
        #expect(findings.map(\.severity) == [.warning] && findings.first?.tensor?.text == lost, "\(findings)")
        #expect(try Checker().check(Fixtures.path("merge/\(fixture)/adapter")).findings.allSatisfy { $0.rule != "missing-pair" })
    }

    @Test func mlxDoRAWithoutAMagnitude() throws {
        let fixture = "dialects/mlx-dora"
        let found = try errors(fixture, weights: weights(fixture)) { $0.tensors.removeAll { $0.name.hasSuffix(".m") } }
        #expect(found.map(\.rule) == ["missing-pair"], "\(found)")
    }

    /// PSOFT has no merged form and no size of the base's; its modules have to be there all the same.
    @Test func aRotationOfModulesThatTheBaseDoesNotHave() throws {
        #expect(try errors("merge/psoft", base: "merge/psoft/base") { _ in } == [])
        #expect(try errors("merge/psoft", base: "merge/arch-vit-adapter4/base") { _ in }.map(\.rule).contains("target-not-in-base"))
        let found = try errors("merge/psoft", base: "merge/psoft/base") { $0.rename { $0.replacingOccurrences(of: "layers.0.self_attn.q_proj", with: "layers.97.self_attn.q_proj") } }
        #expect(found.contains { $0.rule == "target-not-in-base" && $0.tensor?.text.contains("layers.97") == true }, "\(found)")
    }

    /// Factors of a grouped convolution on one that is not: the same names, and inputs of one group.
    @Test func anotherNumberOfGroups() throws {
        #expect(try errors("merge/lora-conv-grouped", base: "merge/lora-conv-grouped/base") { _ in } == [])
        // Another front of the path is that of another class.
        let other = try errors("merge/lora-conv-grouped", base: "merge/hra-conv2d/base") { _ in }
        #expect(Set(other.map(\.rule)) == ["shape-mismatch"], "\(other)")
        let root = "base_model.model.resnet.encoder.stages.0.layers.0.layer.1.convolution"
        let found = try errors("merge/lora-conv-grouped", base: "merge/hra-conv2d/base") { adapter in
            let base = try Checkpoint.open(Fixtures.path("merge/hra-conv2d/base"))
            let weight = try #require(base.tensors.first { $0.name.text.hasSuffix("encoder.stages.0.layers.0.layer.1.convolution.weight") })
            let (out, inputs, k) = (weight.shape[0], weight.shape[1], weight.shape[2])
            func tensor(_ name: String, _ shape: [Int]) -> AlteredAdapter.Tensor {
                .init(name: "\(root).\(name)", dtype: "F32", shape: shape, bytes: Data((0..<shape.reduce(1, *)).flatMap { _ in [0, 0, 0x80, 0x3F] as [UInt8] }))
            }
            adapter.tensors = [tensor("lora_A.weight", [8, inputs, k, k]), tensor("lora_B.weight", [out, 4, 1, 1])]
        }
        #expect(found.map(\.rule).contains("shape-mismatch"), "\(found)")
    }

    /// A class of another model in the config: shapes that fit by chance do not make it the base.
    @Test(arguments: [
        ("gemma2", "Gemma2Model", true), ("qwen3", "Qwen3Model", false), ("qwen3_moe", "Qwen3MoeModel", true),
    ])
    func anotherFamilyIsWarnedOf(_ library: String, _ name: String, _ isOther: Bool) throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.lora(
            in: folder.path("adapter"),
            config: #", "auto_mapping": {"base_model_class": "\#(name)", "parent_library": "transformers.models.\#(library).modeling_\#(library)"}"#)
        try SmallAdapter.base(in: folder.path("base"))
        try TestFile.write(#"{"model_type": "qwen3", "tie_word_embeddings": false}"#, to: folder.path("base/config.json"))
        let report = try Checker(options: CheckOptions(base: try Checkpoint.open(folder.path("base")), jobs: 1)).check(folder.path("adapter"))
        #expect(report.findings.map(\.rule).contains("base-mismatch") == isOther, "\(report.findings)")
    }

    /// A ViT of transformers 5, in memory: `attention.output.dense` on disk is `attention.o_proj`, and only the pooler is called dense.
    @Test(arguments: [true, false]) func namesOnDiskAreNoTargets(_ inMemory: Bool) throws {
        let folder = try TemporaryDirectory()
        func layer(_ n: Int) -> [SmallAdapter.Values] {
            ["attention.attention.query", "attention.output.dense", "intermediate.dense", "output.dense"].map {
                SmallAdapter.Values("encoder.layer.\(n).\($0).weight", [8, 8])
            }
        }
        try FileManager.default.createDirectory(atPath: folder.path("base"), withIntermediateDirectories: true)
        try SmallAdapter.write(layer(0) + layer(1) + [.init("pooler.dense.weight", [8, 8])], to: folder.path("base/model.safetensors"))
        try TestFile.write(#"{"model_type": "vit", "num_hidden_layers": 2, "architectures": ["ViTModel"]}"#, to: folder.path("base/config.json"))
        func lora(_ module: String) -> [SmallAdapter.Values] {
            [.init("base_model.model.\(module).lora_A.weight", [2, 8]), .init("base_model.model.\(module).lora_B.weight", [8, 2], 0.25)]
        }
        let modules = inMemory ? ["layers.0.mlp.fc1", "layers.1.mlp.fc1"] : ["encoder.layer.0.intermediate.dense", "encoder.layer.1.intermediate.dense"]
        try FileManager.default.createDirectory(atPath: folder.path("adapter"), withIntermediateDirectories: true)
        try SmallAdapter.write((modules + ["pooler.dense"]).flatMap(lora), to: folder.path("adapter/adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["dense"\#(inMemory ? #", "fc1""# : "")]}"#,
            to: folder.path("adapter/adapter_config.json"))
        let report = try Checker(options: CheckOptions(base: try Checkpoint.open(folder.path("base")), jobs: 1)).check(folder.path("adapter"))
        // Under the names of the file, `dense` means those of the attention and of the output, too.
        #expect(report.findings.contains { $0.rule == "missing-module" && $0.severity == .error } != inMemory, "\(report.findings)")
    }

    /// `save_lora_adapter` of diffusers 0.42: names of the model without a component, and PEFT's config in the metadata.
    @Test func aFileOfOneModelOfDiffusers() throws {
        let folder = try TemporaryDirectory()
        let tensors: [SmallAdapter.Values] = [
            .init("transformer_blocks.0.attn.to_q.lora_A.weight", [2, 8]), .init("transformer_blocks.0.attn.to_q.lora_B.weight", [8, 2], 0.25),
        ]
        let config = #"{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "bias": "none", "target_modules": ["to_q"], "use_dora": false}"#
        try FileManager.default.createDirectory(atPath: folder.path("adapter"), withIntermediateDirectories: true)
        try SmallAdapter.write(
            tensors, to: folder.path("adapter/pytorch_lora_weights.safetensors"), metadata: [(key: "lora_adapter_metadata", value: config)])
        let report = try Checker().check(folder.path("adapter"))
        #expect(report.findings == [] && report.omissions.filter(\.isInconclusive) == [], "\(report)")
    }
}
