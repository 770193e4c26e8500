import Peftfile
import TestSupport
import Testing

/// Names that a base does not have as they are, repaired by `convert --to peft --base` and named by the refusal of a merge.
@Suite struct NameRepairTests {
    private let model: SmallModel

    init() throws {
        model = try SmallModel()
        try model.base(
            [
                SmallModel.tensor("model.layers.0.self_attn.q_proj.weight", [6, 4], seed: 1),
                SmallModel.tensor("model.layers.0.self_attn.k_proj.weight", [4, 4], seed: 2),
                SmallModel.tensor("lm_head.weight", [5, 4], seed: 3),
            ], config: #"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": false}"#)
    }

    private func adapter(_ front: String) throws {
        try model.adapter([
            SmallModel.tensor(ExactString("\(front)layers.0.self_attn.q_proj.lora_A.weight"), [2, 4], seed: 4),
            SmallModel.tensor(ExactString("\(front)layers.0.self_attn.q_proj.lora_B.weight"), [6, 2], seed: 5),
            SmallModel.tensor("lm_head.lora_A.weight", [2, 4], seed: 6),
            SmallModel.tensor("lm_head.lora_B.weight", [5, 2], seed: 7),
        ])
    }

    private var expected: Set<String> {
        let modules = ["model.layers.0.self_attn.q_proj", "lm_head"]
        return Set(modules.flatMap { ["base_model.model.\($0).lora_A.weight", "base_model.model.\($0).lora_B.weight"] })
    }

    /// What a merge of the same factors under the right names gives.
    private func expectMerged(_ path: String) throws {
        let result = try Checkpoint.open(path)
        for (name, base, a, b) in [
            ("model.layers.0.self_attn.q_proj", (1, 6), 4, 5), ("lm_head", (3, 5), 6, 7),
        ] as [(String, (Int, Int), Int, Int)] {
            let update = Plain.product(SmallTensor.numbers(2 * base.1, seed: b), SmallTensor.numbers(8, seed: a), base.1, 2, 4)
            let wanted = Plain.sum(SmallTensor.numbers(4 * base.1, seed: base.0), update, scale: 3)
            #expect(try result.numbers(ExactString("\(name).weight")) == wanted)
        }
    }

    /// Doubled, missing, foreign, and one too many. What a merge finds by the forms that one model's names take it merges.
    @Test(arguments: [
        ("base_model.model.model.", true), ("", false), ("transformer.", true), ("model.model.", false), ("gpt_neox.model.", true),
        ("model.base_model.model.model.", true),
    ]) func frontsAreRepaired(_ front: String, _ isRefused: Bool) throws {
        try adapter(front)
        let names = model.directory
        let merge = try Tool.run(["merge", names.path("base"), names.path("adapter"), "-o", names.path("m0")])
        #expect((merge.status == 2) == isRefused, "\(merge.errors)")
        var command = ["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", "adapter-repaired"]
        if isRefused {
            // The refusal ends with the command, and the command works.
            let words = merge.errors.components(after: "peftfile ").split(separator: " ").map { $0.filter { $0 != "\n" } }
            #expect(words == command)
            command = words
        }
        command[command.count - 1] = names.path("repaired")
        let result = try Tool.run(command)
        #expect(result.status == 0 && result.output.contains("renamed base_model.model.\(front)layers"), "\(result.errors)\(result.output)")
        #expect(try Set(Checkpoint.open(names.path("repaired")).tensors.map(\.name.text)) == expected)
        #expect(try Tool.run(["merge", names.path("base"), names.path("repaired"), "-o", names.path("m1")]).status == 0)
        try expectMerged(names.path("m1"))
        #expect(try Tool.run(["verify", names.path("repaired")]).status == 0)
        // To another dialect goes what a merge takes, or what tells itself that it is doubled.
        let kohya = try Tool.run(["convert", names.path("adapter"), "--to", "kohya", "--base", names.path("base"), "-o", names.path("k")])
        guard !isRefused || front.hasSuffix("base_model.model.model.") else {
            #expect(kohya.status == 2 && kohya.errors == merge.errors)
            return
        }
        #expect(kohya.status == 0, "\(kohya.errors)")
        #expect(try Tool.run(["merge", names.path("base"), names.path("k"), "-o", names.path("m2")]).status == 0)
        try expectMerged(names.path("m2"))
        #expect(try Tool.run(["verify", names.path("k")]).status == 0)
    }

    /// Without a base the doubled prefix alone tells itself.
    @Test func aDoubledPrefixNeedsNoBase() throws {
        try adapter("base_model.model.model.")
        let names = model.directory
        #expect(try Tool.run(["convert", names.path("adapter"), "--to", "kohya", "-o", names.path("k")]).status == 0)
        #expect(try Adapter(path: names.path("k")).targets().map(\.module.text).sorted() == ["lora_unet_lm_head", "lora_unet_model_layers_0_self_attn_q_proj"])
    }

    /// A pattern that names a module in full is renamed with it, and one that does so otherwise keeps the file from a repair.
    @Test(arguments: [
        (#""alpha_pattern": {"q_proj": 12}"#, true), (#""alpha_pattern": {"transformer.layers.0.self_attn.q_proj": 12}"#, true),
        (#""alpha_pattern": {"^transformer\\.layers\\.0\\.self_attn\\.q_proj": 12}"#, true),
        (#""alpha_pattern": {"transformer.layers.[0-9].self_attn.q_proj": 12}"#, false),
    ]) func aRepairChangesNoScale(_ config: String, _ isRepaired: Bool) throws {
        try model.adapter(
            [
                SmallModel.tensor("transformer.layers.0.self_attn.q_proj.lora_A.weight", [2, 4], seed: 4),
                SmallModel.tensor("transformer.layers.0.self_attn.q_proj.lora_B.weight", [6, 2], seed: 5),
            ], config: config)
        let names = model.directory
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", names.path("out")])
        #expect((result.status == 0) == isRepaired, "\(result.errors)")
        if isRepaired { #expect(try Adapter(path: names.path("out")).targets().map(\.scale) == [6]) }
    }

    /// PEFT wraps what `target_modules` means before it loads: the new names have to be meant. A regular expression is for the whole path
    /// (`re.fullmatch`), a name of a list for its end, both in `check_target_module_exists` of peft/tuners/tuners_utils.py.
    @Test(arguments: [
        (#"["q_proj"]"#, #"["q_proj"]"#), (#"["transformer.layers.0.self_attn.q_proj"]"#, #"["model.layers.0.self_attn.q_proj"]"#),
        (#""transformer\\..*q_proj""#, #"["model.layers.0.self_attn.q_proj"]"#), (#"".*q_proj""#, #"".*q_proj""#),
        (#"["model.layers.0.self_attn.q_proj"]"#, #"["model.layers.0.self_attn.q_proj"]"#),
    ]) func theConfigMeansTheNewNames(_ targets: String, _ expected: String) throws {
        try model.adapter(
            [
                SmallModel.tensor("transformer.layers.0.self_attn.q_proj.lora_A.weight", [2, 4], seed: 4),
                SmallModel.tensor("transformer.layers.0.self_attn.q_proj.lora_B.weight", [6, 2], seed: 5),
            ], config: #""target_modules": \#(targets)"#)
        let names = model.directory
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", names.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        let config = try AdapterConfig(path: names.path("out/adapter_config.json"))
        #expect(config.json["target_modules"]?.serialized() == (try JSONValue.parse(Array(expected.utf8)).serialized()))
        #expect((targets != expected) == result.output.contains("target_modules of the config"))
        #expect(try Tool.run(["verify", names.path("out")]).status == 0)
    }

    /// What a merge finds by a multimodal model's style PEFT does not find in a model that has none (`load_state_dict(strict=False)`).
    @Test func anotherFamilysStyleIsRepaired() throws {
        try adapter("language_model.model.")
        let names = model.directory
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", names.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Set(Checkpoint.open(names.path("out")).tensors.map(\.name.text)) == expected)
        #expect(try Tool.run(["verify", names.path("out")]).status == 0)
    }

    private func write(_ names: [String: [Int]]) throws {
        try SmallTensor.write(
            names.sorted { $0.key < $1.key }.enumerated().map { SmallModel.tensor(ExactString($1.key), $1.value, seed: $0) },
            to: model.directory.path("adapter/adapter_model.safetensors"))
    }

    private static let front = "base_model.model.model.layers.0.self_attn.q_proj"

    /// An adapter's name that was put in twice, and a trainer's state beside the adapter, with a base and without.
    @Test(arguments: [false, true]) func debrisIsTakenOff(_ hasBase: Bool) throws {
        try adapter("")
        try write([
            "\(Self.front).lora_A.default.default.weight": [2, 4], "\(Self.front).lora_B.default.default.weight": [6, 2], "optimizer.state.0": [3],
            "lr_scheduler.last_epoch": [1],
        ])
        let names = model.directory
        let base = hasBase ? ["--base", names.path("base")] : []
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "-o", names.path("out")] + base)
        #expect(result.status == 0 && result.output.contains("dropped optimizer.state.0"), "\(result.errors)")
        #expect(try Set(Checkpoint.open(names.path("out")).tensors.map(\.name.text)) == ["\(Self.front).lora_A.weight", "\(Self.front).lora_B.weight"])
        #expect(try Tool.run(["verify", names.path("out")]).status == 0)
    }

    /// A plain name beside PEFT's may be anything.
    @Test func aStrayNameIsRefused() throws {
        try adapter("")
        try write(["\(Self.front).lora_A.weight": [2, 4], "\(Self.front).lora_B.weight": [6, 2], "moments.0": [3]])
        let names = model.directory
        for base in [[], ["--base", names.path("base")]] {
            let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "-o", names.path("out")] + base)
            #expect(result.status == 2 && result.errors.contains("moments.0"), "\(result.errors)")
        }
    }

    /// What no method knows is refused as a merge refuses it, with a base and without; what the method or the config names is kept.
    @Test(arguments: [
        ("base_model.model.foo.bar", "", "UnclaimedTensor"), ("base_model.model.model.layers.0.mlp.extra.weight", "", "UnclaimedTensor"),
        ("\(front).lora_C.weight", "", "UnclaimedTensor"), ("\(front).bias", "", "UnclaimedTensor"),
        ("base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", "", "MissingPair"), ("\(front).bias", #""bias": "lora_only""#, nil),
        ("base_model.model.lm_head.weight", #""modules_to_save": ["lm_head"]"#, nil),
    ]) func anUnknownTensorIsRefused(_ name: String, _ config: String, _ rule: String?) throws {
        let shapes = ["\(Self.front).lora_A.weight": [2, 4], "\(Self.front).lora_B.weight": [6, 2], name: name.hasSuffix(".bias") ? [6] : [5, 4]]
        // The model puts PEFT's front before them.
        try model.adapter(
            shapes.sorted { $0.key < $1.key }.map { SmallModel.tensor(ExactString(String($0.key.dropFirst("base_model.model.".count))), $0.value, seed: 4) },
            config: config)
        let names = model.directory
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "-o", names.path("out")])
        guard let rule else {
            #expect(result.status == 0, "\(result.errors)")
            #expect(try Set(Checkpoint.open(names.path("out")).tensors.map(\.name.text)) == Set(shapes.keys))
            return
        }
        let merge = try Tool.run(["merge", names.path("base"), names.path("adapter"), "-o", names.path("m")])
        for refusal in [result, merge] {
            #expect(refusal.status == 2 && refusal.errors.contains(name) && refusal.errors.contains("[\(rule)]"), "\(refusal.errors)")
        }
        #expect(!FileSystem.exists(names.path("out")))
    }

    /// A layer that the base does not have is none of its others.
    @Test func theNumberOfALayerIsNoFront() throws {
        try model.adapter([
            SmallModel.tensor("model.layers.7.self_attn.q_proj.lora_A.weight", [2, 4], seed: 4),
            SmallModel.tensor("model.layers.7.self_attn.q_proj.lora_B.weight", [6, 2], seed: 5),
        ])
        let names = model.directory
        let merge = try Tool.run(["merge", names.path("base"), names.path("adapter"), "-o", names.path("m")])
        #expect(merge.status == 2 && merge.errors.contains("[MissingTarget]") && !merge.errors.contains("peftfile convert"))
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", names.path("out")])
        #expect(result.status == 2 && result.errors == merge.errors)
    }

    /// A name that two parts of the base end in is nobody's.
    @Test func anAmbiguousFrontIsNotGuessed() throws {
        let own = try SmallModel()
        try own.base(
            ["encoder", "decoder"].map { SmallModel.tensor(ExactString("model.\($0).layers.0.fc1.weight"), [4, 4], seed: 1) },
            config: #"{"model_type": "bart"}"#)
        try own.adapter([
            SmallModel.tensor("tower.layers.0.fc1.lora_A.weight", [2, 4], seed: 2), SmallModel.tensor("tower.layers.0.fc1.lora_B.weight", [4, 2], seed: 3),
        ])
        let names = own.directory
        let merge = try Tool.run(["merge", names.path("base"), names.path("adapter"), "-o", names.path("m")])
        #expect(merge.status == 2 && merge.errors.contains("[MissingTarget]") && !merge.errors.contains("peftfile convert"))
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "peft", "--base", names.path("base"), "-o", names.path("out")])
        #expect(result.status == 2 && result.errors.contains("[MissingTarget]"))
    }
}

extension String {
    /// What stands behind the last occurrence of a text.
    fileprivate func components(after text: String) -> Substring {
        var rest = self[...]
        while let range = rest.range(of: text) { rest = rest[range.upperBound...] }
        return rest
    }

}

extension Substring {
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
