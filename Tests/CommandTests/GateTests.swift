import ByteAccess
import Foundation
#if canImport(FoundationXML)
import FoundationXML
#endif
import TestSupport
import Testing

/// `check` as CI calls it: reports to several places, files that must stay, hooks and the action.
@Suite struct GateTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func adapter(_ name: String, as copy: String = "adapter") throws -> String {
        let target = directory.path(copy)
        try FileManager.default.copyItem(atPath: Fixtures.path("negative/\(name)"), toPath: target)
        return target
    }

    // MARK: Reports

    @Test func oneReadGivesEveryForm() throws {
        let names = ["json", "json-lines", "sarif", "junit", "gitlab", "text"]
        let formats = names.flatMap { ["--format", "\($0)=\(directory.path($0))"] }
        let result = try Tool.run(["check", "Fixtures/negative/nan", "Fixtures/negative/clean", "--format", "github"] + formats)
        #expect(result.status == 1 && result.output.hasPrefix("::error file=Fixtures/negative/nan/adapter_model.safetensors,"))
        for name in names {
            let bytes = try TestFile.bytes(directory.path(name))
            #expect(String(decoding: bytes, as: UTF8.self).contains("nonfinite"), "\(name)")
            if ["json", "sarif", "gitlab"].contains(name) { _ = try JSONSerialization.jsonObject(with: Data(bytes)) }
            if name == "junit" { #expect(XMLParser(data: Data(bytes)).parse()) }
        }
        let lines = try TestFile.text(directory.path("json-lines")).split(separator: "\n")
        let verdicts = try lines.map {
            (try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["verdict"] as? String
        }
        #expect(verdicts == ["fail", "pass"])
    }

    /// What is read is not written over: byte for byte as before, and exit 2.
    @Test func inputsStayAsTheyAre() throws {
        let adapter = try adapter("nan")
        let policy = try directory.write("max-rank: 8\n", to: "policy.yml")
        let known = directory.path("known.json")
        #expect(try Tool.run(["check", adapter, "--write-baseline", known]).status == 0)
        let link = directory.path("link.json")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: policy)
        for target in ["\(adapter)/adapter_model.safetensors", "\(adapter)/adapter_config.json", policy, known, link] {
            let before = try TestFile.bytes(target)
            for option in [["--format", "sarif=\(target)"], ["--write-baseline", target]] where target != known || option[0] == "--format" {
                let result = try Tool.run(["check", adapter, "--policy", policy, "--baseline", known] + option)
                #expect(result.status == 2 && result.output.isEmpty && result.errors.contains("[OutputIsInput]"), "\(target)")
                #expect(try TestFile.bytes(target) == before)
            }
        }
        // A report beside the adapter may be written again where asked, and a baseline in its own place.
        for _ in 0..<2 {
            let report = try Tool.run(["check", ".", "--format", "sarif=out.sarif", "--format", "json=report.json", "--force"], in: adapter)
            #expect(report.status == 1 && report.errors.isEmpty)
        }
        #expect(try Tool.run(["check", adapter, "--baseline", known, "--write-baseline", known]).status == 0)
    }

    /// What is there stays without `--force`, links and the Hub's cache with it, and then nothing is judged.
    @Test func whatIsThereStays() throws {
        let file = try directory.write("mine", to: "mine.json")
        let link = directory.path("link.json")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
        try FileManager.default.createSymbolicLink(atPath: directory.path("nowhere.json"), withDestinationPath: directory.path("none"))
        try FileManager.default.createDirectory(atPath: directory.path("hub"), withIntermediateDirectories: true)
        let cases = [("mine.json", [], "exists already"), ("link.json", ["--force"], "[OutputIsLink]"), ("nowhere.json", ["-f"], "[OutputIsLink]"),
            ("hub/out.json", ["--force"], "[HubCacheOutput]")]
        for (name, force, words) in cases {
            for option in [["--format", "json=\(directory.path(name))"], ["--write-baseline", directory.path(name)]] {
                let result = try Tool.run(
                    ["check", "Fixtures/negative/clean"] + option + force, environment: ["HF_HUB_CACHE": directory.path("hub")])
                #expect(result.status == 2 && result.output.isEmpty && result.errors.contains(words), "\(name) \(result.errors)")
            }
        }
        #expect(try TestFile.text(file) == "mine")
        #expect(try directory.names() == ["hub", "link.json", "mine.json", "nowhere.json"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path("hub")).isEmpty)
        for option in [["--format", "json=\(file)"], ["--write-baseline", file]] {
            #expect(try Tool.run(["check", "Fixtures/negative/clean", "-f"] + option).status == 0)
            #expect(try TestFile.text(file).contains(option[0] == "--format" ? "peftfile.check" : "peftfile.baseline"))
        }
    }

    @Test func whatCannotBeWrittenIsTrouble() throws {
        for place in [directory.path("no/such/directory/x"), directory.path, "/dev/full"] {
            let result = try Tool.run(["check", "Fixtures/negative/clean", "--format", "json=\(place)"])
            #expect(result.status == 2 && result.output.contains("pass") && result.errors.contains(place.split(separator: "/").last!))
        }
        #expect(try Tool.run(["check", "Fixtures/negative/clean", "--format", "json=/dev/null"]).status == 0)
        let two = [["--json", "--json-lines"], ["--format", "sarif", "--format", "text"], ["--format", "json=x", "--format", "text=./x"]]
        for options in two { #expect(try Tool.run(["check", "Fixtures/negative/clean"] + options, in: directory.path).status == 2) }
    }

    /// The same fingerprints wherever the checkout lies and wherever the command is run.
    @Test func fingerprintsDoNotDependOnTheMachine() throws {
        func prints(_ arguments: [String], in folder: String) throws -> [String] {
            let result = try Tool.run(["check", "--format", "sarif"] + arguments, in: folder)
            let text = result.output
            return text.matches(of: /"peftfileFinding\/v1": "([0-9a-f]{64})"/).map { String($0.1) }
        }
        for name in ["one", "two/deep"] {
            try FileManager.default.createDirectory(atPath: directory.path(name), withIntermediateDirectories: true)
            _ = try adapter("untrained", as: "\(name)/a")
        }
        let here = try prints(["a"], in: directory.path("one"))
        #expect(!here.isEmpty)
        #expect(try prints(["a"], in: directory.path("two/deep")) == here)
        #expect(try prints([directory.path("one/a")], in: directory.path("one")) == here)
        #expect(try prints([directory.path("one/a")], in: directory.path("two")) == here)
        #expect(try prints(["./a/"], in: directory.path("one")) == here)
    }

    // MARK: Settings

    /// libyaml is opened for YAML and for nothing else.
    @Test func onlyYAMLOpensLibyaml() throws {
        let json = try directory.write("{\"max-rank\": 64}", to: "policy.json")
        let yaml = try directory.write("max-rank: 64", to: "policy.yml")
        func libraries(_ arguments: [String]) throws -> String {
            let result = try Tool.run(arguments, environment: ["LD_DEBUG": "files"])
            #expect(result.status == 0)
            return result.errors
        }
        let clean = "Fixtures/negative/clean"
        for call in [["check", clean], ["check", clean, "--policy", json], ["inspect", clean], ["diff", clean, clean], ["--version"]] {
            let trace = try libraries(call)
            #expect(trace.contains("libc.so") && !trace.contains("libyaml"), "\(call)")
        }
        #expect(try libraries(["check", clean, "--policy", yaml]).contains("libyaml"))
    }

    @Test func unreadableSettingsAreTrouble() throws {
        let policy = try directory.write("max-rank: 64\nmax_size: 5\n", to: "policy.yml")
        let wrong = try Tool.run(["check", "Fixtures/negative/clean", "--policy", policy])
        #expect(wrong.status == 2 && wrong.output.isEmpty && wrong.errors.contains("line 2: \"max_size\" is no key here"))
        for option in ["--policy", "--baseline"] {
            let missing = try Tool.run(["check", "Fixtures/negative/clean", option, directory.path("nowhere")])
            #expect(missing.status == 2 && missing.output.isEmpty && missing.errors.contains("does not exist"))
        }
    }

    // MARK: Hooks and action

    private func settings(_ name: String) throws -> JSONValue { try LocatedDocument(path: "\(Fixtures.repository)/\(name)").value }

    private func options(in text: String) -> Set<String> {
        Set(text.matches(of: /(?:^|[\s("])(--[a-z][a-z-]*)/).map { String($0.1) })
    }

    @Test func hooksCallWhatThereIs() throws {
        let hooks = try #require(try settings(".pre-commit-hooks.yaml").arrayValue)
        #expect(hooks.compactMap { $0["id"]?.stringValue } == ["peftfile-check", "peftfile-check-system"])
        #expect(hooks.compactMap { $0["language"]?.stringValue } == ["swift", "system"])
        for hook in hooks {
            // pre-commit runs the entry's words with the names of changed files behind them.
            let words = try #require(hook["entry"]?.stringValue).split(separator: " ").map(String.init)
            #expect(words.first == "peftfile")
            let pattern = try NSRegularExpression(pattern: try #require(hook["files"]?.stringValue))
            let changed = ["adapter_config.json", "adapter_model.safetensors"].map { "Fixtures/negative/nan/\($0)" }
            for name in changed + ["adapter_config.json", "a/adapter_model.bin", "mlx/adapters.safetensors"] {
                #expect(pattern.firstMatch(in: name, range: NSRange(name.startIndex..., in: name)) != nil, "\(name)")
            }
            for name in ["config.json", "model.safetensors", "xadapter_config.json", "adapter_config.json.bak"] {
                #expect(pattern.firstMatch(in: name, range: NSRange(name.startIndex..., in: name)) == nil, "\(name)")
            }
            let bad = try Tool.run(words.dropFirst() + changed)
            #expect(bad.status == 1 && bad.output.contains("nonfinite"))
            #expect(try Tool.run(words.dropFirst() + changed.map { $0.replacing("nan", with: "clean") }).status == 0)
        }
    }

    @Test func theActionRuns() throws {
        let action = try settings("action.yml")
        let step = try #require(action["runs"]?["steps"]?.arrayValue?.first)
        let script = try #require(step["run"]?.stringValue)
        // The flags are those of the parser, beside those of swift build.
        let help = options(in: try Tool.run(["check", "--help"]).output)
        let used = options(in: script).subtracting(["--package-path", "--product"])
        #expect(used.count >= 4 && used.isSubset(of: help), "\(used.subtracting(help))")
        // Nothing of an input is pasted into the script.
        #expect(!script.contains("${{"))
        let inputs = Set(try #require(action["inputs"]?.objectValue).keys.map(\.text))
        let read = Set(try #require(step["env"]?.objectValue).members.compactMap { member in
            member.value.stringValue?.firstMatch(of: /inputs\.([a-z-]+)/).map { String($0.1) }
        })
        #expect(inputs == read)

        func run(_ environment: [String: String]) throws -> (output: String, status: Int32, written: String) {
            let process = Process()
            process.executableURL = URL(filePath: "/bin/bash")
            process.arguments = ["-c", script]
            process.currentDirectoryURL = URL(filePath: Fixtures.repository)
            let output = try directory.write("", to: "output")
            let defaults = [
                "ADAPTERS": ".", "BASE": "", "POLICY": "", "BASELINE": "", "FAIL_ON": "error", "SARIF": "", "JUNIT": "",
                "PEFTFILE": Tool.path, "SOURCE": Fixtures.repository, "GITHUB_OUTPUT": output,
            ]
            process.environment = ProcessInfo.processInfo.environment.merging(defaults) { $1 }.merging(environment) { $1 }
            let log = try directory.write("", to: "log")
            let handle = try FileHandle(forWritingTo: URL(filePath: log))
            process.standardOutput = handle
            process.standardError = handle
            try process.run()
            process.waitUntilExit()
            return (try TestFile.text(log), process.terminationStatus, try TestFile.text(output))
        }

        let clean = try run(["ADAPTERS": "Fixtures/negative/clean\n\nFixtures/negative/clean-f16\n", "FAIL_ON": "warning"])
        #expect(clean.status == 0 && clean.written == "status=0\n" && clean.output.contains("2 checked, 0 failed"))
        let sarif = directory.path("out.sarif")
        let bad = try run([
            "ADAPTERS": "Fixtures/negative/nan", "BASE": "Fixtures/negative/base", "SARIF": sarif, "JUNIT": directory.path("out.xml"),
            "POLICY": "Fixtures/check-policy.yml",
        ])
        #expect(bad.status == 1 && bad.written == "status=1\n" && bad.output.hasPrefix("::error file="))
        #expect(try TestFile.text(sarif).contains("\"2.1.0\""))
        let trouble = try run(["ADAPTERS": "--help", "PEFTFILE": Tool.path])
        #expect(trouble.status == 2 && trouble.written == "status=2\n")
        let owned = try run(["ADAPTERS": "$(touch \(directory.path("owned")))"])
        #expect(owned.status == 2 && !FileManager.default.fileExists(atPath: directory.path("owned")))
    }
}
