import ByteAccess
import Checking
import Checkpoints
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// Updates that do nothing, or too much, in every method and dialect: genuine adapters with some tensors set to one number.
///
/// The truth is each method's own definition: which of its parameters are zeros or ones where PEFT and the other libraries
/// begin, or where the formula's product is nothing.
@Suite struct EffectTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var fixture: String
        /// A part of the names of the tensors that are set.
        var part: String
        var value = 0.0
        var rule = "untrained"
        var testDescription: String { "\(fixture) \(part) = \(value)" }
    }

    /// A copy of a genuine adapter in which tensors with `part` in their names are `value` everywhere.
    static func adapter(_ item: Case, in folder: TemporaryDirectory) throws -> String {
        let source = Fixtures.path("\(item.fixture)/adapter"), path = folder.path("adapter")
        try FileManager.default.copyItem(atPath: source, toPath: path)
        let file = try #require(
            try FileManager.default.contentsOfDirectory(atPath: path).sorted().first { $0.hasSuffix(".safetensors") })
        let reader = try FileReader(path: "\(path)/\(file)")
        var bytes = try reader.allBytes(limit: 1 << 30)
        let checkpoint = try Checkpoint.open("\(path)/\(file)")
        var count = 0
        for tensor in checkpoint.tensors where tensor.name.text.contains(item.part) && tensor.dtype.isMergeable {
            let values = try Conversion.narrowed([Double](repeating: item.value, count: tensor.info.elementCount), to: tensor.dtype)
            bytes.replaceSubrange(Int(tensor.info.begin)..<Int(tensor.info.end), with: values)
            count += 1
        }
        #expect(count > 0)
        try TestFile.write(bytes, to: "\(path)/\(file)")
        return path
    }

    static let cases: [Case] = [
        .init(fixture: "merge/frod", part: "lambda_s_values"), .init(fixture: "merge/beft", part: "beft_bias"), .init(fixture: "merge/c3a", part: "c3a_kernel"),
        .init(fixture: "merge/deft", part: "deft_"), .init(fixture: "merge/fourierft", part: "spectrum"),
        .init(fixture: "merge/glora", part: "glora"), .init(fixture: "merge/peanut", part: "peanut_B"),
        .init(fixture: "merge/pvera", part: "lambda_b"), .init(fixture: "merge/tinylora", part: "tinylora_v"),
        .init(fixture: "merge/unilora", part: "theta_d"), .init(fixture: "merge/waveft", part: "spectrum"),
        .init(fixture: "merge/refuse-poly", part: "poly_lora_B"), .init(fixture: "merge/osf", part: "S_low"),
        .init(fixture: "merge/ia3-llama", part: "ia3_l", value: 1), .init(fixture: "merge/ia3-conv2d", part: "ia3_l", value: 1),
        .init(fixture: "merge/lily", part: "lily_B"), .init(fixture: "merge/refuse-adaption-prompt", part: "adaption_gate"),
        .init(fixture: "merge/refuse-adaption-prompt", part: "adaption_prompt"),
        .init(fixture: "merge/refuse-prefix-tuning", part: "prompt"), .init(fixture: "merge/refuse-prompt-tuning", part: "prompt"),
        .init(fixture: "merge/refuse-p-tuning", part: "prompt"), .init(fixture: "merge/refuse-cpt", part: "prompt"),
        .init(fixture: "merge/refuse-multitask", part: "prompt_embeddings"), .init(fixture: "merge/refuse-cartridge", part: "prompt"),
        .init(fixture: "merge/adalora", part: "lora_E"), .init(fixture: "merge/adamss", part: "adamss_B"),
        .init(fixture: "merge/delora", part: "delora_lambda"), .init(fixture: "merge/gralora", part: "gralora_B"),
        .init(fixture: "merge/hira", part: "hira_B"), .init(fixture: "merge/loha-linear", part: "hada_w2_a"),
        .init(fixture: "merge/lokr-default", part: "lokr_w2"), .init(fixture: "merge/miss", part: "miss"),
        .init(fixture: "merge/oft-share", part: "oft_R"), .init(fixture: "merge/miss-mini", part: "miss"),
        .init(fixture: "merge/refuse-alora", part: "lora_B"), .init(fixture: "merge/lora-conv-grouped", part: "lora_B"),
        .init(fixture: "merge/shadow", part: "shadow_up"), .init(fixture: "merge/refuse-xlora", part: "xlora"),
        .init(fixture: "merge/lora-lora-bias", part: "lora_B.weight"),
        .init(fixture: "merge/oft-block", part: "oft_R"), .init(fixture: "merge/randlora", part: "lambda"),
        .init(fixture: "merge/shira", part: "shira_weight"), .init(fixture: "merge/supertuning", part: "values"),
        .init(fixture: "merge/vblora", part: "vector_bank"), .init(fixture: "merge/vera", part: "lambda_b"),
        .init(fixture: "merge/lora-pissa", part: "lora_B"), .init(fixture: "merge/dora-linear-f32", part: "lora_B"),
        .init(fixture: "merge/lora-moe-target-params", part: "lora_B"), .init(fixture: "merge/lora-lora-bias", part: "lora_B"),
        .init(fixture: "dialects/kohya-lora", part: "lora_up"), .init(fixture: "dialects/kohya-dora", part: "lora_up"),
        .init(fixture: "dialects/lycoris-locon", part: "lora_down"), .init(fixture: "dialects/lycoris-locon-cp", part: "lora_up"),
        .init(fixture: "dialects/lycoris-dora", part: "lora_up"), .init(fixture: "dialects/lycoris-loha", part: "hada_w2_a"),
        .init(fixture: "dialects/lycoris-loha-cp", part: "hada_w2_b"), .init(fixture: "dialects/lycoris-lokr", part: "lokr_w2"),
        .init(fixture: "dialects/lycoris-lokr-full", part: "lokr_w2"), .init(fixture: "dialects/mlx-lora", part: "lora_b"),
        .init(fixture: "dialects/mlx-dora", part: "lora_b"), .init(fixture: "dialects/diffusers-lora", part: "lora_B"),
        .init(fixture: "dialects/diffusers-lora-old", part: "up.weight"),
    ]

    static let others: [Case] = [
        .init(fixture: "merge/ia3-llama", part: "ia3_l", rule: "zeroed-weight"),
        .init(fixture: "merge/dora-linear-f32", part: "magnitude", rule: "zeroed-weight"),
        .init(fixture: "merge/road1", part: "road", rule: "zeroed-weight"),
        .init(fixture: "merge/lora-mts", part: "lm_head", rule: "zeroed-weight"),
        .init(fixture: "merge/lora-roberta-cls", part: "classifier", rule: "zeroed-weight"),
        .init(fixture: "dialects/kohya-dora", part: "dora_scale", rule: "zeroed-weight"),
        .init(fixture: "dialects/lycoris-dora", part: "dora_scale", rule: "zeroed-weight"),
        .init(fixture: "dialects/mlx-dora", part: ".m", rule: "zeroed-weight"),
        .init(fixture: "dialects/kohya-lora", part: "alpha", rule: "alpha-missing"),
        .init(fixture: "merge/hra", part: "hra_u", rule: "nonfinite"),
    ]

    @Test(arguments: cases + others) func itIsFound(_ item: Case) throws {
        let folder = try TemporaryDirectory()
        let path = try Self.adapter(item, in: folder)
        let base = try Checkpoint.open(Fixtures.path("\(item.fixture)/base"))
        for base in [nil, base] {
            let subject = try Checker(options: CheckOptions(base: base, jobs: 2)).check(path)
            let errors = Set(subject.findings.filter { $0.severity == .error }.map(\.rule))
            #expect(errors == [item.rule], "\(base == nil ? "without" : "with") base: \(subject.findings.map(\.message)) \(subject.omissions)")
        }
    }

    /// What is off its first value in one tensor does something, although another is at it.
    @Test(arguments: [
        Case(fixture: "merge/boft", part: "boft_R"), Case(fixture: "merge/road1", part: "road_theta"),
        Case(fixture: "merge/lora-lora-bias", part: "lora_B.bias"), Case(fixture: "merge/psoft", part: "psoft_R.weight"),
    ])
    func aPartOfItIsNotAll(_ item: Case) throws {
        let folder = try TemporaryDirectory()
        let subject = try Checker(options: CheckOptions(jobs: 2)).check(try Self.adapter(item, in: folder))
        #expect(!subject.findings.contains { $0.rule == "untrained" })
    }

    /// A module of several parameters, or of a product and a bias, of which one was lost: a warning, since the others do something.
    @Test(arguments: [
        Case(fixture: "merge/arch-mixtral", part: "layers.0.mlp.experts.lora_B"),
        Case(fixture: "merge/arch-mixtral", part: "layers.1.mlp.experts.base_layer.lora_A"),
        Case(fixture: "merge/lora-lora-bias", part: "layer.0.attention.self.query.lora_B.weight"),
    ])
    func aLostPartIsNamed(_ item: Case) throws {
        let folder = try TemporaryDirectory()
        let subject = try Checker(options: CheckOptions(jobs: 2)).check(try Self.adapter(item, in: folder))
        let found = subject.findings.filter { $0.rule == "untrained" }
        #expect(!found.isEmpty && found.allSatisfy { $0.severity == .warning && $0.tensor?.text.contains(item.part) == true }, "\(subject.findings)")
    }

    /// Rows of tokens, and parameters stored whole, that are the base's own.
    @Test func whatIsTheBasesOwnIsUntrained() throws {
        let folder = try TemporaryDirectory()
        let values = SmallAdapter.Values("model.embed_tokens.weight", [6, 8])
        try SmallAdapter.base(in: folder.path("base"), more: [values])
        var rows = SmallAdapter.Values("base_model.model.model.embed_tokens.trainable_tokens_delta", [2, 8])
        for (name, indices) in [("same", [1, 4]), ("other", [0, 4])] {
            // Rows 1 and 4 of the base.
            rows.values = [1, 4].flatMap { values.values[($0 * 8)..<($0 * 8 + 8)] }
            try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
            try SmallAdapter.write([rows], to: folder.path("\(name)/adapter_model.safetensors"))
            try TestFile.write(
                #"{"peft_type": "TRAINABLE_TOKENS", "token_indices": \#(indices), "target_modules": ["embed_tokens"]}"#,
                to: folder.path("\(name)/adapter_config.json"))
            let base = try Checkpoint.open(folder.path("base"))
            let subject = try Checker(options: CheckOptions(base: base, jobs: 1)).check(folder.path(name))
            #expect(subject.findings.filter { $0.severity == .error }.map(\.rule) == (name == "same" ? ["untrained"] : []), "\(subject)")
            let alone = try Checker().check(folder.path(name))
            #expect(alone.findings == [])
        }
    }

    /// No genuine adapter is called untrained, or silenced.
    @Test(arguments: PrecisionTests.cases.map { "merge/\($0)" } + PrecisionTests.dialects.map { "dialects/\($0)" })
    func noGenuineAdapterIsCalledUntrained(_ name: String) throws {
        for base in [nil, Fixtures.path("\(name)/base")] where base.map(FileManager.default.fileExists(atPath:)) ?? true {
            let options = CheckOptions(base: try base.map { try Checkpoint.open($0) }, jobs: 2)
            let subject = try Checker(options: options).check(Fixtures.path("\(name)/adapter"))
            #expect(subject.findings.filter { ["untrained", "zeroed-weight", "missing-module"].contains($0.rule) } == [])
        }
    }
}
