import Peftfile
import TestSupport
import Testing

/// Models of one width have layers of the same names in diffusers. A file that is one model's by its names or by its metadata is refused by the
/// base of another, and taken by every class of its own.
@Suite struct DiffusionModelMismatchTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func pair(_ module: String, _ rows: Int, _ columns: Int) -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).lora_down.weight"), [2, columns], seed: columns),
            SmallModel.tensor(ExactString("\(module).lora_up.weight"), [rows, 2], seed: rows),
        ]
    }

    /// diffusers' folder of a fixture's model, with another class in its config, or none; or the repository's file.
    private func base(_ file: String, as className: String?, _ side: String = "diffusers") throws -> String {
        let model = try DiffusionModel(file)
        let path = directory.path("base-\(file)-\(className ?? "none")-\(side)")
        guard !FileSystem.exists(path) else { return path }
        try FileSystem.makeDirectory(path)
        if let className { try TestFile.write(Array(#"{"_class_name": "\#(className)"}"#.utf8), to: path + "/config.json") }
        try SmallTensor.write(model.base(side), to: path + "/diffusion_pytorch_model.safetensors")
        return path
    }

    private func merge(_ base: String, _ adapter: [SmallTensor], metadata: [(key: ExactString, value: String)] = []) throws -> Tool.Result {
        let (path, out) = (directory.path("lora.safetensors"), directory.path("out"))
        try SmallTensor.write(adapter, metadata: metadata, to: path)
        let result = try Tool.run(["merge", base, path, "-o", out, "--force"])
        #expect(result.status == 0 || !FileSystem.exists(out))
        if result.status == 0 { try FileSystem.remove(out) }
        return result
    }

    private func expectRefused(_ result: Tool.Result, _ names: String...) {
        #expect(result.status == 2 && result.errors.contains("[ModelMismatch]"), "\(result.errors)")
        for name in names { #expect(result.errors.contains(name), "\(result.errors)") }
    }

    private static let flux = ["double_blocks.0.img_attn.qkv": (24, 8), "double_blocks.0.txt_mlp.0": (32, 8)]

    /// FLUX.1's own names, onto the models that have the same layers in diffusers.
    @Test(arguments: [
        ("hunyuan-video.json", "HunyuanVideoTransformer3DModel"), ("hunyuan-video.json", "HunyuanVideoFramepackTransformer3DModel"),
        ("hunyuan-video.json", nil), ("hunyuan-video.json", "SomeTransformer"), ("sd3.json", "SD3Transformer2DModel"), ("sd3.json", nil),
        ("flux.json", "QwenImageTransformer2DModel"),
    ], ["diffusion_model.", "", "lora_unet_"])
    func fluxIsNoOther(_ base: (file: String, className: String?), _ front: String) throws {
        let adapter = Self.flux.sorted { $0.key < $1.key }.flatMap { name, size in
            pair(front + (front == "lora_unet_" ? String(name.map { $0 == "." ? "_" : $0 }) : name), size.0, size.1)
        }
        expectRefused(try merge(self.base(base.file, as: base.className), adapter), "FLUX.1", base.className == nil ? "of " : "")
        // diffusers' own names are those of both.
        let common = try merge(self.base(base.file, as: base.className), pair("transformer.transformer_blocks.0.attn.to_q", 8, 8))
        #expect(common.status == 0, "\(common.errors)")
    }

    /// The classes that load FLUX.1's files, a class of one's own, and none.
    @Test(arguments: [
        "FluxTransformer2DModel", "FluxControlNetModel", "ChromaTransformer2DModel", "BriaTransformer2DModel", "MyFluxTransformer", nil,
    ] as [String?])
    func fluxIsItsRelatives(_ className: String?) throws {
        let adapter = Self.flux.sorted { $0.key < $1.key }.flatMap { pair("diffusion_model.\($0)", $1.0, $1.1) }
        let result = try merge(base("flux.json", as: className), adapter, metadata: [(key: "modelspec.architecture", value: "flux-1-dev/lora")])
        #expect(result.status == 0, "\(result.errors)")
    }

    /// kohya's names of an attention are FLUX.1's, FLUX.2's and HunyuanVideo's: the base decides, unless the file says of which it is.
    @Test(arguments: [
        ("flux.json", "flux-1-dev/lora", "Flux.2-klein-4b/lora"), ("flux.json", "Flux.1-dev/lora", "hunyuan-video/lora"),
        ("flux2.json", "Flux.2-dev/lora", "flux-1-schnell/lora"), ("hunyuan-video.json", "framepack/lora", "flux-1/lora"),
        ("sd3.json", "stable-diffusion-3-m/lora", "chroma/lora"),
    ], ["diffusers", "own"])
    func metadataDecide(_ item: (file: String, own: String, other: String), _ side: String) throws {
        let base = try base(item.file, as: side == "own" ? nil : try DiffusionModel(item.file).className, side)
        let isSD3 = item.file == "sd3.json"
        let adapters = isSD3 ? [pair("transformer.transformer_blocks.0.attn.to_q", 8, 8)]
            : [pair("lora_unet_double_blocks_0_img_attn_qkv", 24, 8), pair("transformer.transformer_blocks.0.attn.to_q", 8, 8)]
        for adapter in adapters {
            #expect(try merge(base, adapter).status == 0)
            #expect(try merge(base, adapter, metadata: [(key: "modelspec.architecture", value: item.own)]).status == 0)
            #expect(try merge(base, adapter, metadata: [(key: "modelspec.architecture", value: "unheard-of/lora")]).status == 0)
            expectRefused(try merge(base, adapter, metadata: [(key: "modelspec.architecture", value: item.other)]), "says that it is for")
        }
    }

    /// ComfyUI gives HunyuanVideo's layers FLUX.1's names; of 20 blocks the last is none of FLUX.1's 19.
    @Test func blocksThatFLUXHasNotAreAnothers() throws {
        let model = try DiffusionModel("hunyuan-video.json")
        let path = directory.path("twenty")
        try FileSystem.makeDirectory(path)
        try TestFile.write(Array(#"{"_class_name": "HunyuanVideoTransformer3DModel"}"#.utf8), to: path + "/config.json")
        let first = try model.base("diffusers")
        let last = first.filter { $0.name.text.hasPrefix("transformer_blocks.0.") }.map { tensor in
            var copy = tensor
            copy.name = ExactString("transformer_blocks.19." + tensor.name.text.dropFirst("transformer_blocks.0.".count))
            return copy
        }
        try SmallTensor.write(first + last, to: path + "/diffusion_pytorch_model.safetensors")
        let adapters = [0, 19].map { pair("diffusion_model.double_blocks.\($0).img_attn.qkv", 24, 8) }
        expectRefused(try merge(path, adapters[0]), "FLUX.1")
        let both = try merge(path, adapters[0] + adapters[1])
        #expect(both.status == 0, "\(both.errors)")
    }

    /// A check against the other base finds it, and against its own finds nothing.
    @Test func aCheckFindsIt() throws {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(Self.flux.sorted { $0.key < $1.key }.flatMap { pair("diffusion_model.\($0)", $1.0, $1.1) }, to: path)
        for (base, status) in [(try base("hunyuan-video.json", as: "HunyuanVideoTransformer3DModel"), 1), (try base("flux.json", as: "FluxTransformer2DModel"), 0)] {
            let result = try Tool.run(["check", path, "--base", base, "--json"])
            #expect(result.status == Int32(status), "\(result.output)\(result.errors)")
            #expect(result.output.contains("layers of the same names") == (status == 1), "\(result.output)")
        }
    }

    /// XLabs trains FLUX.1 alone.
    @Test func xlabsIsFlux() throws {
        let adapter = [
            SmallModel.tensor("double_blocks.0.processor.qkv_lora1.down.weight", [2, 8], seed: 1),
            SmallModel.tensor("double_blocks.0.processor.qkv_lora1.up.weight", [24, 2], seed: 2),
        ]
        #expect(try merge(base("flux.json", as: "FluxTransformer2DModel"), adapter).status == 0)
        expectRefused(try merge(base("hunyuan-video.json", as: "HunyuanVideoTransformer3DModel"), adapter), "FLUX.1")
    }
}
