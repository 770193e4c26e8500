import ByteAccess
@testable import Checking
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// Each rule has a bad adapter that it finds, and a good one of the same kind in which it finds nothing.
@Suite struct RuleFixtureTests {
    /// What is checked, and with what.
    struct Subject {
        var path: String
        var base: String?
        var targets: [ServingTarget] = []
    }

    /// Makes the bad or the good adapter of a rule in a directory.
    typealias Maker = @Sendable (_ directory: String, _ isBad: Bool) throws -> Subject

    /// The rules whose bad adapter is in `Fixtures/negative` under the code of the rule; the good one is `clean`.
    static let negative = Set(NegativeFixtureTests.cases.compactMap(\.code))

    static let makers: [String: Maker] = [
        "weights-missing": { directory, isBad in
            try SmallAdapter.lora(in: directory)
            if isBad { try FileManager.default.removeItem(atPath: "\(directory)/adapter_model.safetensors") }
            return Subject(path: directory)
        },
        "header-size": { directory, isBad in
            try SmallAdapter.lora(in: directory)
            let text = String(repeating: "x", count: isBad ? 25_000_001 : 24_000_000)
            let names = ["A": "[2,8]", "B": "[8,2]"].sorted { $0.key < $1.key }.enumerated().map {
                #""\#(SmallAdapter.root).lora_\#($1.key).weight":{"dtype":"F32","shape":\#($1.value),"data_offsets":[\#($0 * 64),\#($0 * 64 + 64)]}"#
            }
            var header = Array(#"{"__metadata__":{"x":"\#(text)"},\#(names.joined(separator: ","))}"#.utf8)
            while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
            let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
            let values = try Conversion.narrowed((1...32).map { Double($0) / 8 }, to: .f32)
            try TestFile.write(length + header + values, to: "\(directory)/adapter_model.safetensors")
            return Subject(path: directory)
        },
        "index-invalid": { directory, isBad in
            try shard(directory, named: "adapter_model-00001-of-00001.safetensors", more: isBad ? ["lost.weight"] : [])
        },
        "sharded-adapter": { directory, isBad in
            try isBad ? shard(directory, named: "adapter_model-00001-of-00001.safetensors") : clean()
        },
        "unknown-config-key": { directory, isBad in
            try SmallAdapter.lora(in: directory, config: isBad ? #", "lora_alhpa": 4"# : "")
            return Subject(path: directory)
        },
        "saved-module-missing": { directory, isBad in
            let head = isBad ? [] : [SmallAdapter.Values("base_model.model.lm_head.weight", [16, 8])]
            try SmallAdapter.lora(in: directory, config: #", "modules_to_save": ["lm_head"]"#, more: head)
            try SmallAdapter.base(in: directory + "-base", more: [.init("lm_head.weight", [16, 8])])
            return Subject(path: directory, base: directory + "-base")
        },
        "zeroed-weight": { directory, isBad in
            let head = SmallAdapter.Values("base_model.model.lm_head.weight", [16, 8], isBad ? 0 : 0.5)
            try SmallAdapter.lora(in: directory, config: #", "modules_to_save": ["lm_head"]"#, more: [head])
            return Subject(path: directory)
        },
        "bottleneck-pair": { directory, isBad in
            try SmallAdapter.bottleneck(in: directory, hasUp: !isBad)
            return Subject(path: directory)
        },
        "bottleneck-width": { directory, isBad in
            try SmallAdapter.bottleneck(in: directory, bottleneck: isBad ? 3 : 2)
            return Subject(path: directory)
        },
        "bottleneck-coverage": { directory, isBad in
            try SmallAdapter.bottleneck(in: directory, layers: isBad ? [0, 2] : [0, 1, 2])
            return Subject(path: directory)
        },
        "prompt-shape": { directory, isBad in
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try SmallAdapter.write([.init("prompt_embeddings", [4, 8])], to: "\(directory)/adapter_model.safetensors")
            try TestFile.write(
                #"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": \#(isBad ? 5 : 4), "token_dim": 8, "num_layers": 1, "num_transformer_submodules": 1, "task_type": "CAUSAL_LM"}"#,
                to: "\(directory)/adapter_config.json")
            return Subject(path: directory)
        },
        "not-an-adapter": { directory, isBad in
            try SmallAdapter.lora(in: directory)
            if isBad {
                try SmallAdapter.write(
                    [.init("model.layers.0.self_attn.q_proj.weight", [8, 8])], to: "\(directory)/adapter_model.safetensors")
            }
            return Subject(path: directory)
        },
        "no-merged-form": { directory, isBad in
            try withBase(directory, adapter: isBad ? #", "alora_invocation_tokens": [1, 2]"# : "")
        },
        "prefix-misplaced": { directory, isBad in
            let subject = try withBase(directory)
            if isBad {
                let root = SmallAdapter.root.replacing("model.layers", with: "model.model.layers")
                try SmallAdapter.write(
                    [.init("\(root).lora_A.weight", [2, 8]), .init("\(root).lora_B.weight", [8, 2], 0.25)],
                    to: "\(directory)/adapter_model.safetensors")
            }
            return subject
        },
        "rank-exceeds-matrix": { directory, isBad in
            try SmallAdapter.lora(in: directory, rank: isBad ? 16 : 8)
            return Subject(path: directory)
        },
        "quantised-base": { directory, isBad in
            let folder = Fixtures.path("quantised/gptq-4bit-g128")
            return isBad ? Subject(path: "\(folder)/adapter", base: "\(folder)/base") : try withBase(directory)
        },
        "base-values-unsaid": { directory, isBad in
            try withBase(directory, adapter: #", "base_model_name_or_path": "unsloth/llama-3-8b\#(isBad ? "-bnb-4bit" : "")""#)
        },
        "tied-embeddings": { directory, isBad in
            try embeddings(directory, tied: isBad, rows: 16)
        },
        "vocabulary-size": { directory, isBad in
            try embeddings(directory, tied: false, rows: isBad ? 18 : 16)
        },
        "merge-overflow": { directory, isBad in
            try withBase(directory, dtype: isBad ? .f16 : .f32, a: 400, b: 400)
        },
        "absorbed-update": { directory, isBad in
            try withBase(directory, dtype: isBad ? .bf16 : .f32, a: 1e-3, b: 1e-3)
        },
        "training-leftovers": { directory, isBad in try withFile(directory, isBad ? "optimizer.pt" : "tokenizer.json") },
        "local-base-path": { directory, isBad in
            let name = isBad ? "/home/user/models/base" : "meta-llama/Llama-2-7b-hf"
            try SmallAdapter.lora(in: directory, config: #", "base_model_name_or_path": "\#(name)""#)
            return Subject(path: directory)
        },
        "readme-missing": { directory, isBad in try withFile(directory, isBad ? "tokenizer.json" : "README.md", "# Adapter") },
        "dtype-not-allowed": { directory, isBad in
            try SmallAdapter.lora(in: directory, more: isBad ? [.init("\(SmallAdapter.root).bias", [8], dtype: .f16)] : [])
            return Subject(path: directory)
        },
        "rank-over-limit": { directory, isBad in
            try SmallAdapter.lora(in: directory, rank: isBad ? 5 : 4)
            return Subject(path: directory)
        },
        "size-over-limit": { directory, isBad in
            try SmallAdapter.lora(in: directory, more: isBad ? [.init("\(SmallAdapter.root).bias", [1 << 18])] : [])
            return Subject(path: directory)
        },
        "base-not-allowed": { directory, isBad in
            try SmallAdapter.lora(in: directory, config: #", "base_model_name_or_path": "org/\#(isBad ? "other" : "base")""#)
            return Subject(path: directory)
        },
        "metadata-missing": { directory, isBad in
            try SmallAdapter.lora(in: directory, metadata: isBad ? nil : [("format", "pt")])
            return Subject(path: directory)
        },
        "readme-front-matter": { directory, isBad in
            try withFile(directory, "README.md", isBad ? "# Adapter\n" : "---\nbase_model: a/b\n---\n# Adapter\n")
        },
        "license-missing": { directory, isBad in
            try withFile(directory, "README.md", isBad ? "# Adapter\n" : "---\nlicense: apache-2.0\n---\n# Adapter\n")
        },
        "pickle-file": { directory, isBad in
            let subject = try withFile(directory, "training_args.bin", "text")
            // Protocol 2, an empty dictionary, the end.
            if isBad { try TestFile.write([0x80, 0x02, 0x7D, 0x71, 0x00, 0x2E], to: "\(directory)/training_args.bin") }
            return subject
        },
        "unsafe-name": { directory, isBad in
            try SmallAdapter.lora(in: directory, more: isBad ? [.init("../../etc/passwd", [1])] : [])
            return Subject(path: directory)
        },
        "remote-code": { directory, isBad in try withFile(directory, isBad ? "modeling.py" : "tokenizer.json") },
        "serving-vllm": { directory, isBad in
            var subject = try dora(directory, isBad)
            subject.targets = [.vllm]
            return subject
        },
        "serving-llama.cpp": { directory, isBad in
            var subject = try dora(directory, isBad)
            subject.targets = [.llamaCpp]
            return subject
        },
        "serving-mlx": { directory, isBad in
            guard !isBad else {
                try SmallAdapter.lora(in: directory)
                return Subject(path: directory, targets: [.mlx])
            }
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let root = "model.layers.0.self_attn.q_proj"
            try SmallAdapter.write(
                [.init("\(root).lora_a", [8, 2]), .init("\(root).lora_b", [2, 8])], to: "\(directory)/adapters.safetensors")
            try TestFile.write(
                #"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 20.0, "dropout": 0.0}}"#,
                to: "\(directory)/adapter_config.json")
            return Subject(path: directory, targets: [.mlx])
        },
        "serving-transformers": { directory, isBad in
            guard let maker = makers["prompt-shape"], isBad else {
                var subject = clean()
                subject.targets = [.transformers]
                return subject
            }
            var subject = try maker(directory, false)
            subject.targets = [.transformers]
            return subject
        },
    ]

    static func clean() -> Subject {
        Subject(path: Fixtures.path("negative/clean"), base: Fixtures.path("negative/base"))
    }

    private static func withFile(_ directory: String, _ name: String, _ text: String = "{}") throws -> Subject {
        try SmallAdapter.lora(in: directory)
        try TestFile.write(text, to: "\(directory)/\(name)")
        return Subject(path: directory)
    }

    private static func withBase(
        _ directory: String, dtype: DType = .f32, a: Double = 0.5, b: Double = 0.25, config: String = "", adapter: String = ""
    ) throws -> Subject {
        try SmallAdapter.lora(in: directory, a: a, b: b, config: adapter)
        try SmallAdapter.base(in: directory + "-base", dtype: dtype, config: config)
        return Subject(path: directory, base: directory + "-base")
    }

    /// A DoRA with its base, which two loaders do not take; or the LoRA without its magnitudes.
    private static func dora(_ directory: String, _ isBad: Bool) throws -> Subject {
        let subject = try withBase(directory, adapter: isBad ? #", "use_dora": true"# : "")
        if isBad {
            try SmallAdapter.lora(
                in: directory, config: #", "use_dora": true"#, more: [.init("\(SmallAdapter.root).lora_magnitude_vector", [8])])
        }
        return subject
    }

    /// An adapter that was trained with its input embedding saved whole.
    private static func embeddings(_ directory: String, tied: Bool, rows: Int) throws -> Subject {
        let root = "base_model.model."
        // On a tied base the update reaches lm_head alone; otherwise the embeddings are replaced.
        let more: [SmallAdapter.Values] = tied
            ? [.init("\(root)lm_head.lora_A.weight", [2, 8]), .init("\(root)lm_head.lora_B.weight", [16, 2])]
            : [.init("\(root)model.embed_tokens.weight", [rows, 8]), .init("\(root)lm_head.weight", [rows, 8])]
        try SmallAdapter.lora(
            in: directory, config: tied ? "" : #", "modules_to_save": ["embed_tokens", "lm_head"]"#,
            targets: #""q_proj""# + (tied ? #", "lm_head""# : ""), more: more)
        let base = directory + "-base"
        try SmallAdapter.base(
            in: base, config: #", "vocab_size": 16"#,
            more: [.init("model.embed_tokens.weight", [16, 8])] + (tied ? [] : [.init("lm_head.weight", [16, 8])]))
        if tied {
            try TestFile.write(
                #"{"model_type": "llama", "tie_word_embeddings": true, "vocab_size": 16}"#, to: "\(base)/config.json")
        }
        return Subject(path: directory, base: base)
    }

    private static func shard(_ directory: String, named name: String, more: [String] = []) throws -> Subject {
        try SmallAdapter.lora(in: directory, weights: "adapter_model-00001-of-00001.safetensors")
        let names = ["A", "B"].map { "\(SmallAdapter.root).lora_\($0).weight" } + more
        let map = names.map { #""\#($0)": "\#(name)""# }
        try TestFile.write(
            #"{"metadata": {}, "weight_map": {\#(map.joined(separator: ", "))}}"#,
            to: "\(directory)/adapter_model.safetensors.index.json")
        return Subject(path: directory)
    }

    /// Asks for everything that is looked at only where a policy asks.
    private static let policy = """
        rules: {readme-missing: warning, readme-front-matter: warning, license-missing: warning}
        dtypes: [F32]
        max-rank: 4
        max-size: 1MB
        bases: [org/base]
        metadata: {format: pt}
        """

    static func check(_ subject: Subject) throws -> CheckedSubject {
        let options = CheckOptions(
            base: try subject.base.map { try Checkpoint.open($0) }, targets: subject.targets,
            policy: try CheckPolicy(LocatedDocument(Array(policy.utf8), file: "policy.yml")), jobs: 2)
        return try Checker(options: options).check(subject.path)
    }

    @Test func everyRuleHasABadAndAGoodAdapter() {
        #expect(Set(RuleRegistry.rules.map(\.id)) == Set(Self.makers.keys).union(Self.negative))
    }

    @Test(arguments: makers.keys.sorted()) func theBadAdapterIsFoundAndTheGoodOneIsNot(_ rule: String) throws {
        let folder = try TemporaryDirectory()
        let make = try #require(Self.makers[rule])
        let bad = try Self.check(try make(folder.path("bad"), true))
        #expect(bad.findings.contains { $0.rule == rule }, "\(bad)")
        let good = try Self.check(try make(folder.path("good"), false))
        #expect(!good.findings.contains { $0.rule == rule }, "\(good.findings)")
        #expect(!good.omissions.contains { $0.rule == rule }, "\(good.omissions)")
    }

    @Test(arguments: negative.sorted()) func theCleanAdapterHasNoneOfIt(_ rule: String) throws {
        #expect(try Self.check(Self.clean()).findings.filter { $0.rule == rule } == [])
    }

    /// Without a base the loss is likely and not certain, and one of PEFT's two names for classification is enough.
    @Test func aSavedModuleIsMissedWithoutABase() throws {
        let folder = try TemporaryDirectory()
        func findings(_ name: String, _ modules: String, _ more: [SmallAdapter.Values] = []) throws -> [Finding] {
            try SmallAdapter.lora(in: folder.path(name), config: #", "modules_to_save": \#(modules)"#, more: more)
            return try Self.check(Subject(path: folder.path(name))).findings.filter { $0.rule == "saved-module-missing" }
        }
        #expect(try findings("a", #"["lm_head"]"#).map(\.severity) == [.warning])
        let score = [SmallAdapter.Values("base_model.model.score.weight", [2, 8])]
        #expect(try findings("b", #"["classifier", "score"]"#, score).isEmpty)
        #expect(try findings("c", #"["classifier", "score"]"#).count == 2)
    }

    @Test func anUntrainedBottleneckIsSaidToBeOne() throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.bottleneck(in: folder.path("a"), up: 0)
        #expect(try Self.check(Subject(path: folder.path("a"))).findings.contains { $0.rule == "untrained" && $0.severity == .error })
        try SmallAdapter.bottleneck(in: folder.path("b"))
        #expect(try !Self.check(Subject(path: folder.path("b"))).findings.contains { $0.rule == "untrained" })
    }

    /// Links are what they lead to, as every file of the Hub's cache is one; and what cannot be opened is said.
    @Test func picklesBehindLinksAreFoundAndDanglingLinksAreSaid() throws {
        let folder = try TemporaryDirectory()
        let directory = folder.path("adapter")
        try SmallAdapter.lora(in: directory)
        try TestFile.write([0x80, 0x02, 0x7D, 0x71, 0x00, 0x2E], to: folder.path("blob"))
        try FileManager.default.createSymbolicLink(atPath: "\(directory)/a.bin", withDestinationPath: "../blob")
        let linked = try Checker().check(directory)
        #expect(linked.findings.contains { $0.rule == "pickle-file" && $0.file == "\(directory)/a.bin" })
        #expect(linked.verdict(failOn: .error) == .pass)
        try FileManager.default.createSymbolicLink(atPath: "\(directory)/b.bin", withDestinationPath: "../gone")
        let dangling = try Checker().check(directory)
        // What was found stays, and what was not looked at fails closed.
        #expect(dangling.findings.contains { $0.rule == "pickle-file" })
        #expect(dangling.omissions.contains { $0.rule == "pickle-file" && $0.isInconclusive && $0.reason.contains("b.bin") })
        #expect(dangling.verdict(failOn: .error) == .inconclusive)
    }
}
