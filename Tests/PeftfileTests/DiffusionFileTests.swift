import Peftfile
import TestSupport
import Testing

/// LoRA files of diffusion transformers in conversions, and what is refused.
@Suite struct DiffusionFileTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func run(_ arguments: String...) throws -> Tool.Result { try Tool.run(arguments) }

    private func pair(_ module: String, _ rows: Int, _ columns: Int, down: String = "lora_down", up: String = "lora_up", alpha: Double? = nil) -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).\(down).weight"), [2, columns], seed: columns),
            SmallModel.tensor(ExactString("\(module).\(up).weight"), [rows, 2], seed: rows),
        ] + (alpha.map { [SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [$0])] } ?? [])
    }

    /// A folder of diffusers' transformer with its config.
    private func transformer(_ model: DiffusionModel, _ name: String) throws -> String {
        let path = directory.path(name)
        try FileSystem.makeDirectory(path)
        try directory.write(#"{"_class_name": "\#(model.className)"}"#, to: "\(name)/config.json")
        try SmallTensor.write(model.base("diffusers"), to: path + "/diffusion_pytorch_model.safetensors")
        return path
    }

    /// The repository's names become those that diffusers has in their place, and what is written gives the same result.
    @Test(arguments: DiffusionModel.names) func conversionsGiveTheSame(_ file: String) throws {
        let model = try DiffusionModel(file)
        let base = try transformer(model, "base")
        let own = try #require(model.cases.first { $0.side == "own" && $0.base == "diffusers" && $0.alpha != nil })
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(model.adapter(own, "bare"), to: path)
        let first = try run("merge", base, path, "-o", directory.path("first"))
        #expect(first.status == 0, "\(file): \(first.errors)")
        let expected = try Checkpoint.open(directory.path("first"))
        for target in ["diffusers", "peft", "kohya"] {
            let out = directory.path(target == "peft" ? "peft" : "\(target).safetensors")
            let result = try run("convert", path, "--to", target, "--base", base, "-o", out)
            #expect(result.status == 0, "\(file) to \(target): \(result.errors)")
            guard result.status == 0 else { continue }
            #expect(try run("verify", out).status == 0, "\(file) to \(target)")
            let merged = try run("merge", base, out, "-o", directory.path("from-\(target)"))
            #expect(merged.status == 0, "\(file) from \(target): \(merged.errors)")
            guard merged.status == 0 else { continue }
            let other = try Checkpoint.open(directory.path("from-\(target)"))
            for tensor in expected.tensors {
                let stored = try #require(other[tensor.name])
                #expect(try other.read(stored) == expected.read(tensor), "\(file) from \(target): \(tensor.name)")
            }
            if target == "diffusers" {
                let modules = Set(try Adapter(path: out).targets().map(\.module.text))
                let known = Set((model.bases["diffusers"] ?? []).map { "transformer." + $0.name })
                #expect(modules.allSatisfy { known.contains($0 + ".weight") }, "\(file)")
            }
        }
        // The names alone tell which model it is, but for what two models call the same.
        let alone = try run("convert", path, "--to", "diffusers", "-o", directory.path("alone.safetensors"))
        #expect(alone.status == 0, "\(file): \(alone.errors)")
        #expect(
            try Set(Adapter(path: directory.path("alone.safetensors")).targets().map(\.module))
                == Set(Adapter(path: directory.path("diffusers.safetensors")).targets().map(\.module)))
    }

    @Test func lightningIsKnownForWhatItIs() throws {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(pair("transformer_blocks.0.attn.to_q", 8, 8, alpha: 1) + pair("transformer_blocks.0.img_mlp.net.0.proj", 32, 8, alpha: 1), to: path)
        let inspection = try Inspection(path: path)
        #expect(inspection.dialect == "diffusers" && inspection.unclaimed.isEmpty)
        #expect(inspection.targets.map(\.module.text).sorted() == ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.img_mlp.net.0.proj"])
        #expect(inspection.targets.allSatisfy { $0.scale == 0.5 })
        #expect(try run("check", path).status == 0)
        // Without an alpha the factor is 1, and another may be given.
        try SmallTensor.write(pair("transformer_blocks.0.attn.to_q", 8, 8, down: "lora_A", up: "lora_B"), to: path)
        #expect(try Adapter(path: path).targets().map(\.scale) == [1])
        #expect(try Adapter(path: path).targets(BindingOptions(scale: 0.25)).map(\.scale) == [0.25])
    }

    /// A language model's file without a front is none of a denoiser's.
    @Test(arguments: ["layers.0.attention.wq", "layers.0.feed_forward.w1", "blocks.0.attn.q", "model.layers.0.self_attn.q_proj"])
    func languageModelsAreNone(_ module: String) throws {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(pair(module, 4, 4, down: "lora_A", up: "lora_B"), to: path)
        #expect(try Inspection(path: path).dialect != "diffusers")
    }

    /// Lumina 2 and Z-Image call the feed-forward's layers the same, and diffusers has them otherwise in the first alone.
    @Test func namesOfTwoModelsAreRefused() throws {
        let (path, out) = (directory.path("lora.safetensors"), directory.path("d.safetensors"))
        try SmallTensor.write(pair("transformer.layers.0.feed_forward.w1", 8, 4), to: path)
        let result = try run("convert", path, "--to", "diffusers", "-o", out)
        #expect(result.status == 2 && result.errors.contains("[NotConvertible]"), "\(result.errors)")
        #expect(result.errors.contains("Lumina 2") && result.errors.contains("Z-Image") && result.errors.contains("--base PIPELINE"), "\(result.errors)")
        #expect(!FileSystem.exists(out))
        // Their widths are known.
        for (width, name) in [(2304, "linear_1"), (3840, "w1")] {
            try SmallTensor.write(pair("transformer.layers.0.feed_forward.w1", 8, width), to: path)
            let told = try run("convert", path, "--to", "diffusers", "-o", out, "--force")
            #expect(told.status == 0, "\(told.errors)")
            #expect(try Adapter(path: out).targets().map(\.module.text) == ["transformer.layers.0.feed_forward.\(name)"])
        }
        // A modulation is Lumina 2's alone.
        try SmallTensor.write(pair("transformer.layers.0.feed_forward.w1", 8, 4) + pair("transformer.layers.0.adaLN_modulation.1", 16, 4), to: path)
        #expect(try run("convert", path, "--to", "diffusers", "-o", out, "--force").status == 0)
        #expect(
            try Set(Adapter(path: out).targets().map(\.module.text))
                == ["transformer.layers.0.feed_forward.linear_1", "transformer.layers.0.norm1.linear"])
    }

    /// An adapter of one model is no adapter of another that shares its blocks' names.
    @Test(arguments: [("flux2.json", "flux.json"), ("flux.json", "flux2.json"), ("lumina2.json", "z-image.json"), ("sd3.json", "flux.json")])
    func otherModelsAreRefused(_ adapter: String, _ base: String) throws {
        let (first, second) = (try DiffusionModel(adapter), try DiffusionModel(base))
        for side in ["own", "diffusers"] {
            let own = try #require(first.cases.first { $0.side == side && $0.alpha == nil })
            let path = directory.path("lora.safetensors")
            try SmallTensor.write(first.adapter(own, side == "own" ? "comfy" : "transformer"), to: path)
            for kind in ["own", "diffusers"] {
                let model = directory.path("\(kind).safetensors")
                try SmallTensor.write(second.base(kind), to: model)
                let result = try run("merge", model, path, "-o", directory.path("x"))
                #expect(result.status == 2 && !FileSystem.exists(directory.path("x")), "\(adapter) onto \(base), \(side) onto \(kind)")
                #expect(result.errors.contains("[MissingTarget]") || result.errors.contains("[ShapeMismatch]"), "\(result.errors)")
            }
        }
    }

    /// A rotation of a fused layer's output mixes rows of different layers: it has its place in the repository's file, and the refusal says so.
    @Test func formsThatCannotBeCutAreRefused() throws {
        let model = try DiffusionModel("flux.json")
        let path = directory.path("oft.safetensors")
        try SmallTensor.write([SmallModel.tensor("lora_unet_double_blocks_0_img_attn_qkv.oft_blocks", [2, 12, 12], seed: 1)], to: path)
        for kind in ["own", "diffusers"] {
            let base = directory.path("\(kind).safetensors")
            try SmallTensor.write(model.base(kind), to: base)
            let result = try run("merge", base, path, "-o", directory.path("out"))
            #expect(result.status == (kind == "own" ? 0 : 2), "\(result.errors)")
            guard kind == "diffusers" else { continue }
            #expect(result.errors.contains("[MissingTarget]") && result.errors.contains("transformer_blocks.0.attn.to_q"), "\(result.errors)")
            #expect(result.errors.contains("the model's own repository"), "\(result.errors)")
        }
    }

    /// DoRA's magnitudes are one for each row, so that a part of a fused layer has its own; and halves that change places keep theirs.
    @Test func magnitudesFollowTheirRows() throws {
        let model = try DiffusionModel("flux.json")
        let modules = [("transformer_blocks.0.attn.to_k", 8, 8), ("norm_out.linear", 16, 8)]
        let factors = modules.flatMap { module, rows, columns in
            pair("transformer.\(module)", rows, columns, down: "lora_A", up: "lora_B")
                + [SmallTensor(name: ExactString("transformer.\(module).lora_magnitude_vector"), shape: [rows], values: (1...rows).map(Double.init))]
        }
        let path = directory.path("dora.safetensors")
        try SmallTensor.write(factors, to: path)
        // The repository's file with the numbers that diffusers' has, where it has them.
        let theirs = Dictionary(uniqueKeysWithValues: model.base("diffusers").map { ($0.name.text, $0.values) })
        let (q, k, v) = (theirs["transformer_blocks.0.attn.to_q.weight"] ?? [], theirs["transformer_blocks.0.attn.to_k.weight"] ?? [],
            theirs["transformer_blocks.0.attn.to_v.weight"] ?? [])
        let last = theirs["norm_out.linear.weight"] ?? []
        let own = model.base("own").map { tensor in
            switch tensor.name {
            case "double_blocks.0.img_attn.qkv.weight": SmallTensor(name: tensor.name, shape: tensor.shape, values: q + k + v)
            case "final_layer.adaLN_modulation.1.weight": SmallTensor(name: tensor.name, shape: tensor.shape, values: Array(last[64...] + last[..<64]))
            default: tensor
            }
        }
        try SmallTensor.write(own, to: directory.path("own.safetensors"))
        try SmallTensor.write(model.base("diffusers"), to: directory.path("theirs.safetensors"))
        for kind in ["own", "theirs"] {
            let result = try run("merge", directory.path("\(kind).safetensors"), path, "-o", directory.path("m-\(kind)"))
            #expect(result.status == 0, "\(result.errors)")
            guard result.status == 0 else { return }
            #expect(try run("verify", directory.path("m-\(kind)")).status == 0)
        }
        let (mine, other) = (try Checkpoint.open(directory.path("m-own")), try Checkpoint.open(directory.path("m-theirs")))
        let fused = try mine.numbers("double_blocks.0.img_attn.qkv.weight")
        #expect(Array(fused[64..<128]) == (try other.numbers("transformer_blocks.0.attn.to_k.weight")))
        #expect(Array(fused[..<64]) == q && Array(fused[128...]) == v)
        let halves = try mine.numbers("final_layer.adaLN_modulation.1.weight")
        #expect(Array(halves[64...] + halves[..<64]) == (try other.numbers("norm_out.linear.weight")))
        #expect(try other.numbers("norm_out.linear.weight") != last)
    }

    /// `set_weight` takes the weight's place, and so do the norms of Black Forest Labs' control LoRA.
    @Test(arguments: ["own", "diffusers"]) func weightsAreReplaced(_ kind: String) throws {
        let model = try DiffusionModel("flux.json")
        let (base, path) = (directory.path("base.safetensors"), directory.path("lora.safetensors"))
        try SmallTensor.write(model.base(kind), to: base)
        let norms = [
            ("double_blocks.0.img_attn.norm.query_norm", "transformer_blocks.0.attn.norm_q"),
            ("double_blocks.0.txt_attn.norm.key_norm", "transformer_blocks.0.attn.norm_added_k"),
            ("single_blocks.0.norm.key_norm", "single_transformer_blocks.0.attn.norm_k"),
        ]
        let values = norms.indices.map { SmallModel.tensor(ExactString(norms[$0].0 + ".scale"), [8], seed: 40 + $0) }
        let whole = SmallModel.tensor("img_in.set_weight", [8, 4], seed: 50)
        try SmallTensor.write(pair("double_blocks.0.img_attn.qkv", 24, 8, down: "lora_A", up: "lora_B") + values + [whole], to: path)
        let result = try run("merge", base, path, "-o", directory.path("out"))
        #expect(result.status == 0, "\(result.errors)")
        guard result.status == 0 else { return }
        let merged = try Checkpoint.open(directory.path("out"))
        for (names, value) in zip(norms, values) {
            let name = kind == "own" ? names.0 + ".scale" : names.1 + ".weight"
            #expect(try merged.numbers(ExactString(name)) == value.values, "\(name)")
        }
        #expect(try merged.numbers(kind == "own" ? "img_in.weight" : "x_embedder.weight") == whole.values)
        let changed = try Set(merged.tensors.filter { tensor in
            try merged.numbers(tensor.name) != model.base(kind).first { $0.name == tensor.name }?.values
        }.map(\.name.text))
        #expect(changed.count == (kind == "own" ? 5 : 7))
        #expect(try run("verify", directory.path("out")).status == 0)
    }

    /// Sides that no file has: a matrix without elements may claim any.
    @Test func hostileShapesAreRefused() throws {
        let path = directory.path("lora.safetensors")
        let huge = SmallTensor(name: "diffusion_model.double_blocks.0.img_attn.qkv.diff", shape: [0, 1 << 62], values: [])
        try SmallTensor.write([huge] + pair("diffusion_model.double_blocks.0.img_attn.proj", 8, 8), to: path)
        for kind in ["own", "diffusers"] {
            let base = directory.path("\(kind).safetensors")
            try SmallTensor.write(DiffusionModel("flux.json").base(kind), to: base)
            let result = try run("merge", base, path, "-o", directory.path("out"))
            #expect(result.status == 2 && !FileSystem.exists(directory.path("out")), "\(result.errors)")
        }
        #expect(try run("convert", path, "--to", "diffusers", "-o", directory.path("x.safetensors")).status == 2)
    }

    /// Beside factors of the weight a difference of it has no meaning that two loaders share.
    @Test func aDifferenceBesideFactorsIsRefused() throws {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(
            pair("blocks.0.self_attn.q", 4, 4) + [SmallModel.tensor("blocks.0.self_attn.q.diff", [4, 4], seed: 3)], to: path)
        let result = try run("check", path)
        #expect(result.status != 0)
        #expect(throws: PeftfileError.self) { try Adapter(path: path).targets() }
    }

    /// A bias's difference has no scale, and PEFT's `lora_B.bias` that of the factors: it goes into lora_B, where that holds it. What is written
    /// merges to the same bytes.
    @Test(arguments: [nil, 1, 8] as [Double?], ["diffusers", "peft", "kohya"]) func biasesGoToOtherDialects(_ alpha: Double?, _ target: String) throws {
        let model = try DiffusionModel("wan.json")
        let base = try transformer(model, "base")
        let (path, out) = (directory.path("lora.safetensors"), directory.path(target == "peft" ? "d" : "d.safetensors"))
        let bias = SmallModel.tensor("diffusion_model.blocks.0.self_attn.q.diff_b", [12], seed: 9)
        let factors = pair("diffusion_model.blocks.0.self_attn.q", 12, 12, alpha: alpha)
        try SmallTensor.write(factors + [bias], to: path)
        let result = try run("convert", path, "--to", target, "--base", base, "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        guard result.status == 0 else { return }
        if target == "diffusers" {
            let file = try Checkpoint.open(out)
            #expect(try file.numbers("transformer.blocks.0.attn1.to_q.lora_B.bias") == bias.values)
            #expect(try file.numbers("transformer.blocks.0.attn1.to_q.lora_B.weight") == factors[1].values.map { $0 * (alpha ?? 2) / 2 })
        }
        #expect(try run("verify", out).status == 0)
        for (name, adapter) in [("first", path), ("second", out)] {
            let merged = try run("merge", base, adapter, "-o", directory.path(name))
            #expect(merged.status == 0, "\(merged.errors)")
        }
        #expect(try run("diff", directory.path("first"), directory.path("second")).status == 0)
        let (before, after) = (try Checkpoint.open(base), try Checkpoint.open(directory.path("second")))
        #expect(try after.numbers("blocks.0.attn1.to_q.bias") == Plain.sum(before.numbers("blocks.0.attn1.to_q.bias"), bias.values, scale: 1))
    }

    /// A scale that F32 does not hold times lora_B is in no file of PEFT's beside a bias without one.
    @Test(arguments: ["--scale", "alpha"]) func aScaleThatRoundsStaysOut(_ how: String) throws {
        let (path, out) = (directory.path("lora.safetensors"), directory.path("d.safetensors"))
        let bias = SmallModel.tensor("blocks.0.self_attn.q.diff_b", [12], seed: 9)
        try SmallTensor.write(pair("blocks.0.self_attn.q", 12, 12, alpha: how == "alpha" ? 0.6 : nil) + [bias], to: path)
        let result = try Tool.run(["convert", path, "--to", "diffusers", "-o", out] + (how == "alpha" ? [] : [how, "0.3"]))
        #expect(result.status == 2 && result.errors.contains("difference of its bias") && !FileSystem.exists(out), "\(result.errors)")
        guard how == "--scale" else { return }
        let exact = try Tool.run(["convert", path, "--to", "diffusers", "-o", out, how, "2"])
        #expect(exact.status == 0, "\(exact.errors)")
        #expect(try run("verify", out).status == 0)
    }

    /// DiffSynth's front says that a file is a denoiser's, and refiners are in no language model: feed-forward layers alone are known then.
    @Test(arguments: [
        ("lumina2.json", "pipe.dit.layers.0.feed_forward.w1", 72, 18, "layers.0.feed_forward.linear_1"),
        ("z-image.json", "pipe.dit.layers.0.feed_forward.w2", 8, 21, "layers.0.feed_forward.w2"),
        ("lumina2.json", "noise_refiner.0.feed_forward.w2", 18, 72, "noise_refiner.0.feed_forward.linear_2"),
        ("z-image.json", "context_refiner.0.feed_forward.w3", 21, 8, "context_refiner.0.feed_forward.w3"),
    ]) func feedForwardLayersAlone(_ file: String, _ module: String, _ rows: Int, _ columns: Int, _ layer: String) throws {
        let model = try DiffusionModel(file)
        let path = directory.path("lora.safetensors")
        let suffix = module.hasPrefix("pipe.") ? ".default" : ""
        let factors = pair(module, rows, columns, down: "lora_A\(suffix)", up: "lora_B\(suffix)")
        try SmallTensor.write(factors, to: path)
        #expect(try Inspection(path: path).dialect == "diffusers")
        let base = try transformer(model, "base")
        let result = try run("merge", base, path, "-o", directory.path("out"))
        #expect(result.status == 0, "\(result.errors)")
        guard result.status == 0 else { return }
        let name = ExactString(layer + ".weight")
        let update = Plain.product(factors[1].values, factors[0].values, rows, 2, columns)
        #expect(
            try Checkpoint.open(directory.path("out")).numbers(name) == Plain.sum(Checkpoint.open(base).numbers(name), update, scale: 1))
    }

    /// FLUX.1's control LoRA has columns for the control's channels, which the base's first layer has not.
    @Test(arguments: ["own", "diffusers"]) func aControlLoRAIsCalledOne(_ kind: String) throws {
        let model = try DiffusionModel("flux.json")
        let (base, path) = (directory.path("base.safetensors"), directory.path("lora.safetensors"))
        try SmallTensor.write(model.base(kind), to: base)
        try SmallTensor.write(
            pair("img_in", 8, 8, down: "lora_A", up: "lora_B") + pair("double_blocks.0.img_attn.qkv", 24, 8, down: "lora_A", up: "lora_B"), to: path)
        let result = try run("merge", base, path, "-o", directory.path("out"))
        #expect(result.status == 2 && !FileSystem.exists(directory.path("out")), "\(result.errors)")
        #expect(result.errors.contains("control LoRA") && result.errors.contains("[ShapeMismatch]"), "\(result.errors)")
    }
}
