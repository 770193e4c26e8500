import Peftfile
import TestSupport
import Testing

/// Layers of FLUX.1 and Wan under their own names, written as diffusers cuts them. What diffusers makes of the same tensors was recorded
/// from its own converters: `Fixtures/names/diffusers-layers.json`.
@Suite struct DiffusersLayerTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func run(_ arguments: String...) throws -> Tool.Result { try Tool.run(["convert"] + arguments) }

    /// Element i of a recorded source; whole numbers that F32 holds.
    private func numbers(_ count: Int, seed: Int) -> [Double] { (0..<count).map { Double(($0 * 7 + seed * 13) % 251 - 125) } }

    @Test func layersAreThoseThatDiffusersMakes() throws {
        let bytes = try FileReader(path: Fixtures.path("names/diffusers-layers.json")).allBytes(limit: 1 << 20)
        let cases = try #require(try JSONValue.parse(bytes).objectValue?["cases"]?.arrayValue)
        #expect(cases.count == 6)
        for (index, value) in cases.enumerated() {
            let name = value.objectValue?["case"]?.stringValue ?? ""
            let source = try (value.objectValue?["source"]?.arrayValue ?? []).map { tensor in
                let object = try #require(tensor.objectValue)
                let shape = (object["shape"]?.arrayValue ?? []).compactMap(\.intValue)
                return SmallTensor(
                    name: ExactString(try #require(object["name"]?.stringValue)), shape: shape,
                    values: numbers(shape.reduce(1, *), seed: try #require(object["seed"]?.intValue)))
            }
            let (path, out) = (directory.path("in\(index).safetensors"), directory.path("out\(index).safetensors"))
            try SmallTensor.write(source, to: path)
            let result = try run(path, "--to", "diffusers", "-o", out)
            #expect(result.status == 0, "\(name): \(result.errors)")
            let file = try Checkpoint.open(out)
            let expected = try #require(value.objectValue?["expected"]?.arrayValue).compactMap(\.objectValue)
            #expect(Set(file.tensors.map(\.name.text)) == Set(expected.compactMap { $0["name"]?.stringValue }), "\(name)")
            for tensor in expected {
                let own = ExactString(try #require(tensor["name"]?.stringValue))
                guard let stored = file[own] else { continue }
                #expect(stored.shape == (tensor["shape"]?.arrayValue ?? []).compactMap(\.intValue), "\(own)")
                var hash = SHA256()
                hash.update(try file.read(stored))
                #expect(SHA256.hex(hash.finalize()) == tensor["sha256"]?.stringValue, "\(own)")
            }
            #expect(try Adapter(path: out).targets().allSatisfy { $0.scale == 1 })
            #expect(try Tool.run(["verify", out]).status == 0)
        }
    }

    private func pair(_ module: String, _ rows: Int, _ columns: Int, alpha: Double? = nil, down: String = "lora_down", up: String = "lora_up") -> [SmallTensor] {
        [
            SmallModel.tensor(ExactString("\(module).\(down).weight"), [2, columns], seed: columns),
            SmallModel.tensor(ExactString("\(module).\(up).weight"), [rows, 2], seed: rows),
        ] + (alpha.map { [SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [$0])] } ?? [])
    }

    /// A base in its own layout is bound first, and the names that are written are diffusers' all the same.
    @Test(arguments: ["lora_unet_double_blocks_0_img_attn_qkv", "diffusion_model.double_blocks.0.img_attn.qkv", "xlabs"])
    func theModelsOwnBaseChangesNoName(_ form: String) throws {
        let base = directory.path("flux.safetensors")
        try SmallTensor.write([SmallModel.tensor("double_blocks.0.img_attn.qkv.weight", [12, 4], seed: 1)], to: base)
        let path = directory.path("lora.safetensors")
        let isXLabs = form == "xlabs"
        try SmallTensor.write(
            isXLabs ? pair("double_blocks.0.processor.qkv_lora1", 12, 4, down: "down", up: "up") : pair(form, 12, 4, alpha: 1), to: path)
        let out = directory.path("d.safetensors")
        let result = try run(path, "--to", "diffusers", "--base", base, "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        let adapter = try Adapter(path: out)
        #expect(try adapter.targets().map(\.module.text).sorted() == ["k", "q", "v"].map { "transformer.transformer_blocks.0.attn.to_\($0)" })
        #expect(try adapter.targets().allSatisfy { $0.scale == (isXLabs ? 1 : 0.5) })
        let keys = try JSONValue.parse(Array(#require(Checkpoint.open(out).shards[0].file.metadata?.first { $0.key == "lora_adapter_metadata" }).value.utf8))
        // diffusers takes what begins with the component that it loads.
        #expect(keys.objectValue?.members.allSatisfy { $0.key.text.hasPrefix("transformer.") } == true)
        #expect(try Tool.run(["verify", out]).status == 0)
    }

    /// diffusers' pipeline tells the same names, and a merge finds the three layers.
    @Test func aPipelineTakesTheModelsOwnNames() throws {
        try FileSystem.makeDirectory(directory.path("pipe"))
        try FileSystem.makeDirectory(directory.path("pipe/transformer"))
        try directory.write(#"{"_class_name": "FluxPipeline"}"#, to: "pipe/model_index.json")
        try directory.write(#"{"_class_name": "FluxTransformer2DModel"}"#, to: "pipe/transformer/config.json")
        let layers = ["to_q", "to_k", "to_v"].map { SmallModel.tensor(ExactString("transformer_blocks.0.attn.\($0).weight"), [4, 4], seed: 7) }
        try SmallTensor.write(layers, to: directory.path("pipe/transformer/model.safetensors"))
        let path = directory.path("lora.safetensors")
        let factors = pair("lora_unet_double_blocks_0_img_attn_qkv", 12, 4, alpha: 1)
        try SmallTensor.write(factors, to: path)
        let result = try run(path, "--to", "diffusers", "--base", directory.path("pipe"), "-o", directory.path("d.safetensors"))
        #expect(result.status == 0, "\(result.errors)")
        for adapter in [path, directory.path("d.safetensors")] {
            #expect(try Tool.run(["merge", directory.path("pipe/transformer"), adapter, "-o", directory.path("m"), "--force"]).status == 0)
            let merged = try Checkpoint.open(directory.path("m"))
            let update = Plain.product(factors[1].values, factors[0].values, 12, 2, 4)
            for (number, layer) in layers.enumerated() {
                let rows = Array(update[(16 * number)..<(16 * number + 16)])
                #expect(try merged.numbers(layer.name) == Plain.sum(layer.values, rows, scale: 0.5))
            }
        }
        // A transformer without any of the names is no missing component, and the file is not empty.
        try SmallTensor.write(pair("lora_unet_other_layer", 4, 4), to: path)
        let refused = try run(path, "--to", "diffusers", "--base", directory.path("pipe"), "-o", directory.path("x.safetensors"))
        #expect(refused.status == 2 && refused.errors.contains("[MissingTarget]") && refused.errors.contains("lora_unet_other_layer"))
        try SmallTensor.write(pair("lora_te2_encoder_block_0", 4, 4), to: path)
        let others = try run(path, "--to", "diffusers", "--base", directory.path("pipe"), "-o", directory.path("x.safetensors"))
        #expect(others.status == 2 && others.errors.contains("all of its updates are of lora_te2"), "\(others.errors)")
    }

    /// `split_dims`: each part has factors of its own, and stands alone in diffusers.
    @Test func partsOfAFusedLayerStandAlone() throws {
        let module = "lora_unet_double_blocks_0_img_attn_qkv"
        let tensors = (0..<3).flatMap { part in
            [
                SmallModel.tensor(ExactString("\(module).lora_down.\(part).weight"), [2, 4], seed: part),
                SmallModel.tensor(ExactString("\(module).lora_up.\(part).weight"), [4, 2], seed: part + 3),
            ]
        }
        let (path, out) = (directory.path("lora.safetensors"), directory.path("d.safetensors"))
        try SmallTensor.write(tensors + [SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [1])], to: path)
        let result = try run(path, "--to", "diffusers", "-o", out)
        #expect(result.status == 0, "\(result.errors)")
        let file = try Checkpoint.open(out)
        for (part, layer) in ["to_q", "to_k", "to_v"].enumerated() {
            let front = "transformer.transformer_blocks.0.attn.\(layer)"
            #expect(try file.numbers(ExactString("\(front).lora_A.weight")) == tensors[2 * part].values)
            #expect(try file.numbers(ExactString("\(front).lora_B.weight")) == tensors[2 * part + 1].values)
        }
        #expect(try Adapter(path: out).targets().allSatisfy { $0.rank == 2 && $0.scale == 0.5 })
    }

    /// Layers of proportions that no model has, or beside layers that none of the models with the others has, or in no block.
    @Test(arguments: [
        ["single_blocks.0.linear1": (32, 4)], ["double_blocks.0.img_attn.qkv": (12, 4), "other_layer.lin": (24, 4)],
        ["joint_blocks.0.x_block.attn.qkv": (16, 4)], ["noise_refiner.0.attention.qkv": (16, 4)], ["img_in": (4, 3)],
        ["layers.0.attention.out": (4, 4)],
    ] as [[String: (Int, Int)]])
    func otherModelsAreRefused(_ layers: [String: (Int, Int)]) throws {
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(layers.sorted { $0.key < $1.key }.flatMap { pair("diffusion_model.\($0.key)", $0.value.0, $0.value.1, alpha: 2) }, to: path)
        let result = try run(path, "--to", "diffusers", "-o", directory.path("d.safetensors"))
        #expect(result.status == 2 && result.errors.contains("[NotConvertible]") && result.errors.contains("--base PIPELINE"), "\(result.errors)")
        #expect(!FileSystem.exists(directory.path("d.safetensors")))
    }

    /// Layers of Z-Image's and Lumina 2's own repositories: their proportions tell which it is, and the output of an attention alone does not.
    @Test(arguments: ["transformer", "diffusion_model"], ["layers", "context_refiner", "noise_refiner"])
    func namesOfTheRepositoryAreToldByTheirProportions(_ component: String, _ blocks: String) throws {
        let (path, out) = (directory.path("lora.safetensors"), directory.path("d.safetensors"))
        func convert(_ layers: [String: Int], _ width: Int) throws -> Tool.Result {
            try SmallTensor.write(layers.sorted { $0.key < $1.key }.flatMap { pair("\(component).\(blocks).0.\($0.key)", $0.value, width) }, to: path)
            return try run(path, "--to", "diffusers", "-o", out, "--force")
        }
        let parts = ["to_q", "to_k", "to_v"]
        for (layers, width, names) in [
            (["attention.qkv": 12], 4, parts.map { "attention.\($0)" }),
            (["attention.qkv": 12, "attention.out": 4, "feed_forward.w1": 8], 4, (parts + ["to_out.0"]).map { "attention.\($0)" } + ["feed_forward.w1"]),
            (["attention.qkv": 20, "attention.out": 12, "feed_forward.w1": 8], 12, (parts + ["to_out.0"]).map { "attn.\($0)" } + ["feed_forward.linear_1"]),
        ] {
            let result = try convert(layers, width)
            #expect(result.status == 0, "\(result.errors)")
            #expect(try Set(Adapter(path: out).targets().map(\.module.text)) == Set(names.map { "transformer.\(blocks).0.\($0)" }))
        }
        try FileSystem.remove(out)
        let refused = try convert(["attention.out": 4], 4)
        #expect(refused.status == 2 && refused.errors.contains("[NotConvertible]") && refused.errors.contains("--base PIPELINE"), "\(refused.errors)")
        #expect(refused.errors.contains("Lumina 2 and of Z-Image"), "\(refused.errors)")
        #expect(!FileSystem.exists(out))
    }

    /// diffusers' own names of the same models (`ZImageTransformer2DModel`, `Lumina2Transformer2DModel`) stay.
    @Test func namesOfDiffusersStay() throws {
        let names = [
            ["attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1", "adaLN_modulation.0"],
            ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "feed_forward.linear_1", "norm1.linear"],
        ]
        for layers in names {
            let path = directory.path("lora.safetensors")
            let modules = layers.map { "transformer.layers.0.\($0)" }
            try SmallTensor.write(modules.flatMap { pair($0, 4, 4) }, to: path)
            let result = try run(path, "--to", "diffusers", "-o", directory.path("d.safetensors"), "--force")
            #expect(result.status == 0, "\(result.errors)")
            #expect(try Set(Adapter(path: directory.path("d.safetensors")).targets().map(\.module.text)) == Set(modules))
        }
    }
}
