import Peftfile
import TestSupport
import Testing

/// Names of other dialects against the names of a base.
@Suite struct DialectNameTests {
    private func pair(_ module: String, out: Int = 4, into: Int = 6) -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).lora_down.weight"), [2, into], seed: 1),
            SmallModel.tensor(ExactString("\(module).lora_up.weight"), [out, 2], seed: 2),
        ]
    }
    private func weight(_ name: String, _ shape: Shape = [4, 6]) -> SmallTensor {
        SmallModel.tensor(ExactString(name), shape, seed: 3)
    }

    @Test func anUnderscoreThatCouldBeADotIsRefused() throws {
        let model = try DialectModel(
            base: [weight("a.b_c.weight"), weight("a_b.c.weight")], adapter: pair("lora_unet_a_b_c"))
        let error = model.refusal()
        #expect(error?.rule == "AmbiguousName" && error?.file == model.directory.path("adapter/adapters.safetensors"), "\(error as Any)")
        // No conversion knows more than the file.
        #expect(error?.help?.contains("convert") == false && error?.message.contains("cannot tell them apart") == true, "\(error as Any)")
    }

    @Test func aModuleWithoutAPlaceIsNamed() throws {
        let model = try DialectModel(
            base: [weight("a.b.weight")], adapter: pair("lora_unet_a_b") + pair("lora_unet_a_c"))
        let error = model.refusal()
        #expect(error?.rule == "MissingTarget")
        #expect(error?.message.contains("lora_unet_a_c") == true)
    }

    @Test func aFileThatFitsNothingIsRefused() throws {
        let model = try DialectModel(base: [weight("a.b.weight")], adapter: pair("lora_unet_x") + pair("lora_te_y"))
        #expect(model.refusal()?.rule == "MissingTarget")
    }

    /// SDXL's UNet as sd-scripts names it, and the same layers in diffusers' names.
    @Test(arguments: [
        ("input_blocks_4_1_transformer_blocks_0_attn1_to_q", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"),
        ("middle_block_1_proj_in", "mid_block.attentions.0.proj_in"),
        ("middle_block_2_in_layers_2", "mid_block.resnets.1.conv1"),
        ("output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
        ("output_blocks_5_0_skip_connection", "up_blocks.1.resnets.2.conv_shortcut"),
        ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("time_embed_0", "time_embedding.linear_1"), ("label_emb_0_2", "add_embedding.linear_2"),
    ]) func eitherNameOfADenoiserFindsTheOther(_ own: String, _ diffusers: String) throws {
        let model = try DialectModel(base: [weight("\(diffusers).weight")], adapter: pair("lora_unet_\(own)"))
        #expect(try model.binding().targets.first?.tensors == [ExactString("\(diffusers).weight")])
        // SD 1 is trained under diffusers' names, and stored under its own in one file.
        let stored = "model.diffusion_model." + DialectNameTests.dotted(own)
        let single = try DialectModel(
            base: [weight("\(stored).weight")],
            adapter: pair("lora_unet_" + String(diffusers.map { $0 == "." ? "_" : $0 })))
        #expect(try single.binding().targets.first?.tensors == [ExactString("\(stored).weight")])
    }

    /// Stability AI's name with its dots; underscores stay inside `input_blocks` and the like.
    private static func dotted(_ name: String) -> String {
        var text = name
        for word in [
            "input_blocks", "middle_block", "output_blocks", "transformer_blocks", "to_q", "proj_in", "in_layers",
            "skip_connection", "time_embed", "label_emb",
        ] {
            text = text.replacing(word, with: String(word.map { $0 == "_" ? "-" : $0 }))
        }
        return String(text.map { $0 == "_" ? "." : $0 == "-" ? "_" : $0 })
    }

    @Test func ofTwoEncodersTheOneThatFitsIsMeant() throws {
        let name = "text_model_encoder_layers_0_mlp_fc1"
        let base = [weight("text_model.encoder.layers.0.mlp.fc1.weight", [8, 6])]
        let model = try DialectModel(
            base: base, adapter: pair("lora_te1_\(name)") + pair("lora_te2_\(name)", out: 8))
        let binding = try model.binding()
        #expect(Set(binding.leftOut.map(\.component)) == ["lora_te1"])
        #expect(binding.targets.count == 1)

        let both = try DialectModel(
            base: base, adapter: pair("lora_te1_\(name)", out: 8) + pair("lora_te2_\(name)", out: 8))
        let error = both.refusal()
        #expect(error?.rule == "AmbiguousComponent")
        #expect(error?.help?.contains("--component") == true)
        var options = BindingOptions()
        options.component = "lora_te2"
        #expect(try Set(both.binding(options).leftOut.map(\.component)) == ["lora_te1"])
        options.component = "lora_te3"
        #expect(both.refusal(options)?.rule == "Component")
    }

    @Test func encodersAreFoundWithAndWithoutTheModelsOwnName() throws {
        let name = "lora_te_text_model_encoder_layers_0_mlp_fc1"
        for stored in ["encoder.layers.0.mlp.fc1", "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1"] {
            let model = try DialectModel(base: [weight("\(stored).weight")], adapter: pair(name))
            #expect(try model.binding().targets.first?.tensors == [ExactString("\(stored).weight")])
        }
    }

    /// OpenCLIP's blocks, in SDXL's and SD 2's files: `Fixtures/dialects/kohya-sdxl-openclip` is a whole one.
    @Test func thirdsOfOpenCLIPsAttentionAreFound() throws {
        let stored = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
        let base = weight(stored, [12, 6])
        let model = try DialectModel(base: [base], adapter: pair("lora_te2_text_model_encoder_layers_0_self_attn_k_proj"))
        let update = Plain.product(SmallTensor.numbers(8, seed: 2), SmallTensor.numbers(12, seed: 1), 4, 2, 6)
        let zeros = [Double](repeating: 0, count: 24)
        #expect(try model.merged().numbers(base.name) == Plain.sum(base.values, zeros + update + zeros, scale: 1))
    }

    /// What the base holds under a front of its own is not "not there": an encoder whose modules are not known is no reason to leave it out.
    @Test func anEncoderThatTheBaseHoldsUnderOtherNamesIsRefused() throws {
        let unet = "model.diffusion_model.input_blocks.1.0.in_layers.2"
        let model = try DialectModel(
            base: [weight("\(unet).weight"), weight("conditioner.embedders.1.model.blocks.0.fc.weight")],
            adapter: pair("lora_unet_input_blocks_1_0_in_layers_2") + pair("lora_te2_text_model_encoder_layers_0_mlp_fc1"))
        let error = model.refusal()
        #expect(error?.rule == "MissingTarget" && error?.message.contains("conditioner.embedders.1.model.") == true, "\(error as Any)")
        var options = BindingOptions()
        options.component = "lora_unet"
        #expect(try model.binding(options).targets.count == 1)
    }

    /// Where nothing fits, the largest component is what the base was given for.
    @Test func theComponentThatIsBlamedIsTheLargest() throws {
        let model = try DialectModel(
            base: [weight("transformer_blocks.0.attn.to_q.weight")],
            adapter: pair("lora_te1_a") + pair("lora_unet_double_blocks_0_x") + pair("lora_unet_double_blocks_1_x"))
        #expect(model.refusal()?.message.contains("lora_unet_double_blocks_0_x") == true)
    }

    @Test func whatIsLeftOutIsToldInFewWords() throws {
        let many = (0..<9).flatMap { pair("lora_te1_text_model_encoder_layers_\($0)_mlp_fc1") }
        let model = try DialectModel(base: [weight("a.b.weight")], adapter: pair("lora_unet_a_b") + many)
        let binding = try model.binding()
        #expect(binding.leftOut.count == 18)
        let warning = try #require(binding.warnings.first { $0.contains("left out") })
        #expect(warning.contains("layers_2_mlp_fc1 and 6 more modules") && !warning.contains("layers_3"), "\(warning)")
    }

    /// diffusers refuses a file with both words on the scale; here it is refused where they differ.
    @Test(arguments: [(4, "AlphaValue"), (2, nil as String?)]) func anAlphaBesideTheMetadataMustAgree(_ alpha: Int, _ rule: String?) throws {
        let directory = try TemporaryDirectory()
        try SmallTensor.write([weight("a.to_q.weight")], to: directory.path("base.safetensors"))
        try SmallTensor.write(
            [
                SmallModel.tensor("unet.a.to_q.lora_A.weight", [2, 6], seed: 1), SmallModel.tensor("unet.a.to_q.lora_B.weight", [4, 2], seed: 2),
                SmallTensor(name: "unet.a.to_q.alpha", shape: [], values: [Double(alpha)]),
            ],
            metadata: [(key: "lora_adapter_metadata", value: #"{"unet.r": 2, "unet.lora_alpha": 2, "unet.target_modules": ["to_q"]}"#)],
            to: directory.path("adapter.safetensors"))
        func bind() throws { _ = try Binding(base: Checkpoint.open(directory.path("base.safetensors")), adapters: [Adapter(path: directory.path("adapter.safetensors"))]) }
        guard let rule else { return try bind() }
        #expect(#expect(throws: PeftfileError.self) { try bind() }?.rule == rule)
    }

    /// Two dialects in one file, and LyCORIS' T-LoRA: no option makes them bare factors.
    @Test func aFileOfNoDialectIsNotAskedForItsScale() throws {
        let base = [weight("a.b.weight")]
        let mixed = try DialectModel(base: base, adapter: pair("lora_unet_a_b") + [SmallModel.tensor("a.b.lora_A", [2, 6], seed: 1)])
        #expect(mixed.refusal()?.rule == "UnclaimedTensor" && mixed.refusal()?.help?.contains("two dialects") == true)
        let tLoRA = try DialectModel(
            base: base,
            adapter: [
                SmallModel.tensor("lycoris_a_b.q_layer.weight", [2, 6], seed: 1), SmallModel.tensor("lycoris_a_b.p_layer.weight", [4, 2], seed: 2),
                SmallModel.tensor("lycoris_a_b.lambda_layer", [1, 2], seed: 3),
            ])
        #expect(tLoRA.refusal()?.message.contains("T-LoRA") == true)
    }

    @Test func xlabsLayersAreOneInTheOriginalAndThreeInDiffusers() throws {
        let down = SmallModel.tensor("double_blocks.0.processor.qkv_lora1.down.weight", [2, 4], seed: 5)
        let up = SmallModel.tensor("double_blocks.0.processor.qkv_lora1.up.weight", [12, 2], seed: 6)
        let update = Plain.product(up.values, down.values, 12, 2, 4)
        let original = weight("double_blocks.0.img_attn.qkv.weight", [12, 4])
        let first = try DialectModel(base: [original], adapter: [down, up]).merged()
        #expect(try first.numbers(original.name) == Plain.sum(original.values, update, scale: 1))

        let layers = ["to_q", "to_k", "to_v"].map { weight("transformer_blocks.0.attn.\($0).weight", [4, 4]) }
        let second = try DialectModel(base: layers, adapter: [down, up]).merged()
        for (number, layer) in layers.enumerated() {
            let part = Array(update[(16 * number)..<(16 * number + 16)])
            #expect(try second.numbers(layer.name) == Plain.sum(layer.values, part, scale: 1))
        }
    }

    @Test func xlabsSingleBlocksReachTheFirstRowsOfLinear1() throws {
        let down = SmallModel.tensor("single_blocks.0.processor.qkv_lora.down.weight", [2, 4], seed: 5)
        let up = SmallModel.tensor("single_blocks.0.processor.qkv_lora.up.weight", [12, 2], seed: 6)
        let base = weight("single_blocks.0.linear1.weight", [28, 4])
        let result = try DialectModel(base: [base], adapter: [down, up]).merged()
        let update = Plain.product(up.values, down.values, 12, 2, 4) + [Double](repeating: 0, count: 64)
        #expect(try result.numbers(base.name) == Plain.sum(base.values, update, scale: 1))
    }
}
