import ByteAccess
@testable import Checking
import Foundation
import Testing

@Suite struct SARIFReporterTests {
    let reporter = SARIFReporter(toolVersion: "1.2.3", rules: SampleReport.rules, paths: SampleReport.paths)

    /// The document as Foundation reads it back from the text.
    private func read(_ report: CheckReport) throws -> [String: Any] {
        let object = try JSONSerialization.jsonObject(with: Data(reporter.render(report).utf8))
        return try #require(object as? [String: Any])
    }

    private func run(_ report: CheckReport) throws -> [String: Any] {
        try #require((try read(report)["runs"] as? [[String: Any]])?.first)
    }

    private func results(_ report: CheckReport) throws -> [[String: Any]] {
        try #require(try run(report)["results"] as? [[String: Any]])
    }

    @Test(arguments: [SampleReport.full, SampleReport.hostile, CheckReport(subjects: [])])
    func followsTheSchema(_ report: CheckReport) {
        #expect(SARIFSchema.faults(reporter.document(of: report)).isEmpty)
    }

    @Test func theSchemaTestSees() {
        #expect(!SARIFSchema.faults(["version": "2.0.0", "runs": []]).isEmpty)
        #expect(!SARIFSchema.faults(["version": "2.1.0"]).isEmpty)
        #expect(!SARIFSchema.faults(["version": "2.1.0", "runs": [["results": []]]]).isEmpty)
        #expect(!SARIFSchema.isReference("a b") && !SARIFSchema.isReference("50%") && !SARIFSchema.isReference("x:y/z"))
    }

    @Test func theDriverListsTheRules() throws {
        let tool = try #require(try run(SampleReport.full)["tool"] as? [String: [String: Any]])
        let driver = try #require(tool["driver"])
        #expect(driver["name"] as? String == "peftfile" && driver["version"] as? String == "1.2.3")
        let rules = try #require(driver["rules"] as? [[String: Any]])
        #expect(rules.compactMap { $0["id"] as? String } == SampleReport.rules.map(\.id) + ["outside-the-registry"])
        for (rule, descriptor) in zip(SampleReport.rules, rules) {
            #expect((descriptor["shortDescription"] as? [String: String])?["text"] == rule.summary)
            #expect((descriptor["defaultConfiguration"] as? [String: String])?["level"] == rule.severity.rawValue)
        }
        // Braces would read as a placeholder.
        #expect(
            (rules[0]["fullDescription"] as? [String: String])?["text"] == "Loaders that take {{missing-pair}} for granted.")
    }

    @Test func aFindingIsAResult() throws {
        let result = try #require(try results(SampleReport.full).first)
        #expect(result["ruleId"] as? String == "missing-pair" && result["ruleIndex"] as? Int == 0)
        #expect(result["level"] as? String == "error")
        #expect(
            (result["message"] as? [String: String])?["text"]
                == "tensor \"q_proj.lora_A.weight\": byte 4096: has no lora_B; save the adapter again")
        let location = try #require((result["locations"] as? [[String: Any]])?.first)
        let physical = try #require(location["physicalLocation"] as? [String: [String: Any]])
        #expect(physical["artifactLocation"]?["uri"] as? String == "loras/a/adapter_model.safetensors")
        #expect(physical["artifactLocation"]?["uriBaseId"] as? String == "%SRCROOT%")
        #expect(physical["region"]?["startLine"] as? Int == 1 && physical["region"]?["byteOffset"] as? Int == 4096)
        let logical = try #require((location["logicalLocations"] as? [[String: String]])?.first)
        #expect(logical["fullyQualifiedName"] == "q_proj.lora_A.weight")
    }

    @Test func ruleIndexesPointAtTheirRules() throws {
        let run = try run(SampleReport.hostile)
        let driver = try #require((run["tool"] as? [String: [String: Any]])?["driver"])
        let ids = try #require(driver["rules"] as? [[String: Any]]).map { $0["id"] as? String }
        let results = try #require(run["results"] as? [[String: Any]])
        #expect(results.count == 2 * SampleReport.hostileNames.count)
        for result in results {
            let index = try #require(result["ruleIndex"] as? Int)
            #expect(ids[index] == result["ruleId"] as? String)
        }
    }

    @Test func hiddenFindingsAreSuppressed() throws {
        let results = try results(SampleReport.full)
        let suppressions = results.map { $0["suppressions"] as? [[String: String]] }
        #expect(suppressions.prefix(3).allSatisfy { $0 == [] })
        #expect(
            suppressions[3] == [["kind": "external", "status": "accepted", "justification": "written before the rule"]])
    }

    @Test func whatStayedOpenIsANotification() throws {
        let invocation = try #require((try run(SampleReport.full)["invocations"] as? [[String: Any]])?.first)
        #expect(invocation["executionSuccessful"] as? Bool == false)
        let open = try #require(invocation["toolExecutionNotifications"] as? [[String: Any]])
        #expect(open.count == 1)
        #expect((open[0]["associatedRule"] as? [String: String]) == ["id": "nan"])
        #expect((invocation["toolConfigurationNotifications"] as? [Any])?.count == 1)
        let clean = CheckReport(subjects: [SampleReport.subject([])])
        let other = try #require((try run(clean)["invocations"] as? [[String: Any]])?.first)
        #expect(other["executionSuccessful"] as? Bool == true && other.count == 1)
    }

    @Test func fingerprintsAreStableAndUnique() throws {
        func prints(_ report: CheckReport) throws -> [[String: String]] {
            try results(report).map { try #require($0["partialFingerprints"] as? [String: String]) }
        }
        let findings = [
            SampleReport.finding(tensor: "a"), SampleReport.finding(tensor: "b"),
            SampleReport.finding("missing-pair", .error, "first", tensor: "c"),
            SampleReport.finding("missing-pair", .error, "second", tensor: "c"),
        ]
        let reworded = findings.map { finding in
            var copy = finding
            copy.message = "in other words"
            copy.offset = 99
            copy.severity = .note
            return copy
        }
        let one = try prints(CheckReport(subjects: [SampleReport.subject(findings)]))
        #expect(one == (try prints(CheckReport(subjects: [SampleReport.subject(reworded)]))))
        #expect(Set(one.compactMap { $0["primaryLocationLineHash"] }).count == findings.count)
        #expect(Set(one.compactMap { $0[SARIFReporter.fingerprintKey] }).count == 3)
    }

    /// Every path comes back from its reference by the rules of RFC 3986, as Foundation decodes it.
    @Test(arguments: SampleReport.hostileNames) func pathsArePercentEncoded(_ name: String) throws {
        let path = "loras/\(name)x"
        let reference = URIText.reference(path: path)
        #expect(SARIFSchema.isReference(reference))
        #expect(reference.removingPercentEncoding.map { Array($0.utf8) } == Array(path.utf8))
        let absolute = try #require(URL(string: URIText.reference(path: "/a/\(name)x")))
        #expect(absolute.isFileURL)
    }

    @Test func pathsElsewhereAreAbsoluteAndHaveNoBase() throws {
        let finding = SampleReport.finding(file: "/opt/models/a b")
        let result = try #require(try results(CheckReport(subjects: [SampleReport.subject([finding])])).first)
        let location = try #require((result["locations"] as? [[String: [String: Any]]])?.first)
        #expect(location["physicalLocation"]?["artifactLocation"] as? [String: String] == ["uri": "file:///opt/models/a%20b"])
    }

    /// Braces are doubled, and nothing reads as a link.
    @Test func messagesStandForThemselves() throws {
        let finding = SampleReport.finding("missing-pair", .error, "{0} [click](https://example.org) [2, 3]")
        let result = try #require(try results(CheckReport(subjects: [SampleReport.subject([finding])])).first)
        #expect((result["message"] as? [String: String])?["text"] == "{{0}} [click] (https://example.org) [2, 3]")
    }
}
