import ByteAccess
@testable import Checking
import Foundation
import Testing

@Suite struct GitLabReporterTests {
    struct Entry: Decodable {
        struct Location: Decodable {
            struct Lines: Decodable { var begin: Int }
            var path: String
            var lines: Lines
        }
        var description: String
        var check_name: String
        var fingerprint: String
        var severity: String
        var location: Location
    }

    private func entries(_ report: CheckReport) throws -> [Entry] {
        let text = GitLabReporter(paths: SampleReport.paths).render(report)
        return try JSONDecoder().decode([Entry].self, from: Data(text.utf8))
    }

    @Test func listsWhatCounts() throws {
        let entries = try entries(SampleReport.full)
        #expect(entries.map(\.check_name) == ["missing-pair", "unknown-key", "outside-the-registry", "nan"])
        #expect(entries.map(\.severity) == ["critical", "major", "info", "critical"])
        #expect(
            entries.map(\.location.path) == [
                "loras/a/adapter_model.safetensors", "loras/a/adapter_config.json", "loras/a", "loras/a",
            ])
        #expect(entries.allSatisfy { $0.location.lines.begin == 1 })
        #expect(
            entries[0].description
                == "tensor \"q_proj.lora_A.weight\": byte 4096: has no lora_B; save the adapter again")
    }

    /// The values that GitLab's page lists.
    @Test func severitiesAreGitLabs() {
        let known: Set<String> = ["info", "minor", "major", "critical", "blocker"]
        let used = Severity.allCases.map(GitLabReporter.severity)
        #expect(known.isSuperset(of: used) && Set(used).count == 3)
    }

    /// GitLab shows one entry for each fingerprint.
    @Test func fingerprintsAreUnique() throws {
        let findings = (0..<5).map { SampleReport.finding("rule", .error, "pattern \($0) matches nothing") }
        let entries = try entries(CheckReport(subjects: [SampleReport.subject(findings)]))
        #expect(Set(entries.map(\.fingerprint)).count == 5)
    }

    @Test func hostileNamesAreData() throws {
        let entries = try entries(SampleReport.hostile)
        #expect(entries.count == 2 * SampleReport.hostileNames.count)
        for entry in entries {
            #expect(entry.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0 != "\u{202E}" })
            #expect(!entry.location.path.hasPrefix("./"))
        }
    }

    @Test func aCleanReportIsAnEmptyArray() throws {
        #expect(try entries(CheckReport(subjects: [SampleReport.subject([])])).isEmpty)
    }
}
