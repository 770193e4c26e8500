import Foundation
import TestSupport
import Testing

/// The manual pages against the parser and against the documents that the commands print.
@Suite struct ManualTests {
    static let commands = ["inspect", "check", "merge", "strip", "verify", "diff", "convert"]

    // MARK: Options

    /// What `--experimental-dump-help` says, as far as it is used here.
    struct Dump: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String
        }
        struct Argument: Decodable {
            var kind: String
            var names: [Name]?
            var valueName: String?
            var defaultValue: String?
            var shouldDisplay: Bool
        }
        struct Command: Decodable {
            var commandName: String
            var arguments: [Argument]?
            var subcommands: [Command]?
        }
        var command: Command
    }

    static func parser() throws -> Dump.Command {
        let result = try Tool.run(["--experimental-dump-help"])
        return try JSONDecoder().decode(Dump.self, from: Data(result.output.utf8)).command
    }

    static func options(of command: Dump.Command) -> Set<ManualPage.Option> {
        Set(
            (command.arguments ?? []).filter { $0.kind != "positional" && $0.shouldDisplay }.map { argument in
                ManualPage.Option(
                    names: Set((argument.names ?? []).map { ($0.kind == "short" ? "-" : "--") + $0.name }),
                    value: argument.kind == "option" ? argument.valueName : nil)
            })
    }

    @Test func theProgramsOptionsAreDocumented() throws {
        let page = try ManualPage("peftfile")
        #expect(Set(page.options) == Self.options(of: try Self.parser()))
    }

    @Test(arguments: commands) func everyOptionIsDocumentedAndNoOther(_ name: String) throws {
        let page = try ManualPage("peftfile-\(name)")
        let command = try #require(try Self.parser().subcommands?.first { $0.commandName == name })
        let known = Self.options(of: command)
        let documented = Set(page.options)
        #expect(documented.count == page.options.count, "an option stands twice")
        #expect(known.subtracting(documented).isEmpty, "the parser knows, the page does not")
        #expect(documented.subtracting(known).isEmpty, "the page knows, the parser does not")
    }

    @Test(arguments: commands) func defaultsAreDocumented(_ name: String) throws {
        let page = try ManualPage("peftfile-\(name)")
        let command = try #require(try Self.parser().subcommands?.first { $0.commandName == name })
        for argument in command.arguments ?? [] where argument.kind == "option" {
            guard let value = argument.defaultValue, let option = argument.names?.last?.name else { continue }
            #expect(page.description(of: option).contains(value), "--\(option) is \(value) by default")
        }
    }

    @Test func everyCommandHasAPage() throws {
        let names = (try Self.parser().subcommands ?? []).map(\.commandName).filter { $0 != "help" }
        #expect(names == Self.commands)
        let index = try ManualPage("peftfile")
        for name in names {
            #expect(index.lines.contains(".It Cm \(name)"))
            #expect(index.section("SEE ALSO").contains { $0.hasPrefix(".Xr peftfile-\(name) 1") })
        }
    }

    @Test(arguments: ["peftfile"] + commands.map { "peftfile-\($0)" })
    func pagesHaveTheirSections(_ name: String) throws {
        let page = try ManualPage(name)
        let wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "JSON", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
        #expect(page.sections.filter { !["ENVIRONMENT", "FILES"].contains($0) } == wanted)
        for line in page.lines { #expect(line.count <= 100 && !line.hasSuffix(" "), "\(line)") }
    }

    // MARK: JSON

    /// All keys of a document, at every depth, but those that are data: metadata and config values.
    static func keys(of value: Any) -> Set<String> {
        if let object = value as? [String: Any] {
            var result = Set(object.keys)
            for (key, inner) in object where !["metadata", "value", "settings"].contains(key) { result.formUnion(keys(of: inner)) }
            return result
        }
        if let list = value as? [Any] { return list.reduce(into: []) { $0.formUnion(keys(of: $1)) } }
        return []
    }

    static func document(_ arguments: [String]) throws -> Set<String> {
        let result = try Tool.run(arguments)
        let text = result.output.isEmpty ? result.errors : result.output
        return keys(of: try JSONSerialization.jsonObject(with: Data(text.utf8)))
    }

    static let general: Set<String> = ["schema", "warnings"]

    @Test func inspectsKeysAreDocumented() throws {
        var keys = try Self.document(["inspect", "--json", "--stats", "Fixtures/merge/lora-r1/adapter"])
        keys.formUnion(try Self.document(["inspect", "--json", "Fixtures/strip/ptuning-lstm/unstripped"]))
        let r64 = "Fixtures/merge/lora-r64"
        keys.formUnion(try Self.document(["inspect", "--json", "--spectrum", "--base", "\(r64)/base", "\(r64)/adapter"]))
        keys.formUnion(try Self.document(["inspect", "--json", "--spectrum", "Fixtures/merge/hira/adapter"]))
        let directory = try TemporaryDirectory()
        let header = #"{"a.modulelist.down_proj.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#
        let bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
        let bottleneck = try directory.write(bytes + [0, 0, 0, 0], to: "bottleneck.safetensors")
        keys.formUnion(try Self.document(["inspect", "--json", bottleneck]))
        keys.formUnion(try Self.document(["inspect", "--json", "Fixtures/quantised/fp8-ct-tensor/base"]))
        #expect(keys.count > 40)
        #expect(try ManualPage("peftfile-inspect").jsonKeys == keys)
    }

    @Test func checksKeysAreDocumented() throws {
        var keys = try Self.document(["check", "--json", "Fixtures/negative/nan", "Fixtures/negative/trailing"])
        #expect(keys.count > 15)
        // An entry of `partial`, which updates of more than four million elements have: no fixture is that large.
        #expect(keys.contains("partial"))
        keys.insert("extent")
        #expect(try ManualPage("peftfile-check").jsonKeys == keys)
    }

    @Test func mergesKeysAreDocumented() throws {
        let directory = try TemporaryDirectory()
        func merge(_ name: String, _ options: [String] = []) throws -> Set<String> {
            try Self.document(
                ["merge", "--json", "Fixtures/merge/\(name)/base", "Fixtures/merge/\(name)/adapter", "-o",
                    directory.path(name)] + options)
        }
        var keys = try merge("lora-embedding-tied", ["--dry-run"])
        for name in ["lora-embedding-tied", "lora-monteclora", "lora-pissa"] { keys.formUnion(try merge(name)) }
        let quantised = "Fixtures/quantised/qlora-nf4"
        keys.formUnion(
            try Self.document(
                ["merge", "--json", "\(quantised)/base", "\(quantised)/adapter", "-o", directory.path("nf4"), "--base-as", "nf4"]))
        keys.formUnion(
            try Self.document(["merge", "--json", "Fixtures/states/bases/llama", "Fixtures/states/torch-lora/state", "-o", directory.path("state")]))
        keys.formUnion(try Self.document(try mergeFromTheHubsCache(in: directory)))
        #expect(keys.count > 40)
        #expect(try ManualPage("peftfile-merge").jsonKeys == keys)
    }

    /// A merge whose base is a snapshot, its weights a link to a blob.
    private func mergeFromTheHubsCache(in directory: TemporaryDirectory) throws -> [String] {
        let commit = String(repeating: "ab", count: 20)
        let repository = directory.path("hub/models--org--name")
        let fixture = Fixtures.path("merge/lora-r1")
        let files = FileManager.default
        try files.createDirectory(atPath: repository + "/snapshots", withIntermediateDirectories: true)
        try files.createDirectory(atPath: repository + "/blobs", withIntermediateDirectories: true)
        try files.copyItem(atPath: fixture + "/base", toPath: "\(repository)/snapshots/\(commit)")
        let blob = String(repeating: "cd", count: 32)
        let weights = "\(repository)/snapshots/\(commit)/model.safetensors"
        try files.moveItem(atPath: weights, toPath: "\(repository)/blobs/\(blob)")
        try files.createSymbolicLink(atPath: weights, withDestinationPath: "../../blobs/\(blob)")
        return ["merge", "--json", "\(repository)/snapshots/\(commit)", fixture + "/adapter", "-o", directory.path("from-hub")]
    }

    @Test func convertsKeysAreDocumented() throws {
        let directory = try TemporaryDirectory()
        var keys = try Self.document([
            "convert", "--json", "Fixtures/dialects/kohya-lora-with-te/adapter", "--to", "peft", "--base",
            "Fixtures/dialects/kohya-lora-with-te/base", "-o", directory.path("out"),
        ])
        keys.formUnion(try Self.document([
            "convert", "--json", "--dry-run", "Fixtures/dialects/kohya-lora-with-te/adapter", "--to", "peft", "--base",
            "Fixtures/dialects/kohya-lora-with-te/base", "-o", directory.path("none"),
        ]))
        #expect(keys.count > 8)
        // A container's conversion leaves a receipt, whose keys stand with those of a merge, but for these.
        let receipt = try Self.document([
            "convert", "--json", "Fixtures/containers/torch/files/benign_tied_same_tensor.bin", "-o", directory.path("tied.safetensors"),
        ])
        let own: Set = ["predicate", "dropped", "tensor", "kept"]
        #expect(receipt.isSuperset(of: own))
        keys.formUnion(own)
        #expect(try ManualPage("peftfile-convert").jsonKeys == keys)
    }

    @Test func stripsKeysAreDocumented() throws {
        let directory = try TemporaryDirectory()
        func strip(_ state: String, _ options: [String] = []) throws -> Set<String> {
            try Self.document(["strip", "--json", "Fixtures/strip/\(state)", "-o", directory.path("out")] + options)
        }
        var keys = try strip("ptuning-mlp/unstripped", ["--dry-run"])
        keys.formUnion(try strip("ptuning-mlp/unstripped"))
        keys.formUnion(try strip("ptuning-mlp/peft"))
        #expect(keys.count > 40)
        #expect(try ManualPage("peftfile-strip").jsonKeys == keys)
    }

    @Test func verifysKeysAreDocumented() throws {
        let directory = try TemporaryDirectory()
        let rows = "Fixtures/merge/trainable-tokens"
        _ = try Tool.run(["merge", "-q", "\(rows)/base", "\(rows)/adapter", "-o", directory.path("rows")])
        func verify(_ result: String, _ name: String, _ options: [String] = []) throws -> Set<String> {
            try Self.document(
                ["verify", "--json", result, "--base", "Fixtures/merge/\(name)/base", "--adapter",
                    "Fixtures/merge/\(name)/adapter"] + options)
        }
        // Wrong elements and probes; rows without a linear form; another dtype than expected.
        let base = "Fixtures/merge/lora-r1/base"
        var keys = try verify(base, "lora-r1").union(verify(directory.path("rows"), "trainable-tokens"))
            .union(verify(base, "lora-r1", ["--dtype", "f64"]))
        // A snapshot of the Hub's cache, of one link without its blob.
        let snapshot = directory.path("models--org--name/snapshots/" + String(repeating: "a", count: 40))
        try FileManager.default.createDirectory(atPath: snapshot, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: snapshot + "/config.json", withDestinationPath: "../../blobs/none")
        keys.formUnion(try Self.document(["verify", "--json", snapshot]))
        // An adapter in another dialect, held against one that it was not made from.
        let kohya = directory.path("kohya")
        _ = try Tool.run(["convert", "-q", "Fixtures/merge/lora-r1/adapter", "--to", "kohya", "-o", kohya])
        keys.formUnion(try Self.document(["verify", "--json", kohya, "--from", "Fixtures/merge/lora-rslora/adapter"]))
        #expect(keys.count > 25)
        #expect(try ManualPage("peftfile-verify").jsonKeys == keys)
    }

    @Test func diffsKeysAreDocumented() throws {
        let names = ["lora-linear-f32", "lora-linear-f32-abf16", "lora-rank-pattern", "lora-pissa"].map {
            "Fixtures/merge/\($0)/adapter"
        }
        // Other dtypes and shapes, modules in one adapter alone, and of another form; NaN; keys spelt otherwise.
        var keys = try Self.document(["diff", "--json", names[0], names[1]])
        keys.formUnion(try Self.document(["diff", "--json", names[2], names[3]]))
        for other in ["nan", "adapter-name-in-key"] {
            keys.formUnion(try Self.document(["diff", "--json", "Fixtures/negative/clean", "Fixtures/negative/\(other)"]))
        }
        #expect(keys.count > 50)
        #expect(try ManualPage("peftfile-diff").jsonKeys == keys)
    }

    @Test func errorsKeysAreDocumented() throws {
        let keys = try Self.document(["inspect", "--json", "Fixtures/nowhere"])
        #expect(try ManualPage("peftfile").jsonKeys == keys.union(Self.general))
    }

    @Test func everyErrorCodeIsDocumented() throws {
        let source = try TestFile.text("\(Fixtures.repository)/Sources/ByteAccess/PeftfileError.swift")
        let start = try #require(source.range(of: "enum Code"))
        let cases = source[start.upperBound...].prefix { $0 != "}" }.split(separator: "\n").compactMap { line in
            line.firstMatch(of: /^\s*case (\w+)(?: = "(\w+)")?$/).map { String($0.2 ?? $0.1) }
        }
        #expect(cases.count >= 9)
        let documented = try ManualPage("peftfile").section("JSON").filter { $0.hasPrefix(".Ql ") }
            .compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) }
        for code in cases { #expect(documented.contains(code), "\(code)") }
    }

    @Test func environmentIsDocumented() throws {
        let page = try ManualPage("peftfile").section("ENVIRONMENT")
        for name in ["PEFTFILE_CPU", "PEFTFILE_OPENBLAS"] { #expect(page.contains(".It Ev \(name)")) }
    }
}
