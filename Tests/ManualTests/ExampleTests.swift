import Foundation
import TestSupport
import Testing

/// The EXAMPLES of the manual are typed as they stand, from top to bottom, where their words are fixtures.
@Suite struct ExampleTests {
    /// What the words of a page stand for: a fixture, or the result of a merge that was made before.
    static let scenes: [String: [String: String]] = [
        "peftfile": ["base": lora + "base", "adapter": lora + "adapter"],
        "peftfile-inspect": ["adapter": lora + "adapter", "base": lora + "base", "model": lora + "base"],
        "peftfile-check": [
            "adapter": lora + "adapter", "base": lora + "base", "output": lora, "loras": lora, "policy.yml": "check-policy.yml",
        ],
        "peftfile-merge": [
            "base": lora + "base", "adapter": lora + "adapter", "style": lora + "adapter", "subject": lora + "adapter",
            "base.safetensors": merged, "factors.safetensors": merged,
        ],
        "peftfile-strip": [
            "state": "strip/ptuning-mlp/unstripped", "checkpoint": "strip/chatglm-prefix-encoder/unstripped",
            "chatglm": merged, "multitask": "strip/multitask/unstripped",
        ],
        "peftfile-verify": [
            "base": lora + "base", "adapter": lora + "adapter", "merged": merged, "other": merged,
            "state": "strip/ptuning-mlp/unstripped",
        ],
        "peftfile-diff": [
            "base": lora + "base", "old": lora + "base", "new": merged, "merged": merged, "adapter": lora + "adapter",
            "refactored": lora + "adapter",
        ],
        "peftfile-convert": [
            "adapter": lora + "adapter", "base": lora + "base", "lora.safetensors": "dialects/kohya-lora/adapter", "unet": "dialects/kohya-lora/base",
            "checkpoint-500": lora + "adapter", "model": lora + "base", "model-gptq": "quantised/gptq-4bit-g128/base",
            "pytorch_model.bin": "containers/torch/files/benign_module_state_dict.bin",
        ],
    ]
    static let lora = "merge/lora-sharded-bf16/"
    /// Made by ``Scene``, not a fixture.
    static let merged = ""

    /// The commands of a page's examples, without what follows a pipe.
    static func commands(_ page: ManualPage) -> [[String]] {
        var commands: [[String]] = []
        var isLiteral = false
        var line = ""
        for text in page.section("EXAMPLES") {
            if text.hasPrefix(".Bd") || text.hasPrefix(".Ed") {
                isLiteral = text.hasPrefix(".Bd")
                continue
            }
            guard isLiteral else { continue }
            line += text.hasSuffix("\\e") ? text.dropLast(2) : text[...]
            if text.hasSuffix("\\e") || text.hasSuffix("|") { continue }
            commands.append(words(line))
            line = ""
        }
        return commands
    }

    /// The words of a command up to the first pipe or `||`, single quotes taken off.
    static func words(_ line: String) -> [String] {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        for character in line {
            switch character {
            case "'": isQuoted.toggle(); word = word ?? ""
            case " " where !isQuoted:
                if let finished = word { words.append(finished) }
                word = nil
            case "|" where !isQuoted: return words
            default: word = (word ?? "") + String(character)
            }
        }
        return words + (word.map { [$0] } ?? [])
    }

    @Test func everyPageHasAScene() throws {
        let pages = try FileManager.default.contentsOfDirectory(atPath: "\(Fixtures.repository)/man").filter { $0.hasSuffix(".1") }
        #expect(Set(pages) == Set(Self.scenes.keys.map { "\($0).1" }))
    }

    @Test(arguments: scenes.keys.sorted()) func examplesRun(_ name: String) throws {
        let page = try ManualPage(name)
        let commands = Self.commands(page)
        #expect(commands.count >= 2, "a page shows more than one thing")
        let directory = try TemporaryDirectory()
        let results = try Results()
        let scene = try #require(Self.scenes[name]).map { word, fixture in
            (word: word, target: try fixture.isEmpty ? results.path(for: word) : Fixtures.path(fixture))
        }
        func link(_ word: String, _ target: String) throws {
            try FileManager.default.createSymbolicLink(atPath: directory.path(word), withDestinationPath: target)
        }
        for (word, target) in scene { try link(word, target) }
        for command in commands {
            guard command.first == "peftfile" else {
                Issue.record("\(name): nobody runs \(command)")
                continue
            }
            // An output of the example before is not in the way of this one.
            if let flag = command.firstIndex(of: "-o") { try? FileManager.default.removeItem(atPath: directory.path(command[flag + 1])) }
            let result = try Tool.run(Array(command.dropFirst()), in: directory.path)
            let line = command.joined(separator: " ")
            #expect(result.status == 0 || result.status == 1, "\(line): \(result.errors)")
            // An output under the name of an input gives way to it again.
            if let flag = command.firstIndex(of: "-o"), let (word, target) = scene.first(where: { $0.word == command[flag + 1] }) {
                try? FileManager.default.removeItem(atPath: directory.path(word))
                try link(word, target)
            }
        }
    }

    /// What examples read and no fixture is: a merged model, a base and factors in one file each, a ChatGLM base.
    struct Results {
        let directory: TemporaryDirectory

        init() throws { directory = try TemporaryDirectory() }

        func path(for word: String) throws -> String {
            let path = directory.path(word)
            switch word {
            case "base.safetensors": return try tensors(["layer.weight": [6, 4]], at: word)
            case "factors.safetensors": return try tensors(["layer.lora_A": [6, 2], "layer.lora_B": [2, 4]], at: word)
            case "chatglm":
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                try TestFile.write(
                    #"{"model_type":"chatglm","num_layers":3,"num_attention_heads":4,"hidden_size":48,"multi_query_attention":true,"multi_query_group_num":2,"kv_channels":12}"#,
                    to: path + "/config.json")
            default:
                let result = try Tool.run([
                    "merge", "-q", Fixtures.path(lora + "base"), Fixtures.path(lora + "adapter"), "-o", path,
                ])
                #expect(result.status == 0, "\(result.errors)")
            }
            return path
        }

        /// A safetensors file of F32 zeros.
        private func tensors(_ shapes: KeyValuePairs<String, [Int]>, at name: String) throws -> String {
            var end = 0
            let entries = shapes.map { name, shape in
                let begin = end
                end += 4 * shape.reduce(1, *)
                return #""\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
            }
            let header = "{" + entries.joined(separator: ",") + "}"
            let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
            try directory.write(length + Array(header.utf8) + [UInt8](repeating: 0, count: end), to: name)
            return directory.path(name)
        }
    }
}
