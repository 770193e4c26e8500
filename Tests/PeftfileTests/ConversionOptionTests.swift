import ByteAccess
import Peftfile
import TestSupport
import Testing

/// Options of `convert` that neither the adapter nor the target has a use for are refused, and not passed over.
@Suite struct ConversionOptionTests {
    @Test(arguments: [
        ("kohya", "--heads", "8"), ("mlx", "--architecture", "llama"), ("diffusers", "--round-scale", ""), ("kohya", "--enable-lora", "true,false"),
        ("kohya", "--expert-order", "rank-major"), ("kohya", "--square-orientation", "in-out"), ("mlx", "--no-sync", ""),
        ("kohya", "--keep-cache", ""), ("peft", "--heads", "8"), ("mlx", "--as", "unet"), ("gguf", "--component", "unet"),
    ]) func whatHasNoUseIsRefused(_ target: String, _ option: String, _ value: String) throws {
        let directory = try TemporaryDirectory()
        let out = directory.path(target == "gguf" ? "out.gguf" : "out")
        let result = try Tool.run(
            ["convert", MergeCase("lora-linear-bf16").adapter, "--to", target, "-o", out, option] + (value.isEmpty ? [] : [value]))
        #expect(result.status == 2 && result.errors.contains(option), "\(result.errors)")
        #expect(!FileSystem.exists(out))
        // Neither has to do with dtypes, nor would another run with it help.
        if ["--no-sync", "--keep-cache"].contains(option) {
            #expect(result.errors.contains("small file") && !result.errors.contains("dtype") && !result.errors.contains("again"), "\(result.errors)")
        }
    }

    /// A refusal names the key of the config, and the tensor that has the part which no other dialect holds.
    @Test(arguments: [
        (#""trainable_token_indices": {"embed_tokens": [1]}"#, "trainable_token_indices", "token_adapter.trainable_tokens_delta"),
        (#""kasa_config": {"beta": 0.1, "gamma": 0.1}"#, "kasa_config", "lora_diag"), (#""layer_replication": [[0, 1], [0, 1]]"#, "layer_replication", ""),
        (#""init_lora_weights": "pissa""#, "init_lora_weights \"pissa\"", ""),
    ]) func whatOnlyPEFTHoldsIsNamed(_ config: String, _ key: String, _ tensor: String) throws {
        let model = try SmallModel()
        let path = "model.layers.0.self_attn.q_proj"
        var tensors = [
            SmallModel.tensor(ExactString("\(path).lora_A.weight"), [2, 4], seed: 1), SmallModel.tensor(ExactString("\(path).lora_B.weight"), [4, 2], seed: 2),
        ]
        if tensor == "lora_diag" { tensors.append(SmallModel.tensor(ExactString("\(path).lora_diag"), [2], seed: 3)) }
        if tensor.hasPrefix("token") { tensors.append(SmallModel.tensor("model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 4], seed: 3)) }
        try model.adapter(tensors, config: config + ", \"target_modules\": [\"q_proj\"]")
        let result = try Tool.run(["convert", model.directory.path("adapter"), "--to", "kohya", "-o", model.directory.path("out")])
        #expect(result.status == 2 && result.errors.contains("with \(key) in adapter_config.json"), "\(result.errors)")
        #expect(tensor.isEmpty || result.errors.contains(tensor), "\(result.errors)")
    }

    @Test(arguments: [("kohya-lora", "--scale", "2"), ("kohya-lora", "--orientation", "in-out"), ("mlx-lora", "--scale", "2"), ("mlx-lora", "--component", "unet")])
    func aFileThatSaysItIsNotContradicted(_ name: String, _ option: String, _ value: String) throws {
        let directory = try TemporaryDirectory()
        let result = try Tool.run([
            "convert", Fixtures.path("dialects/\(name)/adapter"), "--base", Fixtures.path("dialects/\(name)/base"), "--to", "peft", option, value,
            "-o", directory.path("out"),
        ])
        #expect(result.status == 2 && result.errors.contains(option), "\(result.errors)")
    }

    /// Scales that are powers of two apart leave no remainder in a factor.
    @Test func aScaleOfItsOwnGoesIntoMLXFactor() throws {
        let model = try SmallModel()
        let names = model.directory
        try model.base(
            ["q_proj", "k_proj", "v_proj"].enumerated().map {
                SmallModel.tensor(ExactString("model.layers.0.self_attn.\($1).weight"), [4, 4], seed: $0)
            })
        try model.adapter(
            ["q_proj", "k_proj", "v_proj"].enumerated().flatMap { index, name in
                [
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_A.weight"), [2, 4], seed: 10 + index),
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_B.weight"), [4, 2], seed: 20 + index),
                ]
            }, config: #""alpha_pattern": {"k_proj": 12}"#)
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "mlx", "-o", names.path("mlx")])
        #expect(result.status == 0 && result.output.contains("the rest of the scale is in lora_b"), "\(result.errors)")
        #expect(try Tool.run(["verify", names.path("mlx")]).status == 0)
        for (out, path) in [("m0", "adapter"), ("m1", "mlx")] {
            #expect(try Tool.run(["merge", names.path("base"), names.path(path), "-o", names.path(out)]).status == 0)
        }
        #expect(try Tool.run(["diff", names.path("m0"), names.path("m1")]).status == 0)
        // A third of each element is no number of F32.
        try model.adapter(
            ["q_proj", "k_proj"].enumerated().flatMap { index, name in
                [
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_A.weight"), [2, 4], seed: 10 + index),
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_B.weight"), [4, 2], seed: 20 + index),
                ]
            }, config: #""alpha_pattern": {"k_proj": 0.1, "q_proj": 0.7}"#, name: "other")
        let refused = try Tool.run(["convert", names.path("other"), "--to", "mlx", "-o", names.path("x")])
        #expect(refused.status == 2 && refused.errors.contains("[NotConvertible]"), "\(refused.errors)")
    }

    /// A scale of 0 is an update of nothing: in MLX' file by factors of 0, and in kohya's, whose readers do not agree on an alpha of 0, not at all.
    @Test(arguments: [#""r": 2, "lora_alpha": 0"#, #""r": 2, "lora_alpha": 6, "alpha_pattern": {"k_proj": 0}"#])
    func aScaleOfZeroIsNoUpdate(_ shared: String) throws {
        let model = try SmallModel()
        let names = model.directory
        let layers = ["q_proj", "k_proj"].enumerated()
        try model.base(layers.map { SmallModel.tensor(ExactString("model.layers.0.self_attn.\($1).weight"), [4, 4], seed: $0) })
        try model.adapter(
            layers.flatMap { index, name in
                [
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_A.weight"), [2, 4], seed: 10 + index),
                    SmallModel.tensor(ExactString("model.layers.0.self_attn.\(name).lora_B.weight"), [4, 2], seed: 20 + index),
                ]
            }, shared: shared)
        let result = try Tool.run(["convert", names.path("adapter"), "--to", "mlx", "-o", names.path("mlx")])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.run(["verify", names.path("mlx")]).status == 0)
        for (out, path) in [("m0", "adapter"), ("m1", "mlx")] {
            #expect(try Tool.run(["merge", names.path("base"), names.path(path), "-o", names.path(out)]).status == 0)
        }
        #expect(try Tool.run(["diff", names.path("m0"), names.path("m1")]).status == 0)
        let kohya = try Tool.run(["convert", names.path("adapter"), "--to", "kohya", "-o", names.path("k.safetensors"), "--base", names.path("base")])
        #expect(kohya.status == 2 && kohya.errors.contains("has the scale 0") && !FileSystem.exists(names.path("k.safetensors")), "\(kohya.errors)")
    }

    /// What other dialects have no form for stays in kohya's file as it is; a flag may be a BOOL, as torch saves it.
    @Test func methodsOfLyCORISStayInTheirFile() throws {
        let model = try SmallModel()
        let names = model.directory
        try model.base([SmallModel.tensor("a.q.weight", [4, 3], seed: 1), SmallModel.tensor("a.k.weight", [4, 3], seed: 2)], config: "{}")
        let tensors = [
            SmallModel.tensor("lora_unet_a_q.weight", [4], seed: 3),
            SmallTensor(name: "lora_unet_a_q.on_input", shape: [], values: [0], dtype: .bool),
            SmallModel.tensor("lora_unet_a_k.diff", [4, 3], seed: 4),
        ]
        try SmallTensor.write(tensors, to: names.path("lycoris.safetensors"))
        let out = names.path("out.safetensors")
        let result = try Tool.run(["convert", names.path("lycoris.safetensors"), "--to", "kohya", "--base", names.path("base"), "-o", out])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try Tool.run(["verify", out]).status == 0)
        for (target, path) in [("m0", "lycoris.safetensors"), ("m1", "out.safetensors")] {
            let merge = try Tool.run(["merge", names.path("base"), names.path(path), "-o", names.path(target)])
            #expect(merge.status == 0, "\(merge.errors)")
        }
        #expect(try Tool.run(["diff", names.path("m0"), names.path("m1")]).status == 0)
        // W (4, 3) times 1 + w by row.
        let (w, s) = (SmallTensor.numbers(12, seed: 1), SmallTensor.numbers(4, seed: 3))
        #expect(try Checkpoint.open(names.path("m0")).numbers("a.q.weight") == (0..<12).map { w[$0] * (1 + s[$0 / 3]) })
        let refused = try Tool.run(["convert", names.path("lycoris.safetensors"), "--to", "peft", "--base", names.path("base"), "-o", names.path("p")])
        #expect(refused.status == 2 && refused.errors.contains("[NotConvertible]"))
    }
}
