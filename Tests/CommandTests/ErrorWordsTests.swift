import Foundation
import TestSupport
import Testing

/// What people get wrong, over all commands: each is answered by one line that says what is wrong with which word, and what
/// to do.
@Suite struct ErrorWordsTests {
    static let base = "Fixtures/merge/lora-sharded-bf16/base"
    static let adapter = "Fixtures/merge/lora-sharded-bf16/adapter"

    /// The arguments, and what the line must name.
    static let errors: [(arguments: String, words: [String])] = [
        ("mrege a b", ["\"mrege\"", "peftfile merge"]),
        ("help nothing", ["\"nothing\"", "numerics", "verify"]),
        ("--verison", ["--verison", "peftfile --help"]),
        ("merge", ["path", "peftfile merge [BASE] ADAPTER... -o OUT"]),
        ("merge BASE ADAPTER", ["--output", "-o OUT"]),
        ("merge BASE ADAPTER --output", ["--output"]),
        ("merge BASE nowhere -o OUT", ["nowhere", "does not exist"]),
        ("merge nowhere ADAPTER -o OUT", ["nowhere", "does not exist"]),
        ("merge ADAPTER BASE -o OUT", ["is an adapter", "peftfile merge BASE ADAPTER -o OUT"]),
        ("merge BASE -o OUT", ["is no adapter", "peftfile merge BASE ADAPTER -o OUT"]),
        ("merge ADAPTER -o OUT", ["fixtures/lora-sharded-bf16", "hf download", "peftfile merge BASE"]),
        ("merge BASE ADAPTER -o nowhere/out", ["mkdir -p nowhere"]),
        ("merge BASE ADAPTER -o full", ["full", "is not empty", "empty the directory"]),
        ("merge BASE ADAPTER -o full --force", ["holds no checkpoint", "empty the directory"]),
        ("merge BASE ADAPTER -o BASE", ["is not empty"]),
        ("merge BASE ADAPTER -o OUT --dtype fp8", ["--dtype fp8", "bf16, f16, f32, f64"]),
        ("merge BASE ADAPTER -o OUT --weights half", ["--weights half", "0.7,0.3"]),
        ("merge BASE ADAPTER -o OUT --weights 0.5,0.5", ["2 values for 1 adapter ", "one number for each adapter"]),
        ("merge BASE ADAPTER -o OUT --max-shard-size big", ["\"big\"", "5GB"]),
        ("merge BASE ADAPTER -o OUT --jobs 0", ["--jobs 0", "1 to 1024"]),
        ("merge BASE ADAPTER -o OUT --jobs many", ["'many'", "--jobs", "peftfile merge --help"]),
        ("merge BASE ADAPTER -o OUT --tie maybe", ["--tie maybe", "break or keep"]),
        ("merge BASE ADAPTER -o OUT --base-as residul", ["--base-as residul", "residual"]),
        ("merge BASE ADAPTER -o OUT --frobnicate", ["--frobnicate", "peftfile merge --help"]),
        ("inspect", ["path", "peftfile inspect PATH..."]),
        ("inspect nowhere", ["nowhere", "check the path"]),
        ("inspect text", ["text", "3 bytes"]),
        ("inspect full", ["full", "model.safetensors"]),
        ("inspect org/model", ["hf download org/model"]),
        ("inspect Fixtures/negative/lfs-pointer", ["Git LFS pointer", "lfs pull"]),
        ("inspect Fixtures/negative/html", ["HTML page", "fetch it again"]),
        ("check", ["adapter", "peftfile check ADAPTER..."]),
        ("check nowhere", ["nowhere", "does not exist"]),
        ("check ADAPTER --policy nowhere.yml", ["nowhere.yml", "does not exist"]),
        ("check ADAPTER --format xml", ["--format xml", "sarif"]),
        ("check ADAPTER --fail-on bad", ["--fail-on bad", "error, warning, note"]),
        ("check ADAPTER --target ollama", ["--target ollama", "llama.cpp"]),
        ("verify BASE", ["has no receipt", "--base BASE --adapter ADAPTER"]),
        ("verify BASE --base BASE", ["--base without --adapter", "--adapter ADAPTER"]),
        ("verify BASE --max-ulp x", ["'x'", "--max-ulp"]),
        ("diff BASE", ["b", "peftfile diff A B"]),
        ("diff BASE BASE --sort size", ["--sort size", "rel_l2"]),
        ("diff BASE BASE --include zzz", ["no tensor of 30", "peftfile inspect --tensors"]),
        ("strip ADAPTER -o OUT", ["holds no prompt", "peftfile inspect"]),
        ("strip Fixtures/strip/ptuning-mlp/unstripped -o OUT --layout foo", ["--layout foo", "peft or source"]),
        ("convert ADAPTER -o OUT.bin", ["pickle", "name a .safetensors file"]),
        ("merge BASE ADAPTER -o OUT.bin", ["pickle", "name a .safetensors file"]),
        ("merge BASE ADAPTER -o OUT.ckpt", ["pickle", "name a .safetensors file"]),
        ("strip Fixtures/strip/ptuning-mlp/unstripped -o OUT.pt", ["pickle", "name a .safetensors file"]),
        ("convert ADAPTER --to onnx -o OUT", ["--to onnx", "kohya"]),
        ("convert BASE --to mlx -o OUT", ["is a model and no adapter", "save_pretrained"]),
        ("convert Fixtures/dialects/kohya-lora/adapter --to peft -o OUT", ["underscores", "--base BASE"]),
        ("merge BASE Fixtures/negative/peft-type-unknown -o OUT", ["\"LORAX\"", "nearest that is known is LORA;"]),
        ("merge BASE Fixtures/negative/truncated -o OUT", ["100 bytes are missing", "fetch it again"]),
        ("merge BASE Fixtures/negative/overlap -o OUT", ["data_offsets", "again"]),
    ]

    @Test(arguments: errors.map(\.arguments)) func lineSaysWhatIsWrongAndWhatToDo(_ arguments: String) throws {
        let directory = try TemporaryDirectory()
        let files = FileManager.default
        try files.createSymbolicLink(
            atPath: directory.path("Fixtures"), withDestinationPath: "\(Fixtures.repository)/Fixtures")
        try files.createDirectory(atPath: directory.path("full"), withIntermediateDirectories: true)
        try TestFile.write("mine", to: directory.path("full/notes"))
        try TestFile.write("hi\n", to: directory.path("text"))
        let words = arguments.split(separator: " ").map { word in
            switch word {
            case "BASE": Self.base
            case "ADAPTER": Self.adapter
            case "OUT": "out"
            default: String(word)
            }
        }
        let result = try Tool.run(
            words, in: directory.path, environment: ["HF_HUB_CACHE": directory.path("hub"), "HF_HOME": directory.path("home")])
        #expect(result.status == 2 && result.output.isEmpty, "\(result.output)")
        let line = result.errors.dropLast()
        #expect(line.hasPrefix("peftfile: ") && result.errors.hasSuffix("\n") && !line.contains("\n"))
        // What is wrong, and behind a semicolon what to do about it.
        #expect(line.contains("; ") && !line.hasSuffix("."), "\(line)")
        #expect(!line.contains("Optional") && !line.contains("PeftfileError") && !line.contains("nil"), "\(line)")
        let plain = line.replacing(Self.base, with: "BASE").replacing(Self.adapter, with: "ADAPTER").lowercased()
        for word in try #require(Self.errors.first { $0.arguments == arguments }).words {
            #expect(plain.contains(word.lowercased()), "\(line)\nnames \(word)")
        }
        #expect(!files.fileExists(atPath: directory.path("out")))
    }
}
