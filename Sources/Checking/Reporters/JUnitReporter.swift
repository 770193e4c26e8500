import ByteAccess

/// The report as JUnit XML: a `testsuite` for each adapter, a `testcase` for each rule.
///
/// A rule with a finding that fails the adapter is a `failure`; one that could not be checked is an `error`, because
/// the verdict fails closed; one that did not apply is `skipped`. Findings that do not fail and hidden ones are told in
/// `system-out`. Source: the Jenkins schema `junit-10.xsd`, which GitLab and Azure read as well.
public struct JUnitReporter: CheckReporter {
    public let name = "junit"
    let rules: [String]
    let paths: ReportPaths

    /// A reporter that lists these rules, whether they found something or not.
    public init(rules: [any CheckRule] = RuleRegistry.rules, paths: ReportPaths = .current()) {
        self.rules = rules.map(\.id)
        self.paths = paths
    }

    private enum Outcome { case passed, failed, open, skipped }

    private struct Case {
        var rule: String
        var outcome: Outcome
        /// The findings that decide, or why nothing was decided.
        var lines: [String]
        /// What does not count.
        var notes: [String]
    }

    public func render(_ report: CheckReport) -> String {
        let suites = report.subjects.map { ($0, cases(of: $0, failOn: report.failOn)) }
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        text += "<testsuites name=\"peftfile check\" \(counts(suites.flatMap(\.1)))>\n"
        for (subject, cases) in suites {
            let path = XMLText.escaped(paths.relative(subject.path))
            text += "  <testsuite name=\"\(path)\" \(counts(cases)) skipped=\"\(cases.count { $0.outcome == .skipped })\">\n"
            for entry in cases { append(entry, className: path, to: &text) }
            text += "  </testsuite>\n"
        }
        return text + "</testsuites>\n"
    }

    private func counts(_ cases: [Case]) -> String {
        "tests=\"\(cases.count)\" failures=\"\(cases.count { $0.outcome == .failed })\""
            + " errors=\"\(cases.count { $0.outcome == .open })\""
    }

    private func cases(of subject: CheckedSubject, failOn: Severity) -> [Case] {
        let found = Set(
            subject.findings.map(\.rule) + subject.hidden.map(\.finding.rule) + subject.omissions.map(\.rule))
        return (rules + found.subtracting(rules).sorted()).map { rule in
            let findings = subject.findings.filter { $0.rule == rule }
            let failing = findings.filter { $0.severity >= failOn }
            let notes = findings.filter { $0.severity < failOn }.map { line($0, in: subject) }
                + subject.hidden.filter { $0.finding.rule == rule }.map {
                    "hidden (\($0.reason.printable)): \(line($0.finding, in: subject))"
                }
            if !failing.isEmpty {
                return Case(rule: rule, outcome: .failed, lines: failing.map { line($0, in: subject) }, notes: notes)
            }
            let omissions = subject.omissions.filter { $0.rule == rule }
            if let open = omissions.first(where: \.isInconclusive) {
                return Case(rule: rule, outcome: .open, lines: [open.reason.printable], notes: notes)
            }
            if let idle = omissions.first, findings.isEmpty {
                return Case(rule: rule, outcome: .skipped, lines: [idle.reason.printable], notes: notes)
            }
            return Case(rule: rule, outcome: .passed, lines: [], notes: notes)
        }
    }

    private func line(_ finding: Finding, in subject: CheckedSubject) -> String {
        "\(finding.severity.rawValue): \(paths.relative(finding.file ?? subject.path).printable): "
            + finding.sentence(separator: "; ")
    }

    private func append(_ entry: Case, className: String, to text: inout String) {
        text += "    <testcase name=\"\(XMLText.escaped(entry.rule))\" classname=\"\(className)\""
        if entry.outcome == .passed, entry.notes.isEmpty {
            text += "/>\n"
            return
        }
        text += ">\n"
        let first = XMLText.escaped(entry.lines.first ?? "")
        switch entry.outcome {
        case .passed: break
        case .failed, .open:
            let (element, type) = entry.outcome == .failed ? ("failure", "finding") : ("error", "inconclusive")
            let body = entry.lines.map(XMLText.escaped).joined(separator: "\n")
            text += "      <\(element) message=\"\(first)\" type=\"\(type)\">\(body)</\(element)>\n"
        case .skipped: text += "      <skipped message=\"\(first)\"/>\n"
        }
        if !entry.notes.isEmpty {
            text += "      <system-out>\(entry.notes.map(XMLText.escaped).joined(separator: "\n"))</system-out>\n"
        }
        text += "    </testcase>\n"
    }
}
