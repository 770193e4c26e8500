import Foundation
import TestSupport
import Testing

/// What a command says to do, it can be told: every option that a message names is one of the command's own, or of the
/// command that the message names with it.
@Suite struct OptionWordsTests {
    private static let verbs = ["inspect", "check", "merge", "strip", "verify", "diff", "convert"]

    /// The options of a command, from its own help.
    private static func options(of verb: String) throws -> Set<String> {
        let help = try Tool.run([verb, "--help"]).output
        return Set(help.matches(of: /--[a-z][a-z-]*/).map { String($0.output) })
    }

    /// Options that a text names, each with the command that stands before it in the same clause.
    static func named(in text: String, by verb: String) -> [(verb: String, option: String)] {
        var result: [(String, String)] = []
        for clause in text.split(whereSeparator: { ";\n".contains($0) }) {
            // Other programs have options of their own.
            if clause.contains(/\b(git|hf|python|pip|vLLM|save_pretrained|start it)\b/) { continue }
            for match in clause.matches(of: /(^|[\s(])(--[a-z][a-z-]*)/) {
                let before = clause[..<match.range.lowerBound]
                let words = before.split(separator: " ").map(String.init).filter(verbs.contains)
                result.append((words.last ?? verb, String(match.output.2)))
            }
        }
        return result
    }

    /// Adapters that something is wrong with, or open.
    private static let inputs: [String] = {
        let folders = ["Fixtures/negative", "Fixtures/dialects"]
        let found = folders.flatMap { folder in
            ((try? FileManager.default.contentsOfDirectory(atPath: "\(Fixtures.repository)/\(folder)").sorted()) ?? []).filter { !$0.contains(".") }.map { name in
                folder.hasSuffix("dialects") ? "\(folder)/\(name)/adapter" : "\(folder)/\(name)"
            }
        }
        let merges = ["lora-tied-mts", "lora-embedding-tied", "lora-rslora", "lora-alpha-pattern-rslora", "lora-pissa", "dora-linear-f32", "refuse-poly", "loha-linear"]
        return found + merges.map { "Fixtures/merge/\($0)/adapter" }
    }()

    private static let commands = [
        "inspect IN", "check IN", "check IN --base BASE", "convert IN --to peft -o OUT", "convert IN --to gguf -o OUT",
        "convert IN --to mlx --base BASE -o OUT", "convert IN --to peft --for llama.cpp -o OUT", "convert IN -o OUT", "diff IN IN",
        "merge BASE IN -o OUT", "strip IN -o OUT", "verify IN", "verify BASE --base BASE --adapter IN",
    ]

    @Test(arguments: commands) func optionsThatAreNamedExist(_ command: String) throws {
        let directory = try TemporaryDirectory()
        var inputs = Self.inputs
        for (name, tensors) in Self.open {
            let path = directory.path("\(name).safetensors")
            try SafetensorsText.write(tensors, to: path)
            inputs.append(path)
        }
        let own = try Dictionary(uniqueKeysWithValues: Self.verbs.map { ($0, try Self.options(of: $0)) })
        let verb = String(command.prefix { $0 != " " })
        for input in inputs {
            let arguments = command.split(separator: " ").map { word in
                switch word {
                case "IN": input
                case "BASE": "Fixtures/merge/lora-sharded-bf16/base"
                case "OUT": directory.path("out-\(input.count)-\(input.hashValue.magnitude)")
                default: String(word)
                }
            }
            let result = try Tool.run(arguments)
            for (named, option) in Self.named(in: result.errors + result.output, by: verb) {
                #expect(own[named]?.contains(option) == true, "\(arguments.joined(separator: " ")): \(named) has no \(option): \(result.errors)\(result.output)")
            }
        }
    }

    /// Files that leave something open, by name and shapes.
    private static let open: [(String, [(String, [Int])])] = [
        ("loralib", [("h.0.attn.c_attn.lora_A", [4, 6]), ("h.0.attn.c_attn.lora_B", [12, 2])]),
        ("bare", [("h.0.q.lora_A", [2, 6]), ("h.0.q.lora_B", [4, 2])]),
        ("torchtune", [("layers.0.attn.q_proj.lora_a.weight", [2, 8]), ("layers.0.attn.q_proj.lora_b.weight", [8, 2])]),
        ("mlx", [("layers.0.q.lora_a", [8, 2]), ("layers.0.q.lora_b", [2, 8])]),
        ("encoders", [("lora_te1_a.lora_down.weight", [2, 6]), ("lora_te1_a.lora_up.weight", [4, 2]), ("lora_te2_a.lora_down.weight", [2, 6]), ("lora_te2_a.lora_up.weight", [4, 2])]),
    ]

    @Test func clausesAreReadAsPeopleReadThem() {
        let text = "x; give --scale; or peftfile merge A B -o OUT --tie keep; with git -C d lfs pull --include f"
        #expect(Self.named(in: text, by: "check").map { "\($0.verb) \($0.option)" } == ["check --scale", "merge --tie"])
    }
}

/// Safetensors files of zeros.
private enum SafetensorsText {
    static func write(_ tensors: [(String, [Int])], to path: String) throws {
        var entries: [String] = []
        var end = 0
        for (name, shape) in tensors {
            let begin = end
            end += 4 * shape.reduce(1, *)
            entries.append("\"\(name)\":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}")
        }
        let header = Array("{\(entries.joined(separator: ","))}".utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        try TestFile.write(length + header + [UInt8](repeating: 0, count: end), to: path)
    }
}
