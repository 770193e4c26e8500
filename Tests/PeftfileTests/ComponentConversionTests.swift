import Peftfile
import TestSupport
import Testing

/// Adapters for several models of a pipeline, between kohya's and diffusers' names.
@Suite struct ComponentConversionTests {
    /// SDXL in small: a UNet under diffusers' names and two text encoders with the same names and other widths.
    private static let models: [(component: String, module: String, width: Int, config: String)] = [
        ("unet", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", 8, #"{"_class_name": "UNet2DConditionModel"}"#),
        ("text_encoder", "text_model.encoder.layers.0.self_attn.q_proj", 5, #"{"architectures": ["CLIPTextModel"]}"#),
        ("text_encoder_2", "text_model.encoder.layers.0.self_attn.q_proj", 7, #"{"architectures": ["CLIPTextModelWithProjection"]}"#),
    ]

    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("pipe"))
        try directory.write(#"{"_class_name": "StableDiffusionXLPipeline"}"#, to: "pipe/model_index.json")
        for model in Self.models {
            try FileSystem.makeDirectory(directory.path("pipe/\(model.component)"))
            try directory.write(model.config, to: "pipe/\(model.component)/config.json")
            try SmallTensor.write(
                [SmallModel.tensor(ExactString("\(model.module).weight"), [model.width, model.width], seed: 3)],
                to: directory.path("pipe/\(model.component)/model.safetensors"))
        }
    }

    private func pair(_ module: String, _ width: Int, alpha: Double, _ dtype: DType = .f32) -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).lora_down.weight"), [2, width], seed: width),
            SmallModel.tensor(ExactString("\(module).lora_up.weight"), [width, 2], seed: width + 1),
            SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [alpha], dtype: dtype),
        ]
    }

    /// What sd-scripts writes for SDXL: Stability AI's names of the UNet.
    private var kohya: [SmallTensor] {
        pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 8, alpha: 1)
            + pair("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 5, alpha: 3, .f16)
            + pair("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 7, alpha: 4)
    }

    private func write(_ tensors: [SmallTensor]) throws -> String {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(tensors, metadata: [("ss_network_dim", "2"), ("sshs_model_hash", "00")], to: path)
        return path
    }

    private func run(_ arguments: String...) throws -> Tool.Result { try Tool.run(["convert"] + arguments) }

    /// The names that `_convert_non_diffusers_lora_to_diffusers` of diffusers begins with, and PEFT's below them.
    private let diffusersNames: Set<String> = [
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj",
    ]

    @Test(arguments: [false, true]) func everyComponentGetsItsNameInDiffusers(_ isPipeline: Bool) throws {
        let (source, target) = (try write(kohya), directory.path("d.safetensors"))
        let bases = isPipeline ? ["pipe"] : Self.models.map { "pipe/\($0.component)" }
        let result = try Tool.run(
            ["convert", source, "--to", "diffusers", "-o", target] + bases.flatMap { ["--base", directory.path($0)] })
        #expect(result.status == 0, "\(result.errors)")
        let file = try Checkpoint.open(target)
        let expected = diffusersNames.flatMap { ["\($0).lora_A.weight", "\($0).lora_B.weight"] }
        #expect(Set(file.tensors.map(\.name.text)) == Set(expected))
        // The factors are those of each component, told by their widths, and each has its own alpha.
        let scales = try Dictionary(uniqueKeysWithValues: Adapter(path: target).targets().map { ($0.module.text, $0.scale) })
        #expect(scales == [
            "unet.\(Self.models[0].module)": 0.5, "text_encoder.\(Self.models[1].module)": 1.5, "text_encoder_2.\(Self.models[2].module)": 2,
        ])
        for model in Self.models {
            let a = try file.numbers(ExactString("\(model.component).\(model.module).lora_A.weight"))
            #expect(a == SmallTensor.numbers(2 * model.width, seed: model.width))
        }
        let metadata = Dictionary(uniqueKeysWithValues: (file.shards[0].file.metadata ?? []).map { ($0.key, $0.value) })
        #expect(metadata["ss_network_dim"] == "2" && metadata["sshs_model_hash"] == nil)

        // And back: of two text encoders the first is lora_te1.
        let back = directory.path("k.safetensors")
        #expect(try run(target, "--to", "kohya", "-o", back).status == 0)
        #expect(try Set(Checkpoint.open(back).tensors.map { $0.name.text.prefix(8) }) == ["lora_une", "lora_te1", "lora_te2"])
    }

    @Test func aKohyaFileStaysAsItIs() throws {
        let (source, target) = (try write(kohya), directory.path("k.safetensors"))
        #expect(try run(source, "--to", "kohya", "-o", target).status == 0)
        let (before, after) = (try Checkpoint.open(source), try Checkpoint.open(target))
        #expect(Set(before.tensors.map(\.name)) == Set(after.tensors.map(\.name)))
        for tensor in before.tensors {
            let own = try #require(after[tensor.name])
            #expect(own.dtype == tensor.dtype && own.shape == tensor.shape)
            #expect(try after.read(own) == before.read(tensor))
        }
    }

    @Test func whatNoBaseIsForIsLeftOutAndListed() throws {
        let source = try write(kohya)
        let result = try run(
            source, "--to", "diffusers", "--base", directory.path("pipe/unet"), "--base", directory.path("pipe/text_encoder"), "-o",
            directory.path("d"), "--json")
        #expect(result.status == 0)
        let json = try JSONValue.parse(Array(result.output.utf8), file: "stdout")
        let left = json["left_out"]?.arrayValue ?? json["predicate"]?["left_out"]?.arrayValue ?? []
        #expect(Set(left.compactMap { $0["component"]?.stringValue }) == ["lora_te2"])
        let plain = try run(
            source, "--to", "diffusers", "--base", directory.path("pipe/unet"), "-o", directory.path("d2"))
        #expect(plain.errors.contains("lora_te1_text_model_encoder_layers_0_self_attn_q_proj"))
        #expect(plain.errors.contains("lora_te2_text_model_encoder_layers_0_self_attn_q_proj"))
    }

    @Test func oneTextEncoderIsKohyasLoraTe() throws {
        let source = try write(pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 5, alpha: 2))
        let (there, back) = (directory.path("d"), directory.path("k"))
        #expect(try run(source, "--to", "diffusers", "--base", directory.path("pipe/text_encoder"), "-o", there).status == 0)
        #expect(try Adapter(path: there).targets().map(\.module.text) == ["text_encoder.\(Self.models[1].module)"])
        #expect(try run(there, "--to", "kohya", "-o", back).status == 0)
        #expect(try Adapter(path: back).targets().map(\.module.text) == ["lora_te_text_model_encoder_layers_0_self_attn_q_proj"])
    }

    @Test func componentSelectsAndAsNames() throws {
        let source = try write(kohya)
        let (peft, named) = (directory.path("peft"), directory.path("named"))
        let refused = try run(source, "--to", "peft", "--base", directory.path("pipe"), "-o", peft)
        #expect(refused.status == 2 && refused.errors.contains("[SeveralComponents]") && refused.errors.contains("--component"))
        #expect(try run(source, "--to", "peft", "--base", directory.path("pipe"), "--component", "lora_te2", "-o", peft).status == 0)
        #expect(try Adapter(path: peft).targets().map(\.module.text) == [Self.models[2].module])
        #expect(try run(peft, "--to", "diffusers", "--as", "lora_te2", "-o", named).status == 0)
        #expect(try Adapter(path: named).targets().map(\.module.text) == ["text_encoder_2.\(Self.models[2].module)"])
        #expect(try run(peft, "--to", "diffusers", "--component", "lora_te2", "-o", directory.path("x")).errors.contains("[Component]"))
        #expect(try run(source, "--to", "kohya", "--as", "lora_te1", "-o", directory.path("x")).errors.contains("[ComponentName]"))
        #expect(try run(source, "--to", "kohya", "--as", "lora", "-o", directory.path("x")).errors.contains("[ComponentName]"))
    }

    @Test func aTransformersDenoiserIsDiffusersTransformer() throws {
        let path = "transformer_blocks.0.attn.to_q"
        try FileSystem.makeDirectory(directory.path("flux"))
        try SmallTensor.write(
            [SmallModel.tensor(ExactString("\(path).weight"), [4, 4], seed: 1)], to: directory.path("flux/model.safetensors"))
        let source = try write(pair("lora_unet_transformer_blocks_0_attn_to_q", 4, alpha: 2))
        #expect(try run(source, "--to", "diffusers", "--base", directory.path("flux"), "-o", directory.path("d")).status == 0)
        #expect(try Adapter(path: directory.path("d")).targets().map(\.module.text) == ["transformer.\(path)"])
        #expect(try run(directory.path("d"), "--to", "kohya", "-o", directory.path("k")).status == 0)
        #expect(try Adapter(path: directory.path("k")).targets().map(\.module.text) == ["lora_unet_transformer_blocks_0_attn_to_q"])
    }

    @Test func layersThatDiffusersCutsOtherwiseAreRefused() throws {
        try SmallTensor.write(
            [SmallModel.tensor("double_blocks.0.img_attn.qkv.weight", [12, 12], seed: 1)], to: directory.path("flux.safetensors"))
        let source = try write(pair("lora_unet_double_blocks_0_img_attn_qkv", 12, alpha: 2))
        let result = try run(source, "--to", "diffusers", "--base", directory.path("flux.safetensors"), "-o", directory.path("d"))
        #expect(result.status == 2 && result.errors.contains("[NotConvertible]"))
    }

    /// SDXL's first text encoder is lora_te1 whether the second has a LoRA or not: the UNet tells.
    @Test func theFirstEncoderOfSDXLKeepsItsNumber() throws {
        let deep = "lora_unet_input_blocks_7_1_transformer_blocks_3_attn1_to_q"
        let source = try write(pair(deep, 8, alpha: 1) + pair("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 5, alpha: 3))
        let unet = directory.path("unet.safetensors")
        try SmallTensor.write(
            [SmallModel.tensor("down_blocks.2.attentions.0.transformer_blocks.3.attn1.to_q.weight", [8, 8], seed: 1)], to: unet)
        let (there, back) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        #expect(try run(source, "--to", "diffusers", "--base", unet, "--base", directory.path("pipe/text_encoder"), "-o", there).status == 0)
        #expect(try run(there, "--to", "kohya", "-o", back).status == 0)
        #expect(try Set(Checkpoint.open(back).tensors.map { $0.name.text.prefix(9) }) == ["lora_unet", "lora_te1_"])
        // sd-scripts trains SDXL's UNet under Stability AI's names, and finds no others.
        #expect(try Set(Checkpoint.open(back).tensors.map(\.name.text)) == Set(Checkpoint.open(source).tensors.map(\.name.text)))
        #expect(try Tool.run(["diff", source, back]).status == 0 && Tool.run(["verify", back]).status == 0)
    }

    /// `CLIPTextModel` of transformers 5 has `encoder.layers`, and version 4 had `text_model.encoder.layers`, as kohya's files have: diffusers
    /// looks the names up in the model that it has.
    @Test func namesOfATextEncoderAreThoseOfTheModel() throws {
        try SmallTensor.write(
            [SmallModel.tensor("encoder.layers.0.self_attn.q_proj.weight", [5, 5], seed: 3)],
            to: directory.path("pipe/text_encoder/model.safetensors"))
        let source = try write(pair("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 5, alpha: 3))
        let (there, back) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        #expect(try run(source, "--to", "diffusers", "--base", directory.path("pipe"), "-o", there).status == 0)
        #expect(try Adapter(path: there).targets().map(\.module.text) == ["text_encoder.encoder.layers.0.self_attn.q_proj"])
        for bases in [[], ["--base", directory.path("pipe/text_encoder")]] {
            #expect(try Tool.run(["convert", there, "--to", "kohya", "--as", "lora_te1", "-o", back, "--force"] + bases).status == 0)
            #expect(try Adapter(path: back).targets().map(\.module.text) == ["lora_te1_text_model_encoder_layers_0_self_attn_q_proj"])
            #expect(try Tool.run(["verify", back]).status == 0)
        }
    }

    /// sd-scripts names the modules of transformers' CLIPTextModel below `text_model` (`lora_te1_text_model_encoder_layers_0_self_attn_q_proj`),
    /// which PEFT's adapter of transformers 5 does not have in its names: the base says what it is, or the class that PEFT noted.
    @Test(arguments: [
        (#"{"model_type": "clip_text_model"}"#, ""), (#"{"architectures": ["CLIPTextModel"]}"#, ""),
        (nil, #""auto_mapping": {"base_model_class": "CLIPTextModel", "parent_library": "transformers.models.clip.modeling_clip"}"#),
    ] as [(String?, String)]) func anAdapterOfCLIPIsATextEncoders(_ base: String?, _ config: String) throws {
        let model = try SmallModel()
        let module = "encoder.layers.0.self_attn.q_proj"
        try model.base([SmallModel.tensor(ExactString("\(module).weight"), [4, 4], seed: 1)], config: base ?? "{}")
        try model.adapter(
            [
                SmallModel.tensor(ExactString("\(module).lora_A.weight"), [2, 4], seed: 2),
                SmallModel.tensor(ExactString("\(module).lora_B.weight"), [4, 2], seed: 3),
            ], config: config)
        let (source, there, back) = (model.directory.path("adapter"), model.directory.path("k.safetensors"), model.directory.path("back"))
        let bases = base == nil ? [] : ["--base", model.directory.path("base")]
        for (given, name) in [([], "lora_te"), (["--as", "lora_te1"], "lora_te1"), (["--as", "lora_te2"], "lora_te2")] {
            #expect(try Tool.run(["convert", source, "--to", "kohya", "-o", there, "--force"] + bases + given).status == 0)
            #expect(try Adapter(path: there).targets().map(\.module.text) == ["\(name)_text_model_encoder_layers_0_self_attn_q_proj"])
            #expect(try Tool.run(["verify", there]).status == 0)
        }
        #expect(try Tool.run(["convert", source, "--to", "diffusers", "-o", model.directory.path("d")] + bases).status == 0)
        #expect(try Adapter(path: model.directory.path("d")).targets().map(\.module.text) == ["text_encoder.\(module)"])
        guard base != nil else { return }
        #expect(try Tool.run(["convert", there, "--to", "peft", "-o", back] + bases).status == 0)
        #expect(try Adapter(path: back).targets().map(\.module.text) == [module])
        #expect(try Tool.run(["convert", back, "--to", "kohya", "--as", "lora_te2", "-o", model.directory.path("k2.safetensors")] + bases).status == 0)
        #expect(try Checkpoint.open(model.directory.path("k2.safetensors")).tensors.map(\.name) == Checkpoint.open(there).tensors.map(\.name))
    }

    /// Another encoder, of which no base says that it is CLIP's, stays what it was.
    @Test func otherEncodersAreNoTextEncoders() throws {
        let model = try SmallModel()
        try model.base([SmallModel.tensor("encoder.layers.0.fc1.weight", [4, 4], seed: 1)], config: #"{"model_type": "clip_vision_model"}"#)
        try model.adapter([
            SmallModel.tensor("encoder.layers.0.fc1.lora_A.weight", [2, 4], seed: 2),
            SmallModel.tensor("encoder.layers.0.fc1.lora_B.weight", [4, 2], seed: 3),
        ])
        let there = model.directory.path("k.safetensors")
        #expect(try run(model.directory.path("adapter"), "--to", "kohya", "--base", model.directory.path("base"), "-o", there).status == 0)
        #expect(try Adapter(path: there).targets().map(\.module.text) == ["lora_unet_encoder_layers_0_fc1"])
    }

    @Test func eachOfTwoComponentsIsNamed() throws {
        let source = try write(
            pair("lora_unet_down_blocks_0_attn_to_q", 8, alpha: 1) + pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 5, alpha: 3))
        let out = directory.path("k.safetensors")
        #expect(try run(source, "--to", "kohya", "--as", "lora_te=lora_te1,lora_unet=lora_unet", "-o", out).status == 0)
        #expect(try Set(Checkpoint.open(out).tensors.map { $0.name.text.prefix(9) }) == ["lora_unet", "lora_te1_"])
        #expect(try Tool.run(["verify", out]).status == 0)
        for wrong in ["lora_te1", "lora_te=lora_unet,lora_unet=lora_unet", "lora_te2=lora_te1", "lora_te=nobody"] {
            let refused = try run(source, "--to", "kohya", "--as", wrong, "-o", directory.path("x"))
            #expect(refused.status == 2 && refused.errors.contains("[ComponentName]"), "\(refused.errors)")
        }
    }

    @Test func aComponentIsTakenUnderEitherName() throws {
        let source = try write(kohya)
        let out = directory.path("k.safetensors")
        #expect(try run(source, "--to", "kohya", "--component", "lora_te1,text_encoder_2", "-o", out).status == 0)
        #expect(try Set(Checkpoint.open(out).tensors.map { $0.name.text.prefix(8) }) == ["lora_te1", "lora_te2"])
    }

    /// XLabs' layers under the names that `_convert_xlabs_flux_lora_to_diffusers` gives them: rows of `up` in three, `down` for each.
    @Test func layersOfXLabsAreDiffusersThree() throws {
        let path = directory.path("xlabs.safetensors")
        try SmallTensor.write(
            [
                SmallModel.tensor("double_blocks.0.processor.qkv_lora1.down.weight", [2, 5], seed: 1),
                SmallModel.tensor("double_blocks.0.processor.qkv_lora1.up.weight", [12, 2], seed: 2),
                SmallModel.tensor("double_blocks.0.processor.proj_lora2.down.weight", [2, 5], seed: 3),
                SmallModel.tensor("double_blocks.0.processor.proj_lora2.up.weight", [4, 2], seed: 4),
                SmallModel.tensor("single_blocks.1.processor.qkv_lora.down.weight", [2, 5], seed: 5),
                SmallModel.tensor("single_blocks.1.processor.qkv_lora.up.weight", [12, 2], seed: 6),
            ], to: path)
        let out = directory.path("d.safetensors")
        let result = try run(path, "--to", "diffusers", "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        let file = try Checkpoint.open(out)
        let layers = ["to_q", "to_k", "to_v"]
        let expected = layers.flatMap { ["transformer.transformer_blocks.0.attn.\($0)", "transformer.single_transformer_blocks.1.attn.\($0)"] }
            + ["transformer.transformer_blocks.0.attn.to_add_out"]
        #expect(Set(file.tensors.map(\.name.text)) == Set(expected.flatMap { ["\($0).lora_A.weight", "\($0).lora_B.weight"] }))
        for (number, layer) in layers.enumerated() {
            let path = "transformer.transformer_blocks.0.attn.\(layer)"
            #expect(try file.numbers(ExactString("\(path).lora_A.weight")) == SmallTensor.numbers(10, seed: 1))
            #expect(try file.numbers(ExactString("\(path).lora_B.weight")) == Array(SmallTensor.numbers(24, seed: 2)[(8 * number)..<(8 * number + 8)]))
        }
        #expect(try Adapter(path: out).targets().allSatisfy { $0.scale == 1 })
    }

    /// OpenCLIP's names of SDXL's second text encoder become those of sd-scripts, and of diffusers: what is written for a file of
    /// `Fixtures/dialects/kohya-sdxl-openclip` under OpenCLIP's names is the file itself.
    @Test(arguments: [true, false]) func namesOfOpenCLIPBecomeThoseOfTheTrainer(_ hasBase: Bool) throws {
        let names = [
            ("mlp_fc1", "mlp.c_fc"), ("mlp_fc2", "mlp.c_proj"), ("self_attn_out_proj", "attn.out_proj"), ("self_attn_q_proj", "attn.q_proj"),
            ("self_attn_k_proj", "attn.k_proj"), ("self_attn_v_proj", "attn.v_proj"),
        ]
        let folder = Fixtures.path("dialects/kohya-sdxl-openclip")
        let truth = try Checkpoint.open(folder + "/adapter/adapter.safetensors")
        var foreign: [SmallTensor] = []
        for tensor in truth.tensors where tensor.name.text.hasPrefix("lora_te2_") && !tensor.name.text.hasSuffix(".alpha") {
            let (module, leaf) = (String(tensor.name.text.prefix { $0 != "." }), tensor.name.text.contains("lora_down") ? "lora_A" : "lora_B")
            let layer = try #require(["0", "1"].first { module.hasPrefix("lora_te2_text_model_encoder_layers_\($0)_") })
            let own = try #require(names.first { module.hasSuffix("layers_\(layer)_" + $0.0) }).1
            // alpha / r goes into B: the file says no alpha.
            let alpha = try truth.numbers(ExactString(module + ".alpha"))[0]
            foreign.append(
                SmallTensor(
                    name: ExactString("text_encoder_2.transformer.resblocks.\(layer).\(own).\(leaf).weight"), shape: tensor.shape,
                    values: try truth.numbers(tensor.name).map { leaf == "lora_B" ? $0 * alpha / 2 : $0 }))
        }
        #expect(foreign.count == 24)
        let source = try write(foreign)
        for target in ["kohya", "diffusers"] {
            let out = directory.path("\(target).safetensors")
            let result = try Tool.run(["convert", source, "--to", target, "-o", out] + (hasBase ? ["--base", folder + "/base"] : []))
            #expect(result.status == 0 && !result.errors.contains("left out"), "\(result.errors)")
            #expect(try Tool.run(["verify", out]).status == 0)
            let file = try Checkpoint.open(out)
            guard target == "kohya" else {
                #expect(file.tensors.allSatisfy { $0.name.text.hasPrefix("text_encoder_2.text_model.encoder.layers.") })
                continue
            }
            let expected = truth.tensors.filter { $0.name.text.hasPrefix("lora_te2_") }.map(\.name)
            #expect(Set(file.tensors.map(\.name)) == Set(expected))
            for name in expected where name.text.hasSuffix("lora_down.weight") { #expect(try file.numbers(name) == truth.numbers(name), "\(name)") }
        }
    }
}
