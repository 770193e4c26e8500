import ByteAccess
import Checking
import Checkpoints
import TestSupport
import Testing

/// Every case of `Fixtures/negative`: its manifest names the defect, and `check` reports the rule of it.
@Suite struct NegativeFixtureTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var directory: String
        /// Nil for the clean controls.
        var code: String?
        var severity: String?
        var tensor: String?
        /// What is wrong, in the words of the manifest.
        var what = ""
        var testDescription: String { directory }
        var path: String { Fixtures.path("negative/\(directory)") }
    }

    static let cases: [Case] = {
        guard let bytes = try? TestFile.bytes(Fixtures.path("negative/manifest.json")),
            let list = try? JSONValue.parse(bytes)["cases"]?.arrayValue
        else { return [] }
        return list.compactMap { item in
            item["dir"]?.stringValue.map {
                Case(
                    directory: $0, code: item["code"]?.stringValue, severity: item["severity"]?.stringValue,
                    tensor: item["tensor"]?.stringValue, what: item["what"]?.stringValue ?? "")
            }
        }
    }()

    static func report(_ path: String, base: String? = Fixtures.path("negative/base")) throws -> CheckReport {
        let base = try base.map { try Checkpoint.open($0) }
        return try Checker(options: CheckOptions(base: base, jobs: 2)).check([path])
    }

    @Test func theManifestIsThere() { #expect(Self.cases.count == 52) }

    @Test(arguments: cases) func theDefectIsReportedByItsRule(_ item: Case) throws {
        let report = try Self.report(item.path)
        let subject = try #require(report.subjects.first)
        #expect(subject.omissions.filter(\.isInconclusive) == [])
        guard let code = item.code else {
            #expect(subject.findings == [])
            #expect(report.isClean)
            return
        }
        // One rule owns a defect, and what follows from it is not reported again.
        #expect(Set(subject.findings.map(\.rule)) == [code])
        #expect(Set(subject.findings.map(\.severity.rawValue)) == [item.severity])
        #expect(report.isClean == (item.severity != "error"))
        #expect(subject.findings.allSatisfy { $0.help?.isEmpty == false })
    }

    /// Without the base what the files alone show is found as well.
    @Test(arguments: cases) func withoutTheBaseNothingElseIsReported(_ item: Case) throws {
        let subject = try #require(try Self.report(item.path, base: nil).subjects.first)
        #expect(Set(subject.findings.map(\.rule)).isSubset(of: Set([item.code].compactMap { $0 })))
    }

    /// The tool itself, with its exit status and the report on stdout.
    @Test(arguments: cases) func theToolSaysSoWithItsExitStatus(_ item: Case) throws {
        let result = try Tool.run(["check", item.path, "--base", Fixtures.path("negative/base"), "--json"])
        #expect(result.status == (item.severity == "error" ? 1 : 0), "\(result.errors)")
        let json = try JSONValue.parse(Array(result.output.utf8))
        #expect(json["ok"]?.boolValue == (item.severity != "error"))
        #expect(json["findings"]?.arrayValue?.first?["rule"]?.stringValue == item.code)
        if item.severity == "warning" {
            let strict = try Tool.run(
                ["check", item.path, "--base", Fixtures.path("negative/base"), "--fail-on", "warning", "-q"])
            #expect(strict.status == 1)
        }
    }
}
