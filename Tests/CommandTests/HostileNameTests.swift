import Foundation
import TestSupport
import Testing

/// Names from outside through every command and every form of its output: nothing that drives a terminal comes out, on neither stream.
@Suite struct HostileNameTests {
    /// Colours, a new title, a line of its own, a deleted one, C1's CSI, and text that runs backwards.
    private static let evil = "\u{1B}[31mred\u{1B}]0;title\u{07}\r\nfake\u{7F}\u{9B}2J\u{202E}\u{2066}\u{2028}end"
    private static let escaped = "\\u001b[31mred\\u001b]0;title\\u0007\\r\\nfake\\u007f\\u009b2J\\u202e\\u2066\\u2028end"

    private static func container(_ names: [String], metadata: String = "") -> [UInt8] {
        let entries = names.enumerated().map { "\"\($1)\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[\(16 * $0),\(16 * $0 + 16)]}" }
        let header = Array("{\(metadata)\(entries.joined(separator: ","))}".utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        return length + header + (0..<(16 * names.count)).map { UInt8(truncatingIfNeeded: $0 % 4 == 3 ? 0x3F : $0 * 7) }
    }

    private static func isClean(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0x0A: true
            case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069: false
            default: true
            }
        }
    }

    @Test func nothingReachesATerminal() throws {
        let directory = try TemporaryDirectory()
        // In file names too; a slash and NUL are all that a system forbids.
        let folder = directory.path(Self.evil)
        for name in ["base", "adapter", "other"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        let metadata = "\"__metadata__\":{\"\(Self.escaped)\":\"\(Self.escaped)\"},"
        let weight = "model.\(Self.escaped).weight"
        let module = "base_model.model.model.\(Self.escaped)"
        try TestFile.write(Self.container([weight, "lone \(Self.escaped)"], metadata: metadata), to: "\(folder)/base/model.safetensors")
        try TestFile.write("{\"model_type\": \"\(Self.escaped)\", \"architectures\": [\"\(Self.escaped)\"]}", to: "\(folder)/base/config.json")
        try TestFile.write("x", to: "\(folder)/base/\(Self.evil).txt")
        try TestFile.write("x", to: "\(folder)/base/LICENSE\(Self.evil)")
        let config = """
            {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "\(Self.escaped)", "target_modules": ["\(Self.escaped)"],
            "alpha_pattern": {"\(Self.escaped)": 3}}
            """
        try TestFile.write(config, to: "\(folder)/adapter/adapter_config.json")
        try TestFile.write(
            Self.container([module + ".lora_A.weight", module + ".lora_B.weight"], metadata: metadata), to: "\(folder)/adapter/adapter_model.safetensors")
        // Keys that nobody knows, a type that is none, a name twice.
        try TestFile.write(
            config.replacing("LORA", with: Self.escaped).replacing("alpha_pattern", with: Self.escaped), to: "\(folder)/other/adapter_config.json")
        try TestFile.write(Self.container(["\(Self.escaped).x", Self.escaped]), to: "\(folder)/other/adapter_model.safetensors")
        try TestFile.write(Self.container([weight, weight]), to: directory.path("twice.safetensors"))
        try TestFile.write("{\"\(Self.escaped)\": 1, \"\(Self.escaped)\": 2}", to: directory.path("adapter_config.json"))

        let (base, adapter, other) = ("\(folder)/base", "\(folder)/adapter", "\(folder)/other")
        var commands: [[String]] = [
            ["inspect", base, adapter, other], ["inspect", base, "--tensors"], ["inspect", base, "--stats"], ["inspect", directory.path("twice.safetensors")],
            ["inspect", directory.path("absent" + Self.evil)], ["merge", base, adapter, "-o", directory.path("merged"), "--dry-run"],
            ["merge", base, adapter, "-o", directory.path("merged" + Self.evil)], ["verify", directory.path("merged" + Self.evil)],
            ["verify", base, "--base", base, "--adapter", adapter], ["merge", base, other, "-o", directory.path("no")],
            ["merge", adapter, "-o", directory.path("no")], ["diff", base, directory.path("merged" + Self.evil)], ["diff", adapter, other],
            ["diff", base, adapter], ["strip", adapter, "-o", directory.path("no")], ["strip", other, "-o", directory.path("no")],
            ["convert", adapter, "--to", Self.evil, "-o", directory.path("no")], ["convert", other, "--to", "kohya", "-o", directory.path("no")],
            ["convert", adapter, "--to", "kohya", "-o", directory.path("kohya" + Self.evil)], ["check", adapter, "--base", base], ["check", other, "--base", base],
            ["check", folder], [Self.evil], ["inspect", "--\(Self.evil)"], ["check", adapter, "--policy", directory.path("adapter_config.json")],
        ]
        for format in ["text", "json", "sarif", "junit", "github", "gitlab"] {
            commands += [["check", adapter, "--base", base, "--format", format], ["check", other, "--base", base, "--format", format]]
        }
        var spoken = 0
        for command in commands {
            for form in [[], ["--json"]] where form.isEmpty || !command.contains("--format") {
                // What was made before is in the way of nothing.
                for name in ["merged" + Self.evil, "kohya" + Self.evil] where command.contains("-o") && command.contains(directory.path(name)) {
                    try? FileManager.default.removeItem(atPath: directory.path(name))
                }
                let result = try Tool.run(command + form, in: directory.path)
                #expect(Self.isClean(result.output), "\(command + form)")
                #expect(Self.isClean(result.errors), "\(command + form)")
                #expect(result.status >= 0 && result.status <= 2, "\(command + form): \(result.status)")
                spoken += (result.output + result.errors).contains("red") ? 1 : 0
            }
        }
        // The names did come through.
        #expect(spoken > 40)
    }
}
