import Peftfile
import TestSupport
import Testing

/// T5 between kohya's and diffusers' names. sd-scripts calls it `lora_te3` for FLUX.1 and for Stable Diffusion 3 (`LORA_PREFIX_TEXT_ENCODER_T5`
/// in networks/lora_flux.py and networks/lora_sd3.py), with CLIP-L as `lora_te1` and CLIP-G, which FLUX.1 does not have, as `lora_te2`. In
/// diffusers it is `text_encoder_2: T5EncoderModel` of `FluxPipeline` and `text_encoder_3: T5EncoderModel` of `StableDiffusion3Pipeline`.
@Suite struct T5EncoderTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private static let clip = "text_model.encoder.layers.0.self_attn.q_proj"
    private static let t5 = ["encoder.block.0.layer.0.SelfAttention.q", "encoder.block.1.layer.1.DenseReluDense.wi_0"]

    /// A folder of a pipeline: its class, and square weights of a width.
    private func folder(_ name: String, _ config: String, _ paths: [String], _ width: Int) throws {
        try FileSystem.makeDirectory(directory.path(name))
        try directory.write(config, to: "\(name)/config.json")
        try SmallTensor.write(
            paths.map { SmallModel.tensor(ExactString("\($0).weight"), [width, width], seed: 3) }, to: directory.path("\(name)/model.safetensors"))
    }

    private func flux() throws {
        try FileSystem.makeDirectory(directory.path("pipe"))
        try directory.write(#"{"_class_name": "FluxPipeline"}"#, to: "pipe/model_index.json")
        let attention = ["to_q", "to_k", "to_v"].map { "transformer_blocks.0.attn.\($0)" }
        try folder("pipe/transformer", #"{"_class_name": "FluxTransformer2DModel"}"#, attention, 4)
        try folder("pipe/text_encoder", #"{"architectures": ["CLIPTextModel"]}"#, [Self.clip], 5)
        try folder("pipe/text_encoder_2", #"{"architectures": ["T5EncoderModel"]}"#, Self.t5, 6)
    }

    private func sd3() throws {
        try FileSystem.makeDirectory(directory.path("pipe"))
        try directory.write(#"{"_class_name": "StableDiffusion3Pipeline"}"#, to: "pipe/model_index.json")
        try folder("pipe/transformer", #"{"_class_name": "SD3Transformer2DModel"}"#, ["transformer_blocks.0.attn.to_q"], 4)
        try folder("pipe/text_encoder", #"{"architectures": ["CLIPTextModelWithProjection"]}"#, [Self.clip], 5)
        try folder("pipe/text_encoder_2", #"{"architectures": ["CLIPTextModelWithProjection"]}"#, [Self.clip], 7)
        try folder("pipe/text_encoder_3", #"{"architectures": ["T5EncoderModel"]}"#, Self.t5, 6)
    }

    private func pair(_ module: String, _ rows: Int, _ columns: Int) -> [SmallTensor] {
        let name = String(module.map { $0 == "." ? "_" : $0 })
        return [
            SmallModel.tensor(ExactString("\(name).lora_down.weight"), [2, columns], seed: columns),
            SmallModel.tensor(ExactString("\(name).lora_up.weight"), [rows, 2], seed: rows + module.utf8.count),
            SmallTensor(name: ExactString("\(name).alpha"), shape: [], values: [1]),
        ]
    }

    private var t5Factors: [SmallTensor] { Self.t5.flatMap { pair("lora_te3.\($0)", 6, 6) } }
    private var fluxFactors: [SmallTensor] { pair("lora_unet.double_blocks.0.img_attn.qkv", 12, 4) + pair("lora_te1.\(Self.clip)", 5, 5) + t5Factors }

    private func write(_ tensors: [SmallTensor], metadata: [(String, String)] = []) throws -> String {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(tensors, metadata: metadata.map { (key: ExactString($0.0), value: $0.1) }, to: path)
        return path
    }

    private func modules(_ path: String) throws -> Set<String> { try Set(Adapter(path: path).targets().map(\.module.text)) }

    /// The T5 folders are the second of FLUX.1, with one folder of the whole pipeline or a base for each model.
    @Test(arguments: [true, false]) func theSecondOfFluxIsT5(_ isPipeline: Bool) throws {
        try flux()
        let source = try write(fluxFactors)
        let bases = (isPipeline ? ["pipe"] : ["pipe/transformer", "pipe/text_encoder", "pipe/text_encoder_2"]).flatMap { ["--base", directory.path($0)] }
        let (there, back) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        let result = try Tool.run(["convert", source, "--to", "diffusers", "-o", there] + bases)
        #expect(result.status == 0 && !result.errors.contains("left out"), "\(result.errors)")
        let expected = ["to_q", "to_k", "to_v"].map { "transformer.transformer_blocks.0.attn.\($0)" } + ["text_encoder.\(Self.clip)"]
            + Self.t5.map { "text_encoder_2.\($0)" }
        #expect(try modules(there) == Set(expected))
        let file = try Checkpoint.open(there)
        for (number, path) in Self.t5.enumerated() {
            #expect(try file.numbers(ExactString("text_encoder_2.\(path).lora_B.weight")) == t5Factors[3 * number + 1].values)
        }
        #expect(try Tool.run(["verify", there]).status == 0)
        for given in [bases, []] {
            let returned = try Tool.run(["convert", there, "--to", "kohya", "-o", back, "--force"] + given)
            #expect(returned.status == 0, "\(returned.errors)")
            let names = try Set(Checkpoint.open(back).tensors.map(\.name.text).filter { $0.hasPrefix("lora_te") })
            #expect(names == Set(fluxFactors.map(\.name.text).filter { $0.hasPrefix("lora_te") }))
            #expect(try Tool.run(["verify", back]).status == 0)
        }
    }

    @Test func theComponentIsTakenAndNamed() throws {
        try flux()
        let source = try write(fluxFactors)
        let out = directory.path("d.safetensors")
        for (bases, given) in [
            (["pipe"], ["--component", "lora_te3"]), (["pipe/text_encoder_2"], ["--component", "lora_te3"]),
            (["pipe"], ["--component", "lora_te3", "--as", "lora_te3=text_encoder_2"]),
        ] {
            let result = try Tool.run(
                ["convert", source, "--to", "diffusers", "-o", out, "--force"] + bases.flatMap { ["--base", directory.path($0)] } + given)
            #expect(result.status == 0, "\(result.errors)")
            #expect(try modules(out) == Set(Self.t5.map { "text_encoder_2.\($0)" }))
            #expect(try Tool.run(["verify", out]).status == 0)
        }
        // What was asked for and has no base is what the refusal names.
        try FileSystem.remove(directory.path("pipe/text_encoder_2/model.safetensors"))
        try SmallTensor.write([SmallModel.tensor("shared.weight", [6, 6], seed: 3)], to: directory.path("pipe/text_encoder_2/model.safetensors"))
        let refused = try Tool.run(["convert", source, "--to", "diffusers", "-o", out, "--force", "--base", directory.path("pipe"), "--component", "lora_te3"])
        #expect(refused.status == 2 && refused.errors.contains("lora_te3") && !refused.errors.contains("lora_te1"), "\(refused.errors)")
    }

    /// Without the transformer the trainer's own word tells: `ss_network_module`, `modelspec.architecture`; without that T5 is the third.
    @Test(arguments: [
        ([("ss_network_module", "networks.lora_flux")], 2), ([("modelspec.architecture", "flux-1-dev/lora")], 2),
        ([("ss_network_module", "networks.lora_sd3")], 3), ([], 3),
    ] as [([(String, String)], Int)]) func theTrainerTells(_ metadata: [(String, String)], _ number: Int) throws {
        try folder("t5", #"{"architectures": ["T5EncoderModel"]}"#, Self.t5, 6)
        let out = directory.path("d.safetensors")
        let result = try Tool.run(["convert", try write(t5Factors, metadata: metadata), "--to", "diffusers", "--base", directory.path("t5"), "-o", out])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try modules(out) == Set(Self.t5.map { "text_encoder_\(number).\($0)" }))
        #expect(try Tool.run(["verify", out]).status == 0)
    }

    @Test func theThirdOfStableDiffusion3StaysTheThird() throws {
        try sd3()
        let tensors = pair("lora_te1.\(Self.clip)", 5, 5) + pair("lora_te2.\(Self.clip)", 7, 7) + t5Factors
        let source = try write(tensors)
        let (there, back) = (directory.path("d.safetensors"), directory.path("k.safetensors"))
        let result = try Tool.run(["convert", source, "--to", "diffusers", "--base", directory.path("pipe"), "-o", there])
        #expect(result.status == 0 && !result.errors.contains("left out"), "\(result.errors)")
        let expected = ["text_encoder.\(Self.clip)", "text_encoder_2.\(Self.clip)"] + Self.t5.map { "text_encoder_3.\($0)" }
        #expect(try modules(there) == Set(expected))
        #expect(try Tool.run(["convert", there, "--to", "kohya", "-o", back]).status == 0)
        #expect(try Set(Checkpoint.open(back).tensors.map(\.name.text)) == Set(tensors.map(\.name.text)))
        #expect(try Tool.run(["verify", there]).status == 0 && Tool.run(["verify", back]).status == 0)
    }
}
