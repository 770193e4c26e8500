import Peftfile
import TestSupport
import Testing

/// Products of factors that were trained on a fused layer, merged onto diffusers' layers: each has its rows of the product, wherever they begin.
@Suite struct FusedProductTests {
    private let directory: TemporaryDirectory
    private let model: DiffusionModel

    init() throws {
        directory = try TemporaryDirectory()
        model = try DiffusionModel("flux.json")
    }

    /// Layers of the repository, their sides, and those of diffusers with their rows, in the order in which the update's rows go there.
    private static let layers: [(own: String, rows: Int, parts: [(name: String, rows: [Range<Int>])])] = [
        ("double_blocks.0.txt_attn.qkv", 24, ["add_q_proj", "add_k_proj", "add_v_proj"].enumerated().map { ("transformer_blocks.0.attn.\($1)", [(8 * $0)..<(8 * $0 + 8)]) }),
        ("single_blocks.0.linear1", 56, ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"].enumerated().map {
            ("single_transformer_blocks.0.\($1)", [(8 * $0)..<($0 == 3 ? 56 : 8 * $0 + 8)])
        }),
        ("final_layer.adaLN_modulation.1", 16, [("norm_out.linear", [8..<16, 0..<8])]),
    ]

    /// A matrix of whole numbers and its factors' tensors.
    private typealias Product = (tensors: [SmallTensor], values: [Double])

    private func kronecker(_ module: String, rows: Int, first p: Int, isWhole: Bool) -> Product {
        let q = rows / p
        let w1 = SmallModel.tensor(ExactString("\(module).lokr_w1"), [p, 2], seed: 3)
        var (tensors, w2): ([SmallTensor], [Double]) = ([w1], [])
        if isWhole {
            let whole = SmallModel.tensor(ExactString("\(module).lokr_w2"), [q, 4], seed: 4)
            (tensors, w2) = (tensors + [whole], whole.values)
        } else {
            let (a, b) = (SmallModel.tensor(ExactString("\(module).lokr_w2_a"), [q, 2], seed: 5), SmallModel.tensor(ExactString("\(module).lokr_w2_b"), [2, 4], seed: 6))
            tensors += [a, b, SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [1])]
            w2 = Plain.product(a.values, b.values, q, 2, 4).map { $0 / 2 }
        }
        var values = [Double](repeating: 0, count: rows * 8)
        for i in 0..<p { for k in 0..<q { for j in 0..<2 { for l in 0..<4 { values[(i * q + k) * 8 + j * 4 + l] = w1.values[i * 2 + j] * w2[k * 4 + l] } } } }
        return (tensors, values)
    }

    private func hadamard(_ module: String, rows: Int) -> Product {
        let tensors = ["w1_a", "w1_b", "w2_a", "w2_b"].enumerated().map { index, name in
            SmallModel.tensor(ExactString("\(module).hada_\(name)"), name.hasSuffix("a") ? [rows, 2] : [2, 8], seed: 11 + index)
        }
        let (one, two) = (Plain.product(tensors[0].values, tensors[1].values, rows, 2, 8), Plain.product(tensors[2].values, tensors[3].values, rows, 2, 8))
        return (tensors + [SmallTensor(name: ExactString("\(module).alpha"), shape: [], values: [1])], zip(one, two).map { $0 * $1 / 2 })
    }

    private func product(_ kind: String, _ module: String, rows: Int) -> Product {
        switch kind {
        // h rows of the second factor or fewer, and those that reach over two of the first.
        case "lokr": kronecker(module, rows: rows, first: 8, isWhole: true)
        case "lokr over two": kronecker(module, rows: rows, first: 4, isWhole: true)
        case "lokr with one": kronecker(module, rows: rows, first: 1, isWhole: false)
        default: hadamard(module, rows: rows)
        }
    }

    /// Every element, from the whole product.
    @Test(arguments: ["lokr", "lokr over two", "lokr with one", "loha"], ["lora_unet_", "diffusion_model."])
    func eachLayerHasItsRows(_ kind: String, _ front: String) throws {
        let (base, path) = (directory.path("base.safetensors"), directory.path("lora.safetensors"))
        try SmallTensor.write(model.base("diffusers"), to: base)
        let products = Self.layers.map { layer in
            product(kind, front + (front == "lora_unet_" ? String(layer.own.map { $0 == "." ? "_" : $0 }) : layer.own), rows: layer.rows)
        }
        try SmallTensor.write(products.flatMap(\.tensors), to: path)
        let result = try Tool.run(["merge", base, path, "-o", directory.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        guard result.status == 0 else { return }
        let merged = try Checkpoint.open(directory.path("out"))
        var changed: Set<ExactString> = []
        for (layer, product) in zip(Self.layers, products) {
            for part in layer.parts {
                let name = ExactString(part.name + ".weight")
                let update = part.rows.flatMap { product.values[($0.lowerBound * 8)..<($0.upperBound * 8)] }
                let own = try #require(model.base("diffusers").first { $0.name == name })
                #expect(try merged.numbers(name) == Plain.sum(own.values, update, scale: 1), "\(kind): \(name)")
                changed.insert(name)
            }
        }
        for own in model.base("diffusers") where !changed.contains(own.name) { #expect(try merged.numbers(own.name) == own.values, "\(own.name)") }
        #expect(try Tool.run(["verify", directory.path("out")]).status == 0)
    }

    /// A magnitude for each row goes with its row: onto one base the same merge as onto the other.
    @Test(arguments: ["lokr over two", "loha"]) func magnitudesGoWithTheirRows(_ kind: String) throws {
        let layer = Self.layers[0]
        let theirs = model.base("diffusers")
        let parts = try layer.parts.map { part in try #require(theirs.first { $0.name == ExactString(part.name + ".weight") }) }
        let own = model.base("own").map { tensor in
            tensor.name == ExactString(layer.own + ".weight") ? SmallTensor(name: tensor.name, shape: tensor.shape, values: parts.flatMap(\.values)) : tensor
        }
        let magnitude = SmallTensor(name: ExactString("diffusion_model.\(layer.own).dora_scale"), shape: [24, 1], values: (1...24).map(Double.init))
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(product(kind, "diffusion_model." + layer.own, rows: 24).tensors + [magnitude], to: path)
        for (name, tensors) in [("own", own), ("theirs", theirs)] {
            let base = directory.path("\(name).safetensors")
            try SmallTensor.write(tensors, to: base)
            let result = try Tool.run(["merge", base, path, "-o", directory.path("m-\(name)")])
            #expect(result.status == 0, "\(result.errors)")
            guard result.status == 0 else { return }
            #expect(try Tool.run(["verify", directory.path("m-\(name)")]).status == 0)
        }
        let other = try Checkpoint.open(directory.path("m-theirs"))
        let fused = try Checkpoint.open(directory.path("m-own")).numbers(ExactString(layer.own + ".weight"))
        #expect(try fused == layer.parts.flatMap { try other.numbers(ExactString($0.name + ".weight")) })
        #expect(fused != parts.flatMap(\.values))
    }

    /// A difference of a bias whose halves change places, beside factors with a scale and without, and alone.
    @Test(arguments: [1, nil] as [Double?], [true, false]) func halvesOfABiasChangePlaces(_ alpha: Double?, _ hasFactors: Bool) throws {
        let layer = "diffusion_model.final_layer.adaLN_modulation.1"
        let bias = SmallModel.tensor(ExactString("\(layer).diff_b"), [16], seed: 8)
        let factors = [
            SmallModel.tensor(ExactString("\(layer).lora_A.weight"), [2, 8], seed: 9), SmallModel.tensor(ExactString("\(layer).lora_B.weight"), [16, 2], seed: 10),
        ]
        let other = [
            SmallModel.tensor("diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight", [2, 8], seed: 1),
            SmallModel.tensor("diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight", [8, 2], seed: 2),
        ]
        let (base, path) = (directory.path("base.safetensors"), directory.path("lora.safetensors"))
        try SmallTensor.write(model.base("diffusers"), to: base)
        let scale = alpha.map { [SmallTensor(name: ExactString("\(layer).alpha"), shape: [], values: [$0])] } ?? []
        try SmallTensor.write(other + [bias] + (hasFactors ? factors + scale : []), to: path)
        let result = try Tool.run(["merge", base, path, "-o", directory.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        guard result.status == 0 else { return }
        let (before, merged) = (try Checkpoint.open(base), try Checkpoint.open(directory.path("out")))
        #expect(
            try merged.numbers("norm_out.linear.bias")
                == Plain.sum(before.numbers("norm_out.linear.bias"), Array(bias.values[8...] + bias.values[..<8]), scale: 1))
        let update = hasFactors ? Plain.product(factors[1].values, factors[0].values, 16, 2, 8) : [Double](repeating: 0, count: 128)
        #expect(
            try merged.numbers("norm_out.linear.weight")
                == Plain.sum(before.numbers("norm_out.linear.weight"), Array(update[64...] + update[..<64]), scale: (alpha ?? 2) / 2))
        #expect(try Tool.run(["verify", directory.path("out")]).status == 0)
    }
}
