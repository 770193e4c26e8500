import Adapters
import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@testable import Verification

/// Updates of other methods and dialects, against the merges of the real libraries and against dense products.
@Suite struct UpdateFormsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func adapter(_ name: String, _ tensors: [StoredValues], _ config: String?) throws -> DifferenceInput {
        try FileSystem.makeDirectory(directory.path(name), withParents: true)
        try directory.write(try StoredValues.file(tensors), to: "\(name)/adapter_model.safetensors")
        if let config { try directory.write(config, to: "\(name)/adapter_config.json") }
        return try DifferenceInput(path: directory.path(name))
    }

    private func compare(_ a: DifferenceInput, _ b: DifferenceInput) throws -> (CheckpointDifference, UpdateComparison) {
        let report = try CheckpointComparison(a, b, jobs: 2).run()
        return (report, try #require(report.updates))
    }

    /// The tensors of a fixture's adapter with some values changed.
    private func changed(_ path: String, _ change: (String, [Double]) -> [Double]) throws -> [StoredValues] {
        let checkpoint = try Checkpoint.open(path)
        return try checkpoint.tensors.map { tensor in
            guard tensor.dtype.isMergeable else {
                return StoredValues(tensor.name, tensor.dtype, tensor.shape, bytes: try checkpoint.read(tensor))
            }
            let values = try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            return try StoredValues(tensor.name, tensor.dtype, tensor.shape, change(tensor.name.text, values))
        }
    }

    /// The norm of each update is that of merged − base, which a real library's formula wrote: all modules together.
    @Test(arguments: [
        ("loha-linear", "hada_w1_a"), ("lokr-default", "lokr_w1"), ("lokr-both", "lokr_w1"), ("lokr-factor2", "lokr_w1"),
        ("c3a-rect", "c3a_kernel"), ("gralora", "gralora_B"), ("vblora", "vblora_vector_bank"), ("adalora", "lora_B"),
    ])
    func normsAreThoseOfTheMerge(_ name: String, _ component: String) throws {
        let path = Fixtures.path("merge/\(name)/adapter")
        // Twice a factor that the update is linear in: another update, of twice the norm.
        let tensors = try changed("\(path)/adapter_model.safetensors") { name, values in
            name.contains(component) ? values.map { 2 * $0 } : values
        }
        let double = try adapter("double", tensors, TestFile.text("\(path)/adapter_config.json"))
        let (report, updates) = try compare(DifferenceInput(path: path), double)
        #expect(updates.reason == nil && updates.skipped == [] && !updates.isEquivalent && !report.isEqual)
        let base = try Checkpoint.open(Fixtures.path("merge/\(name)/base"))
        let merged = try Checkpoint.open(Fixtures.path("merge/\(name)/expected/merged.safetensors"))
        var squares = 0.0
        for tensor in merged.tensors {
            guard let old = base[tensor.name], tensor.info.elementCount == old.info.elementCount else { continue }
            let new = try Conversion.widened(merged.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            for (x, y) in zip(new, try Conversion.widened(base.read(old), as: old.dtype, count: new.count)) { squares += (x - y) * (x - y) }
        }
        let found = updates.modules.reduce(0) { $0 + ($1.normInA ?? 0) * ($1.normInA ?? 0) }.squareRoot()
        // merged is rounded once, to F32: the norm of what that adds is a millionth of the update's.
        #expect(abs(found - squares.squareRoot()) <= 1e-4 * squares.squareRoot(), "\(found) \(squares.squareRoot())")
        if component != "vblora_vector_bank" {
            #expect(updates.modules.allSatisfy { $0.hasSameFactors || abs(($0.normInB ?? 0) - 2 * ($0.normInA ?? 0)) <= 1e-12 * ($0.normInA ?? 0) })
        }
    }

    /// The adapter of a fixture with another value in its config.
    private func configured(_ path: String, _ key: ExactString, _ value: JSONValue?) throws -> DifferenceInput {
        let name = "configured-\(key)"
        try FileSystem.makeDirectory(directory.path(name), withParents: true)
        try directory.write(try TestFile.bytes("\(path)/adapter_model.safetensors"), to: "\(name)/adapter_model.safetensors")
        var json = try AdapterConfig(path: "\(path)/adapter_config.json").json
        let members = json.members.filter { $0.key != key || value != nil }.map { ($0.key, $0.key == key ? value ?? .null : $0.value) }
        json = JSONObject(members)
        if let value, json[key] == nil { json[key] = value }
        try directory.write(JSONValue.object(json).serialized(), to: "\(name)/adapter_config.json")
        return try DifferenceInput(path: directory.path(name))
    }

    /// The same tensors and another setting that the method reads: PEFT's own merge writes other weights. Where no number can be compared
    /// the settings tell, and nothing is called equal.
    @Test(arguments: [
        ("fourierft", "scaling", "301.0"), ("fourierft", "random_loc_seed", "778"), ("waveft", "scaling", "51.0"), ("peanut", "scaling", "3.5"),
        ("randlora", "randlora_alpha", "17"), ("deft", "alpha", "33"), ("oft-coft", "coft", "false"), ("oft-block", "use_cayley_neumann", "true"),
        ("oft-neumann", "num_cayley_neumann_terms", "3"), ("hra", "apply_GS", "true"), ("waveft", "use_idwt", "false"),
        ("vera-noproj", "projection_prng_key", "5"), ("unilora", "proj_seed", "3"), ("lora-lora-bias", "lora_bias", "false"),
    ])
    func anotherSettingIsAnotherAdapter(_ fixture: String, _ key: String, _ value: String) throws {
        let path = Fixtures.path("merge/\(fixture)/adapter")
        let (same, equal) = try compare(DifferenceInput(path: path), DifferenceInput(path: path))
        #expect(same.isEqual && equal.differingSettings == [] && equal.isEquivalent && equal.skipped == [])
        let (report, updates) = try compare(
            DifferenceInput(path: path), configured(path, ExactString(key), try JSONValue.parse(Array(value.utf8), file: key)))
        #expect(report.hasEqualTensors && !report.isEqual && updates.differingSettings == [key], "\(updates)")
        #expect(!updates.isEquivalent && Set(updates.skipped.map(\.name)).count == updates.skipped.count)
    }

    /// Seeds of what both files store: PEFT loads the stored numbers over those that it draws, and the model is the same.
    @Test(arguments: [("shira", "random_seed"), ("tinylora", "projection_seed"), ("randlora", "projection_prng_key")])
    func aSeedOfWhatIsStoredIsNoDifference(_ fixture: String, _ key: String) throws {
        let path = Fixtures.path("merge/\(fixture)/adapter")
        let (report, updates) = try compare(DifferenceInput(path: path), configured(path, ExactString(key), .number(JSONNumber(3))))
        #expect(report.isEqual && updates.differingSettings == [] && updates.isEquivalent, "\(updates)")
    }

    /// Keys by which PEFT loads other modules of the same tensors.
    @Test(arguments: [
        ("lora-linear-f32", "target_modules", nil, ["target_modules"]), ("lora-linear-f32", "target_modules", #"["q_proj"]"#, ["target_modules"]),
        ("lora-linear-f32", "exclude_modules", #"["q_proj"]"#, ["exclude_modules"]), ("lora-linear-f32", "layers_to_transform", "[5]", ["layers_to_transform"]),
        ("lora-tied-mts-untied", "modules_to_save", "[]", ["modules_to_save"]), ("lora-linear-f32", "bias", #""all""#, ["bias"]),
        ("lora-linear-f32", "lora_dropout", "0.5", []), ("lora-linear-f32", "target_modules", #"".*(q|k|v|o|gate|up|down)_proj""#, []),
    ] as [(String, String, String?, [String])])
    func otherModulesAreAnotherAdapter(_ fixture: String, _ key: String, _ value: String?, _ wanted: [String]) throws {
        let path = Fixtures.path("merge/\(fixture)/adapter")
        let other = try configured(path, ExactString(key), try value.map { try JSONValue.parse(Array($0.utf8), file: key) })
        let (report, updates) = try compare(DifferenceInput(path: path), other)
        #expect(report.hasEqualTensors && updates.differingSettings == wanted, "\(updates.differingSettings)")
        #expect(report.isEqual == wanted.isEmpty && updates.isEquivalent == wanted.isEmpty)
    }

    /// Keys that PEFT reads for the first values alone make no difference, and those that it reads beside the tensors do, also where
    /// the same key is without a part in other methods.
    @Test(arguments: [
        ("hra", "init_weights", "false", []), ("osf", "init_weights", "false", []), ("oft-coft", "init_weights", "false", []),
        ("miss-bat", "init_weights", #""mini""#, ["init_weights"]), ("psoft", "init_weights", "false", []), ("lily", "init_weights", "false", []),
        ("refuse-prompt-tuning", "prompt_tuning_init", #""SAMPLE_VOCAB""#, []), ("refuse-p-tuning", "encoder_dropout", "0.5", []),
        ("refuse-cpt", "opt_loss_decay_factor", "0.5", []), ("refuse-cpt", "opt_projection_epsilon", "0.5", ["opt_projection_epsilon"]),
        ("refuse-prompt-tuning", "task_type", #""SEQ_2_SEQ_LM""#, ["task_type"]), ("shadow", "task_type", #""SEQ_CLS""#, ["task_type"]),
        ("hra", "task_type", #""SEQ_CLS""#, []), ("supertuning", "select_top", "false", []), ("frod", "regularization_alpha", "0.5", []),
        ("refuse-prefix-tuning", "num_virtual_tokens", "9", ["num_virtual_tokens"]),
    ] as [(String, String, String, [String])])
    func keysOfFirstValuesMakeNoDifference(_ fixture: String, _ key: String, _ value: String, _ wanted: [String]) throws {
        let path = Fixtures.path("merge/\(fixture)/adapter")
        let (report, updates) = try compare(
            DifferenceInput(path: path), configured(path, ExactString(key), try JSONValue.parse(Array(value.utf8), file: key)))
        #expect(report.hasEqualTensors && updates.differingSettings == wanted, "\(updates.differingSettings)")
        #expect(report.isEqual == wanted.isEmpty)
    }

    /// What is not in the file is made again from the config.
    @Test(arguments: [("frod", "frod_V", "regularization_alpha", "0.5"), ("supertuning", "indices", "select_top", "false")])
    func whatPEFTMakesAgainIsReadFromTheConfig(_ fixture: String, _ part: String, _ key: String, _ value: String) throws {
        let path = Fixtures.path("merge/\(fixture)/adapter")
        let stored = try Checkpoint.open(path)
        let tensors = try stored.tensors.filter { !$0.name.text.contains(part) && $0.dtype.isMergeable }.map {
            try StoredValues($0.name, $0.dtype, $0.shape, Conversion.widened(stored.read($0), as: $0.dtype, count: $0.info.elementCount))
        }
        #expect(tensors.count < stored.tensors.count && !tensors.isEmpty)
        let config = try AdapterConfig(path: "\(path)/adapter_config.json").json
        let inputs = try ["one", "other"].map { name in
            var json = config
            if name == "other" { json[ExactString(key)] = try JSONValue.parse(Array(value.utf8), file: key) }
            try FileSystem.makeDirectory(directory.path(name), withParents: true)
            try directory.write(try StoredValues.file(tensors), to: "\(name)/adapter_model.safetensors")
            try directory.write(JSONValue.object(json).serialized(), to: "\(name)/adapter_config.json")
            return try DifferenceInput(path: directory.path(name))
        }
        let (report, updates) = try compare(inputs[0], inputs[1])
        #expect(report.hasEqualTensors && !report.isEqual && updates.differingSettings == [key], "\(updates.differingSettings)")
    }

    /// A component that is asked for is all that is compared.
    @Test func aComponentAloneIsCompared() throws {
        let path = Fixtures.path("dialects/kohya-lora-with-te/adapter")
        let file = try #require(try FileSystem.list(path).first { $0.hasSuffix(".safetensors") })
        let tensors = try changed("\(path)/\(file)") { name, values in
            name.hasPrefix("lora_te") ? values.map { $0 + 0.125 } : values
        }
        let whole = try DifferenceInput(path: "\(path)/\(file)")
        let te = whole.checkpoint.tensors.count { $0.name.text.hasPrefix("lora_te") }
        try directory.write(try StoredValues.file(tensors), to: "other.safetensors")
        let other = try DifferenceInput(path: directory.path("other.safetensors"))
        func report(_ component: String?) throws -> CheckpointDifference {
            var options = BindingOptions()
            options.component = component
            return try CheckpointComparison(whole, other, options: options, jobs: 2).run()
        }
        let (all, unet, text) = (try report(nil), try report("lora_unet"), try report("lora_te"))
        #expect(te > 0 && all.changed.count == te && !all.isEqual)
        #expect(unet.isEqual && unet.compared == whole.checkpoint.tensors.count - te && unet.updates?.isEquivalent == true)
        #expect(text.compared == te && text.changed.count == te && !text.isEqual)
        #expect(throws: PeftfileError.self) { try report("lora_te9") }
    }

    /// Any adapter of these methods is equivalent to itself with the factors' signs turned in pairs.
    @Test(arguments: [("loha-linear", ["hada_w1_a", "hada_w1_b"]), ("lokr-both", ["lokr_w1", "lokr_w2"]), ("loha-linear-bf16", ["hada_w2_a", "hada_w1_a"])])
    func turnedSignsAreEquivalent(_ name: String, _ components: [String]) throws {
        let path = Fixtures.path("merge/\(name)/adapter")
        let tensors = try changed("\(path)/adapter_model.safetensors") { name, values in
            components.contains { name.contains($0) } ? values.map { -$0 } : values
        }
        let (report, updates) = try compare(
            DifferenceInput(path: path), adapter("turned", tensors, TestFile.text("\(path)/adapter_config.json")))
        let isEven = name != "lokr-both"
        // lokr_w1_a and _b are both turned where both are split: the product of two turned signs.
        #expect(updates.modules.allSatisfy { $0.cos.map { abs(abs($0) - 1) < 1e-12 } ?? false })
        if isEven { #expect(updates.isEquivalent && !report.isEqual) }
    }

    /// LoHa with a second product of ones is the LoRA of its first: one update in two methods.
    @Test(arguments: [DType.f64, .f32, .bf16]) func twoMethodsOfOneUpdateAreEquivalent(_ dtype: DType) throws {
        var random = SplitMix64(seed: 41)
        let (rows, columns, rank) = (40, 24, 3)
        let (b, a) = (random.doubles(rows * rank), random.doubles(rank * columns))
        let module = "base_model.model.layers.0.q_proj"
        func tensor(_ name: String, _ shape: Shape, _ values: [Double]) throws -> StoredValues {
            try StoredValues(ExactString("\(module).\(name)"), dtype, shape, values)
        }
        // Ones: a first column of ones times a first row of ones.
        let ones = (
            left: (0..<(rows * rank)).map { $0 % rank == 0 ? 1.0 : 0 }, right: (0..<(rank * columns)).map { $0 < columns ? 1.0 : 0 })
        let loha = try adapter(
            "loha",
            [
                tensor("hada_w1_a", [rows, rank], b), tensor("hada_w1_b", [rank, columns], a),
                tensor("hada_w2_a", [rows, rank], ones.left), tensor("hada_w2_b", [rank, columns], ones.right),
            ], #"{"peft_type": "LOHA", "r": 3, "alpha": 6, "target_modules": ["q_proj"]}"#)
        let lora = try adapter(
            "lora", [tensor("lora_A.weight", [rank, columns], a), tensor("lora_B.weight", [rows, rank], b)],
            #"{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["q_proj"]}"#)
        let (report, updates) = try compare(loha, lora)
        let found = try #require(updates.modules.first)
        #expect(updates.isEquivalent && updates.methodsDiffer && !report.isEqual)
        let stored = (try StoredValues("", dtype, [b.count], b).values, try StoredValues("", dtype, [a.count], a).values)
        let dense = PlainProduct(b: stored.0, a: stored.1, rank: rank, scale: 2)
        #expect(abs((found.normInA ?? 0) - dense.norm) <= 1e-12 * dense.norm)
        #expect(found.relativeDifference.map { $0 < 1e-14 } == true && found.columnOverlap == nil)
        // Another alpha is another update, whatever the method.
        let other = try adapter(
            "other", [tensor("lora_A.weight", [rank, columns], a), tensor("lora_B.weight", [rows, rank], b)],
            #"{"peft_type": "LORA", "r": 3, "lora_alpha": 9, "target_modules": ["q_proj"]}"#)
        let (_, differing) = try compare(loha, other)
        #expect(differing.modules.first?.relativeDifference.map { abs($0 - 0.5) < 1e-12 } == true && !differing.isEquivalent)
    }

    /// What rounding explains, against a Monte-Carlo of rounding: the stated ρ is not below what happens.
    @Test func roundingIsAllowedForAndNoMore() throws {
        var random = SplitMix64(seed: 42)
        let module = "base_model.model.layers.0.q_proj"
        let shapes: [(String, Shape)] = [("hada_w1_a", [48, 4]), ("hada_w1_b", [4, 32]), ("hada_w2_a", [48, 4]), ("hada_w2_b", [4, 32])]
        let values = shapes.map { random.doubles($0.1.reduce(1, *)) }
        func write(_ name: String, _ dtype: DType, _ factor: Double = 1) throws -> DifferenceInput {
            try adapter(
                name,
                zip(shapes, values).map {
                    try StoredValues(ExactString("\(module).\($0.0)"), dtype, $0.1, $0.0 == "hada_w1_a" ? $1.map { $0 * factor } : $1)
                }, #"{"peft_type": "LOHA", "r": 4, "alpha": 4, "target_modules": ["q_proj"]}"#)
        }
        let (_, updates) = try compare(write("a", .f32), write("b", .bf16))
        let found = try #require(updates.modules.first)
        // Rounding to BF16 is a relative error of up to 2⁻⁸, and its mean square a third of that: ρ lies above by √3 or so.
        #expect(found.isEquivalent)
        #expect(try #require(found.relativeDifference) > #require(found.rounding) / 6)
        let (_, moved) = try compare(write("a", .f32), write("c", .bf16, 1 + 4 * (found.rounding ?? 0)))
        #expect(!moved.isEquivalent)
    }

    /// A file of kohya's trainer against one of PEFT: other names, other layout of the scale, one update.
    @Test func dialectsOfOneUpdateAreEquivalent() throws {
        var random = SplitMix64(seed: 43)
        let (b, a) = (random.doubles(12 * 2), random.doubles(2 * 8))
        let kohya = try adapter(
            "kohya",
            [
                StoredValues("lora_unet_mid_block_attentions_0_to_q.lora_down.weight", .f32, [2, 8], a),
                StoredValues("lora_unet_mid_block_attentions_0_to_q.lora_up.weight", .f32, [12, 2], b),
                StoredValues("lora_unet_mid_block_attentions_0_to_q.alpha", .f32, [], [4]),
            ], nil)
        let peft = try adapter(
            "peft",
            [
                StoredValues("base_model.model.mid_block.attentions.0.to_q.lora_A.weight", .f32, [2, 8], a),
                StoredValues("base_model.model.mid_block.attentions.0.to_q.lora_B.weight", .f32, [12, 2], b),
            ], #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["to_q"]}"#)
        let (report, updates) = try compare(kohya, peft)
        #expect(updates.reason == nil && updates.isEquivalent, "\(updates)")
        #expect(!report.isEqual && report.removed.count == 3 && report.added.count == 2)
        #expect(updates.modules.first?.columnOverlap.map { abs($0 - 1) < 1e-12 } == true)
        // diffusers puts the part of the pipeline first.
        let diffusers = try adapter(
            "diffusers",
            [
                StoredValues("unet.mid_block.attentions.0.to_q.lora_A.weight", .f32, [2, 8], a),
                StoredValues("unet.mid_block.attentions.0.to_q.lora_B.weight", .f32, [12, 2], b.map { 2 * $0 }),
            ], nil)
        let (_, other) = try compare(kohya, diffusers)
        #expect(other.isEquivalent, "\(other)")
    }

    /// MLX stores transposes, and the scale by itself.
    @Test func mlxAndPEFTOfOneUpdateAreEquivalent() throws {
        var random = SplitMix64(seed: 44)
        let (rows, columns, rank) = (12, 8, 2)
        let (b, a) = (random.doubles(rows * rank), random.doubles(rank * columns))
        func turned(_ values: [Double], _ rows: Int, _ columns: Int) -> [Double] {
            (0..<(rows * columns)).map { values[$0 % rows * columns + $0 / rows] }
        }
        let module = "model.layers.0.self_attn.q_proj"
        try FileSystem.makeDirectory(directory.path("mlx"), withParents: true)
        try directory.write(
            StoredValues.file([
                StoredValues(ExactString("\(module).lora_a"), .f32, [columns, rank], turned(a, rank, columns)),
                StoredValues(ExactString("\(module).lora_b"), .f32, [rank, rows], turned(b, rows, rank)),
            ]), to: "mlx/adapters.safetensors")
        try directory.write(
            #"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 3.0, "dropout": 0.0}}"#,
            to: "mlx/adapter_config.json")
        let peft = try adapter(
            "peft",
            [
                StoredValues(ExactString("base_model.model.\(module).lora_A.weight"), .f32, [rank, columns], a),
                StoredValues(ExactString("base_model.model.\(module).lora_B.weight"), .f32, [rows, rank], b),
            ], #"{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}"#)
        let (_, updates) = try compare(DifferenceInput(path: directory.path("mlx")), peft)
        #expect(updates.isEquivalent, "\(updates)")
    }

    /// What only a base can tell is named, and is the same where nothing differs.
    @Test(arguments: ["ia3-llama", "oft-llama", "hira", "vera-noproj"]) func whatNeedsTheBaseIsSaid(_ name: String) throws {
        let path = Fixtures.path("merge/\(name)/adapter")
        guard FileSystem.exists(path) else { return }
        let input = try DifferenceInput(path: path)
        let (report, same) = try compare(input, input)
        #expect(report.isEqual && same.isEquivalent && same.reason == nil && !same.modules.isEmpty)
        var count = 0
        let tensors = try changed("\(path)/adapter_model.safetensors") { _, values in
            count += 1
            return count == 1 ? values.map { 1.5 * $0 + 0.25 } : values
        }
        let (differing, updates) = try compare(input, adapter("other", tensors, TestFile.text("\(path)/adapter_config.json")))
        #expect(!differing.isEqual && !updates.isEquivalent)
        #expect(!updates.skipped.isEmpty && updates.skipped.allSatisfy { !$0.reason.isEmpty })
    }

    @Test func promptsChangeNoWeights() throws {
        let input = try DifferenceInput(path: Fixtures.path("merge/refuse-prompt-tuning/adapter"))
        let (report, updates) = try compare(input, input)
        #expect(report.isEqual && updates.reason?.contains("without a base") == true)
    }

    /// The weight of a linear layer in `target_parameters` and the layer in `target_modules` are one model; a router's, a Conv1D's and
    /// a layer that the other config has lost are not.
    @Test(arguments: [
        ("mlp.gate_proj", "gate_proj", true), ("mlp.gate", "gate", false), ("attn.c_proj", "c_proj", false), ("mlp.gate_proj", "up_proj", false),
    ]) func aLinearLayersWeightMeansTheLayer(_ module: String, _ target: String, _ isSame: Bool) throws {
        func tensors() throws -> [StoredValues] {
            try ["self_attn.q_proj", module].flatMap { path in
                try ["A": [2, 4], "B": [4, 2]].sorted { $0.key < $1.key }.map { side, shape in
                    try StoredValues(
                        ExactString("base_model.model.model.layers.0.\(path).lora_\(side).weight"), .f32, shape, (0..<8).map { Double($0) / 4 + 1 })
                }
            }
        }
        let shared = #""peft_type": "LORA", "r": 2, "lora_alpha": 4"#
        let parameters = try adapter(
            "parameters", tensors(), "{\(shared), \"target_modules\": [\"q_proj\"], \"target_parameters\": [\"\(module).weight\"]}")
        let modules = try adapter("modules", tensors(), "{\(shared), \"target_modules\": [\"q_proj\", \"\(target)\"]}")
        for (one, other) in [(parameters, modules), (modules, parameters)] {
            let (_, updates) = try compare(one, other)
            #expect(updates.differingSettings.isEmpty == isSame && updates.isEquivalent == isSame, "\(updates.differingSettings)")
        }
    }
}
