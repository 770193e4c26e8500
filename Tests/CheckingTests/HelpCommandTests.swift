import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// The command at the end of a finding's help does get further: it is run as it is printed, on a copy, and ends well;
/// and where it mends the adapter, what is mended no longer has the finding.
@Suite struct HelpCommandTests {
    /// The command, as a shell takes it; nil where the help has none.
    static func command(_ help: String) -> String? {
        for start in ["peftfile ", "rm ", "mv ", "truncate "] {
            for range in help.ranges(of: start) where range.lowerBound == help.startIndex || help[..<range.lowerBound].hasSuffix(": ") {
                return String(help[range.lowerBound...])
            }
        }
        return nil
    }

    /// Runs a command line with `peftfile` being the tool that was built.
    static func shell(_ line: String, in directory: String) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", "peftfile() { \"$PEFTFILE\" \"$@\"; }; \(line)"]
        process.currentDirectoryURL = URL(filePath: directory)
        process.environment = ProcessInfo.processInfo.environment.merging(["PEFTFILE": Tool.path]) { _, new in new }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// Runs every command of every finding, each on a fresh copy.
    static func runCommands(of make: (String) throws -> RuleFixtureTests.Subject) throws -> [String] {
        var found: [String] = []
        let first = try TemporaryDirectory()
        for help in Set(try RuleFixtureTests.check(make(first.path("adapter"))).findings.compactMap(\.help)).sorted() {
            guard command(help) != nil else { continue }
            let folder = try TemporaryDirectory()
            let subject = try make(folder.path("adapter"))
            // The same finding of the copy, whose command names the copy.
            let moved = help.replacing(first.path("adapter"), with: folder.path("adapter"))
            guard let finding = try RuleFixtureTests.check(subject).findings.first(where: { $0.help == moved }),
                let line = command(moved)
            else {
                Issue.record("no such help of the copy: \(moved)")
                continue
            }
            let work = folder.path("work")
            try FileManager.default.createDirectory(atPath: work, withIntermediateDirectories: true)
            #expect(try shell(line, in: work) == 0, "\(finding.rule): \(line)")
            found.append(finding.rule)
            // What mends, mends.
            var mended = subject
            if line.hasPrefix("peftfile convert") { mended.path = "\(work)/converted" }
            else if line.hasPrefix("peftfile") { continue }
            #expect(try !RuleFixtureTests.check(mended).findings.contains { $0.rule == finding.rule && $0.file == finding.file }, "\(line)")
        }
        return found
    }

    @Test(arguments: NegativeFixtureTests.cases) func theCommandsOfADefectRun(_ item: NegativeFixtureTests.Case) throws {
        let rules = try Self.runCommands { directory in
            try FileManager.default.copyItem(atPath: item.path, toPath: directory)
            return RuleFixtureTests.Subject(path: directory, base: Fixtures.path("negative/base"))
        }
        // What can be mended or shown by this tool has its command.
        let mendable: Set = [
            "adapter-name-in-key", "prefix-doubled", "prefix-missing", "pickle", "nonfinite", "untrained", "missing-pair",
            "rank-mismatch", "transposed", "unexpected-keys", "missing-module", "trailing-bytes", "peft-type-mismatch",
        ]
        if let code = item.code, mendable.contains(code) { #expect(rules.contains(code)) }
    }

    @Test(arguments: RuleFixtureTests.makers.keys.sorted()) func theCommandsOfARuleRun(_ rule: String) throws {
        let make = try #require(RuleFixtureTests.makers[rule])
        _ = try Self.runCommands { try make($0, true) }
    }

    /// What is packed under the name of what it holds is unpacked into its place.
    @Test func aPackedFileIsUnpackedInPlace() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("an adapter")
        try FileManager.default.copyItem(atPath: Fixtures.path("merge/lora-linear-f32/adapter"), toPath: path)
        #expect(try Self.shell("gzip 'an adapter/adapter_model.safetensors' && mv 'an adapter/adapter_model.safetensors.gz' 'an adapter/adapter_model.safetensors'", in: folder.path("")) == 0)
        let help = try #require(try Checker().check(path).findings.compactMap(\.help).first { $0.hasPrefix("unpack it first: ") })
        #expect(try Self.shell(String(help.dropFirst("unpack it first: ".count)), in: folder.path("")) == 0)
        #expect(try Checker().check(path).findings.filter { $0.severity == .error } == [])
    }
}
