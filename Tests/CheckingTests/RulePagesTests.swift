import Checking
import Foundation
import TestSupport
import Testing

/// The list of rules in the manual and the page `Formats/check-rules.md`, both written from the registry.
///
/// After a change of a rule's words `PEFTFILE_RECORD=1 swift test --filter RulePagesTests` writes them anew.
@Suite struct RulePagesTests {
    static let manual = "\(Fixtures.repository)/man/peftfile-check.1"
    static let page = Fixtures.format("check-rules.md")
    static let isRecording = ProcessInfo.processInfo.environment["PEFTFILE_RECORD"] != nil

    /// Lines of at most `width` columns.
    static func wrapped(_ text: String, width: Int) -> String {
        var lines: [String] = [""]
        for word in text.split(whereSeparator: \.isWhitespace) {
            if !lines[lines.count - 1].isEmpty, lines[lines.count - 1].count + 1 + word.count > width { lines.append("") }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
        return lines.joined(separator: "\n")
    }

    static var manualList: String {
        var text = ".Ss Rules\n.Bl -tag -width indent\n"
        for rule in RuleRegistry.rules {
            text += ".It Cm \(rule.id) Pq \(rule.severity.rawValue)\n"
            // A line that begins with a point or a quote would be a macro.
            text += wrapped(rule.summary, width: 78).split(separator: "\n")
                .map { $0.hasPrefix(".") || $0.hasPrefix("'") ? "\\&\($0)" : String($0) }.joined(separator: "\n") + "\n"
        }
        return text + ".El\n"
    }

    static var rulesPage: String {
        var text = """
            # The rules of `check`

            One paragraph for each rule: what it finds and what it protects from. The word behind the name is the severity of
            its findings, unless a finding says less. A rule that needs something that is not there, as the base, does not run.

            This page is written from the rules themselves (`Sources/Checking/Rules`, one file each).

            """
        for family in RuleFamily.allCases {
            let rules = RuleRegistry.rules.filter { $0.family == family }
            guard !rules.isEmpty else { continue }
            text += "\n## \(family.rawValue)\n"
            for rule in rules {
                let needs = rule.needs.map { "\($0)" }
                let condition = needs.isEmpty ? "" : ", needs \(needs.joined(separator: " and "))"
                text += "\n" + wrapped(
                    "**\(rule.id)** (\(rule.severity.rawValue)\(condition)). \(rule.summary) \(rule.protectsFrom)",
                    width: 120) + "\n"
            }
        }
        return text
    }

    /// Defect, rule and exit status of every case of `Fixtures/negative`, as `check` has it, with the base.
    static func fixtureTable() throws -> String {
        var text = """

            ## What the fixtures show

            Every adapter of `Fixtures/negative`, checked with `--base Fixtures/negative/base`: its defect as the manifest names it, the
            rule that reports it, and the exit status. `Tests/CheckingTests` runs the tool on each of them and compares.

            | adapter | defect | rule | severity | exit |
            |---|---|---|---|---|

            """
        for item in NegativeFixtureTests.cases {
            let report = try NegativeFixtureTests.report(item.path)
            let findings = report.subjects.flatMap(\.findings)
            func list(_ words: [String]) -> String { words.isEmpty ? "none" : Array(Set(words)).sorted().joined(separator: ", ") }
            text += "| \(item.directory) | \(item.what.replacingOccurrences(of: "|", with: "\\|")) | \(list(findings.map(\.rule))) "
                + "| \(list(findings.map(\.severity.rawValue))) | \(report.isClean ? 0 : 1) |\n"
        }
        return text
    }

    @Test func theManualListsEveryRule() throws {
        let text = try TestFile.text(Self.manual)
        let start = try #require(text.range(of: ".Ss Rules\n"))
        let end = try #require(text.range(of: ".Sh OPTIONS\n"))
        let wanted = text[..<start.lowerBound] + Self.manualList + text[end.lowerBound...]
        if Self.isRecording { try TestFile.write(String(wanted), to: Self.manual) }
        #expect(String(wanted) == text || Self.isRecording)
    }

    @Test func thePageHasEveryRule() throws {
        let page = try Self.rulesPage + Self.fixtureTable()
        if Self.isRecording { try TestFile.write(page, to: Self.page) }
        #expect(try TestFile.text(Self.page) == page)
    }

    /// One file a rule: the type of the same name, with hyphens taken for capitals, and no file without a rule.
    @Test func everyRuleHasItsFileAndEveryFileItsRule() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: "\(Fixtures.repository)/Sources/Checking/Rules")
        let types = RuleRegistry.rules.map { "\(type(of: $0)).swift" }
        #expect(types.sorted() == files.sorted())
        #expect(Set(RuleRegistry.rules.map(\.id)).count == RuleRegistry.rules.count)
        for rule in RuleRegistry.rules {
            #expect(rule.id.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "-" || $0 == "." }, "\(rule.id)")
            #expect(rule.summary.hasSuffix(".") && rule.protectsFrom.hasSuffix("."), "\(rule.id)")
        }
    }
}
