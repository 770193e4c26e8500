import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Genuine adapters with one value of their config changed: the finding names the value, and no other rule makes something else of it.
/// What PEFT 0.21.2 does with each was seen with `PeftModel.from_pretrained`.
@Suite struct ConfigDefectTests {
    private func findings(
        _ fixture: String, hasBase: Bool, _ change: (inout AlteredAdapter) throws -> Void
    ) throws -> [Finding] {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("\(fixture)/adapter"), in: folder.path("adapter"))
        try change(&adapter)
        try adapter.write()
        let base = hasBase ? try Checkpoint.open(Fixtures.path("\(fixture)/base")) : nil
        return try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path).findings
    }

    private func errors(_ fixture: String, hasBase: Bool, _ change: (inout AlteredAdapter) throws -> Void) throws -> [Finding] {
        try findings(fixture, hasBase: hasBase, change).filter { $0.severity == .error }
    }

    struct Value: Sendable, CustomTestStringConvertible {
        var fixture, key, json: String
        var testDescription: String { "\(fixture) \(key) \(json)" }
        var value: Any { (try? JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)) ?? NSNull() }
    }

    /// Values that PEFT raises at, or takes for another than was meant. On stacked experts too, whose rank is that of all together.
    static let values: [Value] = ["lora-linear-f32", "lora-moe-target-params", "arch-deepseek_v3", "lora-mts"].flatMap { fixture in
        [
            ("bias", #""nonex""#), ("bias", "7"), ("use_dora", #""yes""#), ("use_rslora", #""yes""#), ("alpha_pattern", "5"),
            ("modules_to_save", "5"), ("task_type", #""CAUSAL_LMx""#), ("task_type", "3"), ("task_type", "true"),
            ("base_model_name_or_path", "7"), ("target_modules", "3"),
        ].map { Value(fixture: "merge/\(fixture)", key: $0.0, json: $0.1) }
    } + [
        Value(fixture: "merge/vera", key: "vera_dropout", json: "null"), Value(fixture: "merge/vera", key: "bias", json: "null"),
        Value(fixture: "merge/loha-linear", key: "rank_pattern", json: "null"), Value(fixture: "merge/refuse-cpt", key: "cpt_mask", json: "[1]"),
        Value(fixture: "merge/refuse-cpt", key: "cpt_token_ids", json: #""x""#),
        Value(fixture: "merge/lily", key: "modules_to_save", json: "3"), Value(fixture: "merge/lily", key: "r", json: #""x""#),
        Value(fixture: "merge/lily", key: "num_B", json: #""x""#), Value(fixture: "merge/psoft", key: "psoft_alpha", json: "[]"),
        Value(fixture: "merge/refuse-adaption-prompt", key: "adapter_layers", json: #""x""#),
        Value(fixture: "merge/refuse-adaption-prompt", key: "task_type", json: #""LM""#),
        Value(fixture: "merge/shadow", key: "shadow_alpha", json: #""x""#), Value(fixture: "merge/refuse-xlora", key: "xlora_depth", json: "true"),
        Value(fixture: "merge/refuse-prefix-tuning", key: "task_type", json: #""CAUSAL""#), Value(fixture: "merge/ln-tuning", key: "task_type", json: "1"),
    ]

    /// Values of the right kind, or of keys that no merge reads, at which PEFT raises all the same.
    static let raising: [Value] = [
        ("lora_dropout", ["null", #""x""#, "[]", "{}", "1.5"]), ("alpha_pattern", ["null", "[]"]), ("rank_pattern", ["null"]), ("bias", ["null"]),
        ("init_lora_weights", [#""x""#, #""EVA""#]), ("corda_config", ["[]"]), ("eva_config", ["[]"]), ("lora_ga_config", ["[]"]),
        ("velora_config", ["[]"]), ("arrow_config", ["[]"]), ("use_bdlora", ["{}"]), ("trainable_token_indices", ["[]"]),
        ("layers_to_transform", ["1.5", "{}", "[null]"]), ("layer_replication", ["[1]"]), ("layers_pattern", [#""layers""#]),
        ("modules_to_save", ["[1]"]), ("target_modules", ["{}"]), ("target_parameters", [#""x""#]),
    ].flatMap { key, values in values.map { Value(fixture: "merge/lora-linear-f32", key: key, json: $0) } }

    /// What PEFT takes: nothing is said of it.
    static let taken: [Value] = [
        ("lora_dropout", ["true", "1.0"]), ("init_lora_weights", [#""Gaussian""#, "null"]), ("corda_config", ["{}", "null"]), ("layers_to_transform", ["[]"]),
        ("layer_replication", ["[]", "false"]), ("modules_to_save", ["[]"]), ("loftq_config", ["null", "[]"]), ("use_rslora", ["null"]),
    ].flatMap { key, values in values.map { Value(fixture: "merge/lora-linear-f32", key: key, json: $0) } }
        + [Value(fixture: "merge/loha-linear", key: "module_dropout", json: "null"), Value(fixture: "merge/adalora", key: "alpha_pattern", json: "null"), Value(fixture: "merge/osf", key: "rank_pattern", json: "null")]

    @Test(arguments: taken) func aValueThatPEFTTakesIsNone(_ item: Value) throws {
        #expect(try errors(item.fixture, hasBase: false) { $0.config[item.key] = item.value } == [])
    }

    /// A later version may know more ways to begin.
    @Test func aNewerVersionMayKnowMore() throws {
        let found = try errors("merge/lora-linear-f32", hasBase: false) { adapter in
            (adapter.config["init_lora_weights"], adapter.config["peft_version"]) = ("x", "0.22.0")
        }
        #expect(!found.contains { $0.rule == "config-invalid" }, "\(found)")
    }

    /// Without a task PEFT makes a plain `PeftModel`, which does not use the prompt; CPT it makes for one task alone.
    @Test(arguments: ["prefix-tuning", "cartridge", "prompt-tuning", "p-tuning", "multitask", "cpt"])
    func theTaskOfAPrompt(_ fixture: String) throws {
        for value: Any? in [nil, NSNull(), "SEQ_CLS"] {
            let found = try errors("merge/refuse-\(fixture)", hasBase: false) { $0.config["task_type"] = value }
            #expect(found.map(\.rule) == (value as? String != nil && fixture != "cpt" ? [] : ["config-invalid"]), "\(found)")
            #expect(found.allSatisfy { $0.message.contains("task_type") })
        }
    }

    @Test(arguments: values + raising) func aValueOfNoUseIsNamed(_ item: Value) throws {
        for hasBase in [false, true] {
            let found = try errors(item.fixture, hasBase: hasBase) { $0.config[item.key] = item.value }
            #expect(found.map(\.rule) == ["config-invalid"], "\(hasBase) \(found)")
            #expect(found.first?.message.contains(item.key) == true, "\(found)")
        }
    }

    /// A config that lacks what the scale needs, or the method: the ranks of stacked experts are no defect.
    @Test(arguments: ["lora_alpha", "peft_type"]) func aMissingKeyIsNoWrongRank(_ key: String) throws {
        for hasBase in [false, true] {
            let found = try errors("merge/arch-deepseek_v3", hasBase: hasBase) { $0.config[key] = nil }
            #expect(found.map(\.rule) == [key == "peft_type" ? "peft-type-missing" : "alpha-missing"], "\(hasBase) \(found)")
        }
    }

    /// Without target_modules PEFT takes a list of its own for the model's type, or raises; the type is the base's.
    @Test(arguments: ["lora-linear-f32", "ia3-llama", "loha-linear", "ln-tuning", "hira", "vera", "lily", "psoft", "adalora"])
    func modulesThatNothingNames(_ fixture: String) throws {
        for value: Any? in [nil, NSNull()] {
            for hasBase in [false, true] {
                let found = try errors("merge/\(fixture)", hasBase: hasBase) { $0.config["target_modules"] = value }
                // PEFT's lists for llama have every module of these three, and lack a module of the others.
                let isListed = hasBase && ["ia3-llama", "ln-tuning", "adalora"].contains(fixture)
                #expect(found.map(\.rule) == (isListed ? [] : hasBase ? ["unexpected-keys"] : ["config-invalid"]), "\(hasBase) \(found)")
                #expect(found.allSatisfy { $0.message.contains("target_modules") })
            }
        }
    }

    /// Experts whose target_parameters are lost: PEFT makes no wrapper for them, and what rank they have without it is no other finding.
    @Test(arguments: ["lora-moe-target-params", "lora-moe-target-params-gate", "arch-mixtral", "arch-gpt_oss", "arch-llama4_text", "arch-jamba"])
    func expertsThatNothingNames(_ fixture: String) throws {
        for value: Any? in [nil, NSNull(), [String]()] {
            for hasBase in [false, true] {
                let found = try errors("merge/\(fixture)", hasBase: hasBase) { $0.config["target_parameters"] = value }
                #expect(found.map(\.rule) == ["unexpected-keys"], "\(hasBase) \(found)")
            }
        }
    }

    /// An alpha that is no finite number is that, and no wrong dtype.
    @Test(arguments: [Float.nan, .infinity]) func anAlphaOfGGUFThatIsNotFinite(_ alpha: Float) throws {
        let folder = try TemporaryDirectory()
        var data = try Data(contentsOf: URL(filePath: Fixtures.path("dialects/gguf-lora/adapter/adapter.gguf")))
        let key = try #require(data.range(of: Data("adapter.lora.alpha".utf8)))
        // Behind the key stand the type, 6 for F32, and the value.
        #expect(data[key.upperBound] == 6)
        data.replaceSubrange((key.upperBound + 4)..<(key.upperBound + 8), with: withUnsafeBytes(of: alpha.bitPattern.littleEndian) { Data($0) })
        try data.write(to: URL(filePath: folder.path("adapter.gguf")))
        for base in [nil, try Checkpoint.open(Fixtures.path("dialects/gguf-lora/base"))] {
            let subject = try Checker(options: CheckOptions(base: base, jobs: 1)).check(folder.path("adapter.gguf"))
            #expect(subject.findings.filter { $0.severity == .error }.map(\.rule) == ["nonfinite"], "\(subject.findings)")
        }
    }

    /// A factor that was cut is shorter than its like in all other layers. Models whose layers are of several sizes are no such
    /// case, nor is a layer of another size as a whole, nor a handful of blocks.
    @Test(arguments: [
        (8, ["3.q_proj B"], 1), (8, ["3.v_proj A"], 1), (8, [], 0), (7, ["3.q_proj B"], 0), (12, ["3.q_proj B", "5.q_proj B"], 0),
        (12, ["3.q_proj B", "3.v_proj B"], 0), (12, ["3.q_proj B", "7.v_proj A"], 2),
    ]) func aFactorThatWasCut(_ layers: Int, _ cut: [String], _ count: Int) throws {
        let folder = try TemporaryDirectory()
        let tensors = (0..<layers).flatMap { layer in
            ["q_proj", "v_proj"].flatMap { name in
                let root = "base_model.model.model.layers.\(layer).self_attn.\(name)"
                return [
                    SmallAdapter.Values("\(root).lora_A.weight", [2, cut.contains("\(layer).\(name) A") ? 7 : 8]),
                    SmallAdapter.Values("\(root).lora_B.weight", [cut.contains("\(layer).\(name) B") ? 5 : 6, 2]),
                ]
            }
        }
        try SmallAdapter.write(tensors, to: folder.path("adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj"]}"#, to: folder.path("adapter_config.json"))
        let findings = try Checker(options: CheckOptions(jobs: 1)).check(folder.path("")).findings.filter { $0.severity != .note }
        #expect(findings.count == count && findings.allSatisfy { $0.rule == "shape-mismatch" && $0.severity == .warning }, "\(findings)")
    }

    /// Where the method needs none, or target_parameters has all.
    @Test(arguments: ["refuse-adaption-prompt", "shadow", "trainable-tokens", "lora-moe-target-params-gate"])
    func modulesThatNeedNoName(_ fixture: String) throws {
        for hasBase in [false, true] {
            #expect(try errors("merge/\(fixture)", hasBase: hasBase) { $0.config["target_modules"] = nil }.isEmpty)
        }
    }

    /// The sizes of a prompt that PEFT asks the config for.
    @Test(arguments: ["prefix-tuning", "cartridge", "prompt-tuning", "p-tuning", "multitask", "cpt"])
    func theSizesOfAPrompt(_ fixture: String) throws {
        let fixture = "merge/refuse-\(fixture)"
        let isKeyValue = fixture.contains("prefix") || fixture.contains("cartridge")
        for value: Any? in [nil, NSNull(), "x", -1] {
            #expect(try errors(fixture, hasBase: false) { $0.config["num_virtual_tokens"] = value }.map(\.rule) == ["prompt-shape"])
            let heads = try errors(fixture, hasBase: false) { $0.config["num_attention_heads"] = value }
            #expect(heads.map(\.rule) == (value == nil || value is NSNull ? [] : ["prompt-shape"]), "\(heads)")
        }
        #expect(try errors(fixture, hasBase: false) { $0.config["num_attention_heads"] = 5 }.map(\.rule) == (isKeyValue ? ["prompt-shape"] : []))
        for value: Any? in [nil, 7] {
            #expect(try errors(fixture, hasBase: false) { $0.config["peft_type"] = value }.map(\.rule) == ["peft-type-missing"])
        }
    }

    /// The method is told by the tensors.
    @Test(arguments: [
        ("refuse-adaption-prompt", "ADAPTION_PROMPT"), ("lily", "LILY"), ("psoft", "PSOFT"), ("refuse-xlora", "XLORA"), ("shadow", "SHADOW"),
        ("trainable-tokens", "TRAINABLE_TOKENS"), ("lora-mts", "LORA"), ("dora-linear-f32", "LORA"), ("adalora", "ADALORA"), ("hira", "HIRA"),
    ])
    func theMissingTypeIsTold(_ fixture: String, _ type: String) throws {
        let found = try errors("merge/\(fixture)", hasBase: false) { $0.config["peft_type"] = nil }
        #expect(found.map(\.rule) == ["peft-type-missing"])
        #expect(found.first?.help?.hasSuffix("\"peft_type\": \"\(type)\"") == true, "\(found)")
    }

    /// Names of parameters, and keys of patterns, that nothing meets.
    @Test func whatMeetsNothingOnStackedExperts() throws {
        for fixture in ["merge/lora-moe-target-params", "merge/lora-linear-f32"] {
            for hasBase in [false, true] {
                let found = try findings(fixture, hasBase: hasBase) { adapter in
                    adapter.config["target_parameters"] = (adapter.config["target_parameters"] as? [String] ?? []) + ["zzz_proj"]
                    adapter.config["alpha_pattern"] = ["zzz": 3]
                }
                #expect(Set(found.map(\.rule)) == ["missing-module", "pattern-unused"], "\(hasBase) \(found)")
                #expect(found.allSatisfy { $0.severity == .warning && $0.message.contains("zzz") }, "\(found)")
            }
        }
    }

    /// A kernel cut short is no transposed one, and neither is a rank of the config.
    @Test func aKroneckerKernelIsNotTransposed() throws {
        for change: (inout AlteredAdapter) -> Void in [
            { $0.config["r"] = 5 },
            { adapter in
                guard let index = adapter.tensors.firstIndex(where: { $0.name.hasSuffix("embedder.embedder.convolution.lokr_w2") }) else { return }
                adapter.tensors[index] = adapter.tensors[index].rows(adapter.tensors[index].shape[0] - 1)
            },
        ] {
            let found = try errors("merge/lokr-conv2d", hasBase: true, change)
            #expect(!found.isEmpty && found.allSatisfy { ["rank-mismatch", "shape-mismatch"].contains($0.rule) }, "\(found)")
            // What the base has is in no file of the adapter.
            #expect(found.allSatisfy { $0.tensor?.text.contains("base_model") ?? true }, "\(found)")
        }
    }

    /// A scale of NaN is one finding.
    @Test(arguments: ["kohya-lora", "lycoris-loha"]) func aScaleOfNaNIsOneFinding(_ fixture: String) throws {
        let folder = try TemporaryDirectory()
        let source = Fixtures.path("dialects/\(fixture)/adapter")
        let name = try #require(try FileManager.default.contentsOfDirectory(atPath: source).first { $0.hasSuffix(".safetensors") })
        var adapter = try AlteredAdapter(source, in: folder.path("adapter"), weights: name)
        let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(".alpha") })
        #expect(adapter.tensors[index].dtype == "F32")
        adapter.tensors[index].bytes = Data([0, 0, 0xC0, 0x7F])
        try adapter.write()
        #expect(try Checker().check(adapter.path).findings.map(\.rule) == ["nonfinite"])
    }

    /// mlx-lm has three types of training.
    @Test func anUnknownTypeOfMLX() throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("dialects/mlx-lora/adapter"), in: folder.path("adapter"), weights: "adapters.safetensors")
        adapter.config["fine_tune_type"] = "lorax"
        try adapter.write()
        let checked = try Checker().check(adapter.path)
        #expect(checked.findings.map(\.rule) == ["config-invalid"], "\(checked)")
        #expect(checked.findings.first?.message.contains("fine_tune_type") == true)
    }
}
