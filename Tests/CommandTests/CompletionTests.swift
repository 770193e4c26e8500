import Foundation
import TestSupport
import Testing

/// What a shell offers after a TAB, asked of the shell itself.
@Suite struct CompletionTests {
    /// What bash offers for the last of the words.
    private func offers(_ words: [String], in directory: String = ".") throws -> [String] {
        let folder = try TemporaryDirectory()
        let script = folder.path("completion.bash")
        try TestFile.write(Tool.run(["--generate-completion-script", "bash"]).output, to: script)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.arguments = [
            "-c",
            """
            source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
            _peftfile peftfile "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\\n' "${COMPREPLY[@]}"
            """, script,
        ] + words
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init).sorted()
    }

    /// Every place where a path is typed takes one from the directory.
    @Test(arguments: [
        ["inspect"], ["inspect", "--base"], ["inspect", "one", "--base", "two", "--spectrum"], ["check"], ["check", "--base"], ["check", "--policy"],
        ["check", "--baseline"], ["check", "--write-baseline"], ["merge"], ["merge", "base"], ["merge", "base", "one", "two"], ["merge", "base", "one", "-o"],
        ["merge", "--output"], ["strip"], ["strip", "--base"], ["strip", "one", "-o"], ["verify"], ["verify", "--base"], ["verify", "one", "--adapter"],
        ["verify", "one", "--from"], ["diff"], ["diff", "one"], ["diff", "one", "two", "--base"], ["convert"], ["convert", "one", "-o"],
        ["convert", "one", "--base"], ["fuse"], ["fuse", "base", "one", "-o"], ["info"], ["ls", "--base"],
    ])
    func pathsAreOffered(_ words: [String]) throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.path("adapter"), withIntermediateDirectories: true)
        try TestFile.write("{}", to: directory.path("adapter-2.safetensors"))
        try TestFile.write("{}", to: directory.path("other"))
        #expect(try offers(["peftfile"] + words + ["adap"], in: directory.path) == ["adapter", "adapter-2.safetensors"])
    }

    @Test(arguments: [
        (["merge", "--tie"], ["break", "keep"]), (["merge", "--dtype"], ["bf16", "f16", "f32", "f64", "q8_0"]),
        (["check", "--target"], ["llama.cpp", "mlx", "transformers", "vllm"]), (["check", "--fail-on"], ["error", "note", "warning"]),
        (["check", "--format"], ["github", "gitlab", "json", "json-lines", "junit", "sarif", "text"]),
        (["convert", "--to"], ["diffusers", "gguf", "kohya", "mlx", "peft", "safetensors"]), (["convert", "--for"], ["llama.cpp", "mlx", "vllm"]),
        (["strip", "--layout"], ["peft", "source"]), (["inspect", "--orientation"], ["in-out", "out-in"]), (["merge", "--task"], []),
        ([], ["--help", "--version", "-h", "check", "convert", "diff", "fuse", "help", "info", "inspect", "ls", "merge", "strip", "verify"]),
        (["fuse", "--tie"], ["break", "keep"]), (["ls", "--orientation"], ["in-out", "out-in"]), (["help", "nu"], ["numerics"]),
    ] as [([String], [String])])
    func choicesAreOffered(_ words: [String], _ expected: [String]) throws {
        #expect(try offers(["peftfile"] + words + (words.first == "help" ? [] : [""])) == expected)
    }

    /// `help` explains every command and every topic, and each of them is one that it knows.
    @Test func topicsAreOffered() throws {
        let words = try offers(["peftfile", "help", ""]).filter { !$0.hasPrefix("-") }
        #expect(["merge", "numerics", "exit-status", "formats", "environment", "topics"].allSatisfy(words.contains))
        for word in words { #expect(try Tool.run(["help", word]).status == 0, "\(word)") }
    }

    /// A second name takes the options of its command; the scripts are sound and say nothing twice.
    @Test(arguments: ["bash", "zsh", "fish"]) func secondNamesAreCommands(_ shell: String) throws {
        let script = try Tool.run(["--generate-completion-script", shell]).output
        #expect(try Tool.run(["--generate-completion-script=\(shell)"]).output == script)
        func lines(_ verb: String) -> [String] {
            let head = shell == "fish" ? "\"peftfile \(verb)" : "_peftfile_\(verb)() {"
            guard shell != "fish" else { return script.split(separator: "\n").filter { $0.contains(head + "\"") || $0.contains(head + " ") }.map(String.init) }
            return script.components(separatedBy: head).last?.components(separatedBy: "\n}\n").first?.split(separator: "\n").map(String.init) ?? []
        }
        for (name, verb) in [("fuse", "merge"), ("info", "inspect"), ("ls", "inspect")] {
            let own = lines(name).map { $0.replacing("peftfile \(name)", with: "peftfile \(verb)") }
            #expect(own == lines(verb) && own.count > 5, "\(name)")
        }
        #expect(!script.contains("Show subcommand help information") && !script.contains("help help"))
        #expect(script.contains("numerics"))
        let path = try TemporaryDirectory()
        try TestFile.write(script, to: path.path("script"))
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/\(shell)") else { return }
        let process = try Process.run(URL(filePath: "/usr/bin/\(shell)"), arguments: ["-n", path.path("script")])
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    /// A choice that is offered is one that the command takes.
    @Test func whatIsOfferedIsTaken() throws {
        let path = Fixtures.path("negative/clean")
        for form in try offers(["peftfile", "check", "--format", ""]) {
            #expect(try Tool.run(["check", path, "--format", form]).status == 0, "\(form)")
        }
        for order in try offers(["peftfile", "diff", "--sort", ""]) {
            #expect(try Tool.run(["diff", path, path, "--sort", order]).status == 0, "\(order)")
        }
    }
}
