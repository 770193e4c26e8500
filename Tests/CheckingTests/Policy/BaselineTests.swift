import ByteAccess
@testable import Checking
import TestSupport
import Testing

@Suite struct BaselineTests {
    let paths = SampleReport.paths
    let finding = SampleReport.finding(tensor: "q")

    private func report(_ findings: [Finding], path: String = "loras/a") -> CheckReport {
        CheckReport(subjects: [SampleReport.subject(findings, path: path)])
    }

    private func baseline(_ value: JSONValue) throws -> CheckBaseline {
        try CheckBaseline(JSONValue.parse(Array(value.serialized(indent: 2).utf8)), file: "known.json")
    }

    @Test func whatIsWrittenHidesWhatItWasWrittenOf() throws {
        var full = SampleReport.full
        let known = try baseline(CheckBaseline.document(of: full, paths: paths))
        let count = full.subjects.flatMap(\.findings).count
        known.apply(to: &full, paths: paths)
        #expect(full.subjects.flatMap(\.findings).isEmpty && full.subjects.flatMap(\.hidden).count == count + 1)
        // What could not be checked stays open.
        #expect(full.subjects[0].verdict(failOn: .error) == .inconclusive && !full.isClean)
    }

    @Test func oneMoreOfAKindIsSeen() throws {
        let known = try baseline(CheckBaseline.document(of: report([finding]), paths: paths))
        var later = report([finding, finding, SampleReport.finding(tensor: "k")])
        known.apply(to: &later, paths: paths)
        #expect(later.subjects[0].findings == [finding, SampleReport.finding(tensor: "k")])
        #expect(later.subjects[0].hidden.map(\.reason) == ["known by the baseline"])
    }

    @Test func aSARIFReportIsABaseline() throws {
        let sarif = SARIFReporter(toolVersion: "1", rules: SampleReport.rules, paths: paths)
        var later = report([finding, SampleReport.finding("nan")])
        try baseline(sarif.document(of: report([finding]))).apply(to: &later, paths: paths)
        #expect(later.subjects[0].findings.map(\.rule) == ["nan"])
        // What was hidden there is not known here.
        var hidden = report([])
        hidden.subjects[0].hidden = [.init(finding: finding, reason: "ignored")]
        var again = report([finding])
        try baseline(sarif.document(of: hidden)).apply(to: &again, paths: paths)
        #expect(again.subjects[0].findings == [finding])
    }

    @Test func theFileDoesNotDependOnTheOrder() {
        let other = SampleReport.finding("nan", tensor: "k")
        let one = CheckBaseline.document(of: report([finding, other]), paths: paths)
        #expect(one == CheckBaseline.document(of: report([other, finding]), paths: paths))
    }

    @Test(arguments: [
        "null", "[]", "{}", "{\"schema\": \"peftfile.check/1\", \"findings\": []}", "{\"schema\": \"peftfile.baseline/2\", \"findings\": []}",
        "{\"schema\": \"peftfile.baseline/1\"}", "{\"schema\": \"peftfile.baseline/1\", \"findings\": [{}]}",
        "{\"schema\": \"peftfile.baseline/1\", \"findings\": [{\"fingerprint\": \"12\"}]}", "{\"version\": \"2.0.0\", \"runs\": []}",
        "{\"version\": \"2.1.0\", \"runs\": [{\"results\": [{\"ruleId\": \"nan\"}]}]}",
    ])
    func otherFilesAreRefused(_ text: String) throws {
        do {
            _ = try CheckBaseline(JSONValue.parse(Array(text.utf8)), file: "known.json")
            Issue.record("was read")
        } catch let error as PeftfileError { #expect(error.rule == "InvalidBaseline" && error.file == "known.json") }
    }

    /// Outside the working directory the path begins at the argument's directory.
    @Test func fingerprintsAreTheSameOnAnotherMachine() {
        func hex(_ origin: String) -> String {
            var subject = SampleReport.subject([], path: "\(origin)/loras/a")
            subject.origin = origin
            let finding = SampleReport.finding(file: "\(origin)/loras/a/adapter_model.safetensors", tensor: "q")
            return Fingerprint(finding, of: subject, paths: paths).hex
        }
        #expect(hex("/mnt/one") == hex("/Volumes/two/work"))
        #expect(hex("/mnt/one") == Fingerprint(rule: "missing-pair", path: "loras/a/adapter_model.safetensors", tensor: "q").hex)
    }
}
