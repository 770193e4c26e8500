import ByteAccess
@testable import Checking
import Foundation
import TestSupport
import Testing

/// An adapter that was never read does not pass, whatever a policy or a baseline makes of the finding that says so.
@Suite struct UnreadTests {
    static let rules: Set<String> = [
        "lfs-pointer", "not-safetensors", "truncated", "trailing-bytes", "header-invalid", "config-invalid", "config-missing",
        "peft-type-missing", "peft-type-unknown",
    ]
    static let cases = NegativeFixtureTests.cases.filter { rules.contains($0.code ?? "") }

    @Test func everyRuleHasACase() { #expect(Set(Self.cases.compactMap(\.code)) == Self.rules) }

    private func report(_ path: String, _ policy: String) throws -> CheckReport {
        let policy = try CheckPolicy(LocatedDocument(Array(policy.utf8), file: "p.yml"))
        return try Checker(options: CheckOptions(policy: policy, jobs: 2)).check([path])
    }

    @Test(arguments: cases, ["off", "note", "warning"])
    func aPolicyDoesNotLetItPass(_ item: NegativeFixtureTests.Case, _ level: String) throws {
        let code = try #require(item.code)
        let report = try report(item.path, "rules: {\(code): \(level)}")
        #expect(report.subjects[0].verdict(failOn: .error) == .inconclusive && !report.isClean, "\(report.subjects[0])")
        // The questions of other rules are not answered by an ignore either.
        let ignored = try self.report(item.path, "ignore: [{rule: \(code), reason: known, expires: 2999-01-01}]")
        #expect(ignored.subjects[0].hidden.count == 1 && ignored.subjects[0].verdict(failOn: .error) == .inconclusive)
    }

    @Test(arguments: cases) func aBaselineDoesNotLetItPass(_ item: NegativeFixtureTests.Case) throws {
        var report = try Checker(options: CheckOptions(jobs: 2)).check([item.path])
        #expect(report.subjects[0].verdict(failOn: .error) == .fail)
        try CheckBaseline(CheckBaseline.document(of: report), file: "b").apply(to: &report)
        #expect(report.subjects[0].findings == [] && report.subjects[0].verdict(failOn: .error) == .inconclusive)
    }

    /// The tool, with the policy in a file, and with the weights gone.
    @Test(arguments: ["weights-missing"]) func theExitStatusSaysSo(_ rule: String) throws {
        let directory = try TemporaryDirectory()
        try SmallAdapter.lora(in: directory.path("a"))
        try FileManager.default.removeItem(atPath: directory.path("a/adapter_model.safetensors"))
        #expect(try Checker().check(directory.path("a")).findings.map(\.rule) == [rule])
        try directory.write("rules: {\(rule): off}\n", to: "p.yml")
        let result = try Tool.run(["check", directory.path("a"), "--policy", directory.path("p.yml")])
        #expect(result.status == 1 && result.output.contains("inconclusive"), "\(result.output)")
    }

    /// Files of other libraries need no config of PEFT's: damage is the one thing that is wrong with them, in a directory too.
    @Test(arguments: [("kohya-lora", "lora.safetensors"), ("diffusers-lora", "pytorch_lora_weights.safetensors"), ("gguf-lora", "adapter.gguf")])
    func aDamagedFileOfAnotherLibraryLacksNoConfig(_ fixture: String, _ name: String) throws {
        let source = try #require(try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("dialects/\(fixture)/adapter"))
            .first { $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") })
        let bytes = try TestFile.bytes(Fixtures.path("dialects/\(fixture)/adapter/\(source)"))
        let directory = try TemporaryDirectory()
        try TestFile.write(Array(bytes.dropLast(100)), to: directory.path(name))
        let found = try Checker().check(directory.path).findings
        #expect(found.map(\.rule) == ["truncated"], "\(found)")
        // Under PEFT's own name a config belongs to it.
        let other = try TemporaryDirectory()
        try TestFile.write(Array(bytes.dropLast(100)), to: other.path("adapter_model.safetensors"))
        #expect(try Checker().check(other.path).findings.contains { $0.rule == "config-missing" })
    }
}
