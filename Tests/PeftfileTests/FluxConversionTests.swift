import Peftfile
import TestSupport
import Testing

/// FLUX.1's layers under diffusers' names, written as sd-scripts names and fuses them.
@Suite struct FluxConversionTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func run(_ arguments: String...) throws -> Tool.Result { try Tool.run(["convert"] + arguments) }

    private func pair(_ module: String, _ rows: Int, _ columns: Int, rank: Int = 2, a: String = "lora_A", b: String = "lora_B") -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).\(a).weight"), [rank, columns], seed: columns + rank),
            SmallModel.tensor(ExactString("\(module).\(b).weight"), [rows, rank], seed: rows + module.utf8.count),
        ]
    }

    private struct Layer {
        let a: [Double], b: [Double], shape: Shape, scale: Double
        var rank: Int { b.count / shape[0] }
        func element(_ row: Int, _ column: Int) -> Double {
            (0..<rank).reduce(0) { $0 + b[row * rank + $1] * a[$1 * shape[1] + column] } * scale
        }
    }

    private func layer(_ file: Checkpoint, _ module: String) throws -> Layer {
        let (down, up) = (try #require(file[ExactString(module + ".lora_down.weight")]), try #require(file[ExactString(module + ".lora_up.weight")]))
        let alpha = file[ExactString(module + ".alpha")] == nil ? nil : try file.numbers(ExactString(module + ".alpha"))[0]
        return Layer(
            a: try file.numbers(down.name), b: try file.numbers(up.name), shape: [up.shape[0], down.shape[1]],
            scale: alpha.map { $0 / Double(down.shape[0]) } ?? 1)
    }

    /// A file of kohya's whose form in diffusers its own converter wrote (`Fixtures/names/diffusers-layers.json`, to which
    /// `DiffusersLayerTests` holds ours byte by byte) comes back: the same layers with the same products.
    @Test func aFileComesBackFromDiffusers() throws {
        let bytes = try FileReader(path: Fixtures.path("names/diffusers-layers.json")).allBytes(limit: 1 << 20)
        let cases = try #require(try JSONValue.parse(bytes).objectValue?["cases"]?.arrayValue)
        let source = try (cases[0].objectValue?["source"]?.arrayValue ?? []).map { tensor in
            let shape = (tensor["shape"]?.arrayValue ?? []).compactMap(\.intValue)
            let seed = try #require(tensor["seed"]?.intValue)
            return SmallTensor(
                name: ExactString(try #require(tensor["name"]?.stringValue)), shape: shape,
                values: (0..<shape.reduce(1, *)).map { Double(($0 * 7 + seed * 13) % 251 - 125) })
        }
        let (first, second, third) = (directory.path("k.safetensors"), directory.path("d.safetensors"), directory.path("back.safetensors"))
        try SmallTensor.write(source, to: first)
        #expect(try run(first, "--to", "diffusers", "-o", second).status == 0)
        let result = try run(second, "--to", "kohya", "-o", third)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.run(["verify", third]).status == 0)
        let (before, after) = (try Checkpoint.open(first), try Checkpoint.open(third))
        let modules = Set(before.tensors.map { String($0.name.text.prefix { $0 != "." }) })
        #expect(Set(after.tensors.map { String($0.name.text.prefix { $0 != "." }) }) == modules && modules.count == 23)
        for module in modules.sorted() {
            let (old, new) = (try layer(before, module), try layer(after, module))
            #expect(old.shape == new.shape, "\(module)")
            let (height, width) = (old.shape[0], old.shape[1])
            for row in stride(from: 0, to: height, by: max(1, height / 97)) {
                for column in stride(from: 0, to: width, by: max(1, width / 31)) where old.element(row, column) != new.element(row, column) {
                    Issue.record("\(module) \(row) \(column)")
                    return
                }
            }
        }
        #expect(after.shards[0].file.metadata?.contains { $0.key == "ss_network_module" && $0.value == "networks.lora_flux" } == true)
    }

    /// A file with nothing but blocks of two streams comes back too, where it has all of them: no other model has 19. What diffusers made of it
    /// is recorded like that of the first.
    @Test(arguments: [19, 18]) func blocksOfTwoStreamsAreEnough(_ blocks: Int) throws {
        let source = (0..<blocks).flatMap { pair("lora_unet_double_blocks_\($0)_img_attn_proj", 4, 4, a: "lora_down", b: "lora_up") }
        let (first, second, third) = (directory.path("k.safetensors"), directory.path("d.safetensors"), directory.path("back.safetensors"))
        try SmallTensor.write(source, to: first)
        #expect(try run(first, "--to", "diffusers", "-o", second).status == 0)
        #expect(try run(second, "--to", "kohya", "-o", third).status == 0)
        let names = Set(try Checkpoint.open(third).tensors.map { String($0.name.text.prefix { $0 != "." }) })
        #expect(names == Set((0..<blocks).map { blocks == 19 ? "lora_unet_double_blocks_\($0)_img_attn_proj" : "lora_unet_transformer_blocks_\($0)_attn_to_out_0" }))
    }

    /// What the trainer or PEFT's config says of the model decides before the names do.
    @Test(arguments: [
        ("modelspec.architecture", "flux-1-dev/lora", true), ("ss_base_model_version", "flux1", true),
        ("modelspec.architecture", "stable-diffusion-3-medium/lora", false), ("ss_base_model_version", "hunyuan_video", false),
    ] as [(ExactString, String, Bool)])
    func theTrainerNamesTheModel(_ key: ExactString, _ value: String, _ isFlux: Bool) throws {
        let (source, out) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        try SmallTensor.write(pair("transformer.transformer_blocks.2.attn.to_add_out", 4, 4), metadata: [(key, value)], to: source)
        #expect(try run(source, "--to", "kohya", "-o", out).status == 0)
        let expected = isFlux ? "lora_unet_double_blocks_2_txt_attn_proj." : "lora_unet_transformer_blocks_2_attn_to_add_out."
        #expect(try Checkpoint.open(out).tensors.allSatisfy { $0.name.text.hasPrefix(expected) })
    }

    @Test(arguments: [("FluxTransformer2DModel", true), ("SD3Transformer2DModel", false)])
    func theConfigNamesTheClass(_ name: String, _ isFlux: Bool) throws {
        try FileSystem.makeDirectory(directory.path("adapter"))
        try directory.write(
            #"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["to_out.0"], "auto_mapping": {"base_model_class": "\#(name)", "parent_library": "diffusers.models"}}"#,
            to: "adapter/adapter_config.json")
        try SmallTensor.write(pair("base_model.model.transformer_blocks.0.attn.to_out.0", 4, 4), to: directory.path("adapter/adapter_model.safetensors"))
        let out = directory.path("k.safetensors")
        let result = try run(directory.path("adapter"), "--to", "kohya", "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        let expected = isFlux ? "lora_unet_double_blocks_0_img_attn_proj." : "lora_unet_transformer_blocks_0_attn_to_out_0."
        #expect(try Checkpoint.open(out).tensors.allSatisfy { $0.name.text.hasPrefix(expected) })
    }

    /// Names of the model's own repository with nothing before them, or with PEFT's front and no config: a scale of 1, unless one is given.
    /// HunyuanVideo's, which have an underscore more, are not taken for them.
    @Test(arguments: ["", "base_model.model."], [nil, "0.5"] as [String?])
    func namesWithoutAComponentAreFlux(_ front: String, _ scale: String?) throws {
        let names = ["double_blocks.4.img_attn.qkv", "double_blocks.4.txt_mlp.0"]
        let tensors = pair(front + names[0], 12, 4) + pair(front + names[1], 16, 4)
            + [SmallModel.tensor(ExactString("\(front)\(names[0]).lora_B.bias"), [12], seed: 3)]
        let source = directory.path("lora.safetensors")
        try SmallTensor.write(tensors, to: source)
        let given = scale.map { ["--scale", $0] } ?? []
        let out = directory.path("d.safetensors")
        let result = try Tool.run(["convert", source, "--to", "diffusers", "-o", out] + given)
        #expect(result.status == 0, "\(result.errors)")
        let file = try Checkpoint.open(out)
        let modules = ["attn.to_q", "attn.to_k", "attn.to_v", "ff_context.net.0.proj"].map { "transformer.transformer_blocks.4.\($0)" }
        #expect(
            Set(file.tensors.map(\.name.text))
                == Set(modules.flatMap { ["\($0).lora_A.weight", "\($0).lora_B.weight"] } + modules.prefix(3).map { "\($0).lora_B.bias" }))
        let whole = Double(scale ?? "1") ?? 1
        #expect(try Adapter(path: out).targets().allSatisfy { $0.scale == whole })
        for (part, module) in modules.prefix(3).enumerated() {
            #expect(try file.numbers(ExactString("\(module).lora_B.bias")) == Array(tensors[4].values[(4 * part)..<(4 * part + 4)]))
            #expect(try file.numbers(ExactString("\(module).lora_B.weight")) == Array(tensors[1].values[(8 * part)..<(8 * part + 8)]))
        }
        // Onto the model's own file.
        let base = directory.path("flux.safetensors")
        let weights = [SmallModel.tensor(ExactString("\(names[0]).weight"), [12, 4], seed: 1), SmallModel.tensor(ExactString("\(names[1]).weight"), [16, 4], seed: 2),
            SmallModel.tensor(ExactString("\(names[0]).bias"), [12], seed: 9)]
        try SmallTensor.write(weights, to: base)
        let merge = try Tool.run(["merge", base, source, "-o", directory.path("m.safetensors")] + given)
        #expect(merge.status == 0, "\(merge.errors)")
        let merged = try Checkpoint.open(directory.path("m.safetensors"))
        #expect(try merged.numbers(weights[0].name) == Plain.sum(weights[0].values, Plain.product(tensors[1].values, tensors[0].values, 12, 2, 4), scale: whole))
        #expect(try Tool.run(["verify", directory.path("m.safetensors"), "--base", base, "--adapter", source] + given).status == 0)
        // To kohya the layer stays one.
        try SmallTensor.write(Array(tensors.prefix(4)), to: source)
        #expect(try Tool.run(["convert", source, "--to", "kohya", "-o", directory.path("k.safetensors")] + given).status == 0)
        let kohya = try Checkpoint.open(directory.path("k.safetensors"))
        #expect(kohya["lora_unet_double_blocks_4_img_attn_qkv.lora_up.weight"]?.shape == [12, 2])
        #expect(kohya.shards[0].file.metadata?.contains { $0.key == "ss_network_module" && $0.value == "networks.lora_flux" } == true)
        // HunyuanVideo's, of which diffusers makes the same.
        try SmallTensor.write(pair("\(front)double_blocks.4.img_attn_qkv", 12, 4), to: source)
        let other = try Tool.run(["convert", source, "--to", "diffusers", "-o", directory.path("x.safetensors")])
        #expect(other.status == 0, "\(other.errors)")
        #expect(
            try Set(Adapter(path: directory.path("x.safetensors")).targets().map(\.module.text))
                == Set(["to_q", "to_k", "to_v"].map { "transformer.transformer_blocks.4.attn.\($0)" }))
    }

    /// Two of the three parts of a layer, of other ranks and scales: the rows of the third are zero, and a merge onto diffusers' model
    /// is the same from both files.
    @Test func partsStandBesideEachOther() throws {
        let (h, q, v, m) = (4, "single_transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_v", "single_transformer_blocks.0.proj_mlp")
        let source = directory.path("d.safetensors")
        let tensors = pair("transformer.\(q)", h, h) + pair("transformer.\(v)", h, h, rank: 3) + pair("transformer.\(m)", 4 * h, h, rank: 1)
        let config = #"{"transformer.r": 2, "transformer.lora_alpha": 1, "transformer.rank_pattern": {"single_transformer_blocks.0.attn.to_v": 3, "single_transformer_blocks.0.proj_mlp": 1}, "transformer.alpha_pattern": {"single_transformer_blocks.0.attn.to_v": 6, "single_transformer_blocks.0.proj_mlp": 0.25}, "transformer.target_modules": ["single_transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_v", "single_transformer_blocks.0.proj_mlp"]}"#
        try SmallTensor.write(tensors, metadata: [("lora_adapter_metadata", config)], to: source)
        let out = directory.path("k.safetensors")
        let result = try run(source, "--to", "kohya", "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.run(["verify", out]).status == 0)
        let file = try Checkpoint.open(out)
        #expect(Set(file.tensors.map(\.name.text)) == Set(["alpha", "lora_down.weight", "lora_up.weight"].map { "lora_unet_single_blocks_0_linear1.\($0)" }))
        let whole = try layer(file, "lora_unet_single_blocks_0_linear1")
        #expect(whole.shape == [7 * h, h] && whole.rank == 6)
        for (number, rows, rank, scale) in [(0, 0..<h, 2, 0.5), (1, (2 * h)..<(3 * h), 3, 2), (2, (3 * h)..<(7 * h), 1, 0.25)] {
            let update = Plain.product(tensors[2 * number + 1].values, tensors[2 * number].values, rows.count, rank, h)
            for row in rows {
                for column in 0..<h { #expect(whole.element(row, column) == scale * update[(row - rows.lowerBound) * h + column]) }
            }
        }
        for row in h..<(2 * h) { for column in 0..<h { #expect(whole.element(row, column) == 0) } }
        // Onto diffusers' model.
        try FileSystem.makeDirectory(directory.path("base"))
        try directory.write(#"{"_class_name": "FluxTransformer2DModel"}"#, to: "base/config.json")
        let weights = [q, "single_transformer_blocks.0.attn.to_k", v].map { SmallModel.tensor(ExactString("\($0).weight"), [h, h], seed: 5) }
            + [SmallModel.tensor(ExactString("\(m).weight"), [4 * h, h], seed: 6)]
        try SmallTensor.write(weights, to: directory.path("base/model.safetensors"))
        for (adapter, name) in [(source, "m0"), (out, "m1")] {
            let merge = try Tool.run(["merge", directory.path("base"), adapter, "-o", directory.path(name)])
            #expect(merge.status == 0, "\(merge.errors)")
        }
        #expect(try Tool.run(["diff", directory.path("m0"), directory.path("m1")]).status == 0)
        // An element that is changed, and one of a row without an update, are seen.
        for place in [0, h * 6] {
            var values = try file.numbers("lora_unet_single_blocks_0_linear1.lora_up.weight")
            values[place] += 1
            let wrong = try file.tensors.map { tensor in
                SmallTensor(name: tensor.name, shape: tensor.shape, values: tensor.name.text.hasSuffix("lora_up.weight") ? values : try file.numbers(tensor.name))
            }
            try SmallTensor.write(wrong, metadata: [("ss_network_module", "networks.lora_flux")], to: out)
            let verdict = try Tool.run(["verify", out])
            #expect(verdict.status == 1 && (verdict.output + verdict.errors).contains("elements of"), "\(verdict.output) \(verdict.errors)")
        }
    }

    /// DoRA's magnitudes stand below each other where every part has them; without one of them the layer is refused.
    @Test func magnitudesBelongToRows() throws {
        let names = ["to_q", "to_k", "to_v"].map { "transformer.transformer_blocks.0.attn.\($0)" } + ["transformer.single_transformer_blocks.0.norm.linear"]
        func magnitude(_ name: String, _ rows: Int) -> SmallTensor { SmallModel.tensor(ExactString("\(name).lora_magnitude_vector"), [rows], seed: name.utf8.count + rows) }
        let tensors = names.prefix(3).flatMap { pair($0, 4, 4) + [magnitude($0, 4)] } + pair(names[3], 12, 4) + [magnitude(names[3], 12)]
        let config = #"{"transformer.r": 2, "transformer.lora_alpha": 2, "transformer.use_dora": true, "transformer.target_modules": ["to_q", "to_k", "to_v", "norm.linear"]}"#
        let (source, out) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        try SmallTensor.write(tensors, metadata: [("lora_adapter_metadata", config)], to: source)
        let result = try run(source, "--to", "kohya", "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        let file = try Checkpoint.open(out)
        let expected = [2, 5, 8].flatMap { tensors[$0].values }
        #expect(try file.numbers("lora_unet_double_blocks_0_img_attn_qkv.dora_scale") == expected)
        #expect(file["lora_unet_double_blocks_0_img_attn_qkv.dora_scale"]?.shape == [12, 1])
        #expect(try Tool.run(["verify", out]).status == 0)
        try SmallTensor.write(tensors.filter { !$0.name.text.contains("to_k") }, metadata: [("lora_adapter_metadata", config)], to: source)
        let refused = try run(source, "--to", "kohya", "-o", directory.path("x.safetensors"))
        #expect(refused.status == 2 && refused.errors.contains("double_blocks_0_img_attn_qkv"), "\(refused.errors)")
    }

    /// Whose layers they are the base tells, and without one the blocks of a single stream; HunyuanVideo has more of them.
    @Test(arguments: [
        ("single_transformer_blocks.37.proj_out", nil, "lora_unet_single_blocks_37_linear2"),
        ("single_transformer_blocks.39.proj_out", nil, "lora_unet_single_transformer_blocks_39_proj_out"),
        ("transformer_blocks.0.attn.to_out.0", nil, "lora_unet_transformer_blocks_0_attn_to_out_0"),
        ("transformer_blocks.0.attn.to_out.0", "FluxTransformer2DModel", "lora_unet_double_blocks_0_img_attn_proj"),
        ("transformer_blocks.0.attn.to_out.0", "SD3Transformer2DModel", "lora_unet_transformer_blocks_0_attn_to_out_0"),
    ] as [(String, String?, String)])
    func theModelIsTold(_ module: String, _ base: String?, _ expected: String) throws {
        let width = module.hasSuffix("proj_out") ? 20 : 4
        let source = directory.path("d.safetensors")
        try SmallTensor.write(pair("transformer.\(module)", 4, width), to: source)
        var arguments = ["convert", source, "--to", "kohya", "-o", directory.path("k.safetensors")]
        if let base {
            try FileSystem.makeDirectory(directory.path("transformer"))
            try directory.write(#"{"_class_name": "\#(base)"}"#, to: "transformer/config.json")
            try SmallTensor.write([SmallModel.tensor(ExactString("\(module).weight"), [4, width], seed: 1)], to: directory.path("transformer/model.safetensors"))
            arguments += ["--base", directory.path("transformer")]
        }
        let result = try Tool.run(arguments)
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Checkpoint.open(directory.path("k.safetensors")).tensors.allSatisfy { $0.name.text.hasPrefix(expected + ".") })
    }

    /// A product of several factors of one part is none of the whole layer's; that of a layer which is one keeps its factors.
    @Test func aProductOfAPartIsRefused() throws {
        try FileSystem.makeDirectory(directory.path("transformer"))
        try directory.write(#"{"_class_name": "FluxTransformer2DModel"}"#, to: "transformer/config.json")
        let names = ["transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_out.0"]
        try SmallTensor.write(names.map { SmallModel.tensor(ExactString("\($0).weight"), [4, 4], seed: 1) }, to: directory.path("transformer/model.safetensors"))
        for (name, layer) in zip(names, ["double_blocks_0_img_attn_qkv", "double_blocks_0_img_attn_proj"]) {
            let adapter = directory.path(layer)
            try FileSystem.makeDirectory(adapter)
            try directory.write(#"{"peft_type": "LOHA", "r": 2, "alpha": 2, "target_modules": ["\#(name)"]}"#, to: "\(layer)/adapter_config.json")
            try SmallTensor.write(
                ["w1_a", "w1_b", "w2_a", "w2_b"].enumerated().map {
                    SmallModel.tensor(ExactString("base_model.model.\(name).hada_\($1)"), $0 % 2 == 0 ? [4, 2] : [2, 4], seed: $0)
                }, to: adapter + "/adapter_model.safetensors")
            let out = directory.path("\(layer).safetensors")
            let result = try run(adapter, "--to", "kohya", "--base", directory.path("transformer"), "-o", out)
            guard layer.hasSuffix("proj") else {
                #expect(result.status == 2 && result.errors.contains("a part of kohya's \(layer)"), "\(result.errors)")
                continue
            }
            #expect(result.status == 0, "\(result.errors)")
            #expect(try Checkpoint.open(out).tensors.contains { $0.name.text == "lora_unet_\(layer).hada_w1_a" })
            #expect(try Tool.run(["verify", out]).status == 0)
        }
    }
}
