import Peftfile
import TestSupport
import Testing

/// What a file leaves open is settled by an option that the refusal names, in every command.
@Suite struct AmbiguousFileTests {
    private func adapter(_ tensors: [SmallTensor], config: String? = nil) throws -> TemporaryDirectory {
        let directory = try TemporaryDirectory()
        if let config { try directory.write(config, to: "adapter_config.json") }
        try SmallTensor.write(tensors, to: directory.path("adapter_model.safetensors"))
        return directory
    }

    private let square = [
        SmallModel.tensor("base_model.model.h.0.attn.c_proj.lora_A.weight", [2, 6], seed: 1),
        SmallModel.tensor("base_model.model.h.0.attn.c_proj.lora_B.weight", [6, 2], seed: 2),
    ]
    private let config = #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["c_proj"], "fan_in_fan_out": true}"#

    @Test(arguments: ["kohya", "mlx", "diffusers"]) func aSquareMatrixWithoutItsBaseIsRefused(_ target: String) throws {
        let directory = try adapter(square, config: config)
        let path = directory.path("adapter_model.safetensors")
        let refused = try Tool.run(["convert", path, "--to", target, "-o", directory.path("out")])
        #expect(refused.status == 2 && refused.errors.contains("[SquareOrientation]") && refused.errors.contains("--square-orientation"))
        for orientation in ["in-out", "out-in"] {
            let settled = try Tool.run(
                ["convert", path, "--to", target, "--square-orientation", orientation, "-o", directory.path(orientation)])
            #expect(settled.status == 0, "\(settled.errors)")
        }
        // GPT-2's own config says it.
        try FileSystem.makeDirectory(directory.path("base"))
        try directory.write(#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}"#, to: "base/config.json")
        try SmallTensor.write(
            [SmallModel.tensor("h.0.attn.c_proj.weight", [6, 6], seed: 3)], to: directory.path("base/model.safetensors"))
        let known = try Tool.run(["convert", path, "--to", target, "--base", directory.path("base"), "-o", directory.path("known")])
        #expect(known.status == 0, "\(known.errors)")
        // Where the flag stays it is no matter; and a matrix that is not square tells by its shape.
        #expect(try Tool.run(["convert", path, "--to", "peft", "-o", directory.path("peft")]).status == 0)
    }

    /// loralib's MergedLinear: two of three parts of a fused layer, with the rank of A twice that of B.
    private let merged = [
        SmallModel.tensor("h.0.attn.c_attn.lora_A", [4, 6], seed: 1), SmallModel.tensor("h.0.attn.c_attn.lora_B", [12, 2], seed: 2),
    ]

    @Test func whatMergedLinearLeavesOpenIsNoDefect() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("lora.safetensors")
        try SmallTensor.write(merged, to: path)
        let open = try Tool.run(["check", path, "--json"])
        let report = try JSONValue.parse(Array(open.output.utf8), file: "stdout")
        #expect(report["checked"]?.arrayValue?.first?["verdict"]?.stringValue == "inconclusive")
        #expect(report["findings"]?.arrayValue?.isEmpty == true)
        #expect(open.output.contains("--scale") && open.output.contains("--enable-lora"))
        let settled = try Tool.run(["check", path, "--scale", "2", "--enable-lora", "true,false,true"])
        #expect(settled.status == 0, "\(settled.output)")
        for command in ["inspect", "convert --to peft -o OUT"] {
            let words = command.split(separator: " ").map { $0 == "OUT" ? directory.path("peft") : String($0) }
            let result = try Tool.run(words + [path, "--scale", "2", "--enable-lora", "true,false,true"])
            #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        }
        // Rows 0..<6 and 12..<18 of 18, each of its own two columns: blocks that a merge of the file gives too.
        let b = try Checkpoint.open(directory.path("peft")).numbers("base_model.model.h.0.attn.c_attn.lora_B.weight")
        let stored = SmallTensor.numbers(24, seed: 2)
        for row in 0..<18 {
            let own = Array(b[(4 * row)..<(4 * row + 4)])
            switch row {
            case 0..<6: #expect(own == Array(stored[(2 * row)..<(2 * row + 2)]) + [0, 0])
            case 12..<18: #expect(own == [0, 0] + Array(stored[(2 * row - 12)..<(2 * row - 10)]))
            default: #expect(own == [0, 0, 0, 0])
            }
        }
    }

    @Test func bareFactorsAreConvertedInEitherOrientation() throws {
        let directory = try TemporaryDirectory()
        let (a, b) = (SmallModel.tensor("h.0.q.lora_A", [6, 2], seed: 1), SmallModel.tensor("h.0.q.lora_B", [2, 4], seed: 2))
        try SmallTensor.write([a, b], to: directory.path("bare.safetensors"))
        let command = ["convert", directory.path("bare.safetensors"), "--to", "peft", "-o", directory.path("out")]
        #expect(try Tool.run(command).errors.contains("--scale"))
        #expect(try Tool.run(command + ["--scale", "0.5", "--orientation", "in-out"]).status == 0)
        let result = try Checkpoint.open(directory.path("out"))
        // (A·B)ᵀ = Bᵀ·Aᵀ
        let turned = (0..<2).flatMap { row in (0..<6).map { a.values[2 * $0 + row] } }
        #expect(try result.numbers("base_model.model.h.0.q.lora_A.weight") == turned)
        #expect(try Adapter(path: directory.path("out")).targets().map(\.scale) == [0.5])
        let same = try Tool.run([
            "diff", directory.path("bare.safetensors"), directory.path("out"), "--scale", "0.5", "--orientation", "in-out", "--json",
        ])
        #expect(same.output.filter { !$0.isWhitespace }.contains(#""equivalent":true"#), "\(same.output)")
    }
}
