import ByteAccess
import Checkpoints

/// The page for people: each adapter with its verdict, its findings by family, and what to do about each.
public struct CheckTextReporter: CheckReporter {
    public let name = "text"
    /// Whether severities and verdicts are coloured.
    public var isColored: Bool
    /// How many findings of one rule are shown; the other formats have all of them.
    public var limit: Int

    /// A reporter that by default uses no colours and shows ten findings of each rule.
    public init(isColored: Bool = false, limit: Int = 10) {
        self.isColored = isColored
        self.limit = limit
    }

    public func render(_ report: CheckReport) -> String {
        var blocks = report.subjects.map { subject($0, report.failOn) }
        if report.subjects.count > 1 { blocks.append(summary(report)) }
        return blocks.joined(separator: "\n")
    }

    private func subject(_ subject: CheckedSubject, _ failOn: Severity) -> String {
        let verdict = subject.verdict(failOn: failOn)
        var page = "\(HubOrigin(of: subject.path)?.shown ?? subject.path.printable): \(paint(verdict)): \(counts(subject))\n"
        for family in RuleFamily.allCases {
            let findings = subject.findings.filter { RuleRegistry.rule($0.rule)?.family == family }
            guard !findings.isEmpty else { continue }
            page += "\n  \(family.rawValue)\n"
            var shown: [String: Int] = [:]
            for finding in findings {
                shown[finding.rule, default: 0] += 1
                if shown[finding.rule, default: 0] <= limit { page += line(finding, of: subject) }
            }
            for (rule, count) in shown.sorted(by: { $0.key < $1.key }) where count > limit {
                page += "    and \(count - limit) more of \(rule)\n"
            }
        }
        page += hidden(subject)
        let open = subject.omissions.filter(\.isInconclusive)
        if !open.isEmpty {
            page += "\n  not checked\n"
            for omission in open { page += "    \(omission.rule): \(omission.reason.printable)\n" }
        }
        if !subject.partial.isEmpty {
            page += "\n  looked at in part\n"
            for part in subject.partial { page += "    \(part.rule): \(part.extent.printable)\n" }
        }
        return page
    }

    /// What does not count, by the reason: an ignore shall not be forgotten, a baseline is not read out.
    private func hidden(_ subject: CheckedSubject) -> String {
        guard !subject.hidden.isEmpty else { return "" }
        var counts: [(line: String, count: Int)] = []
        for hidden in subject.hidden {
            let line = "\(hidden.finding.rule): \(hidden.reason.printable)"
            if let index = counts.firstIndex(where: { $0.line == line }) { counts[index].count += 1 } else { counts.append((line, 1)) }
        }
        let lines = counts.prefix(limit).map { "    \($0.line)\($0.count > 1 ? " (\($0.count) findings)" : "")\n" }
        let rest = counts.count > limit ? "    and \(counts.count - limit) more\n" : ""
        return "\n  hidden\n" + lines.joined() + rest
    }

    private func line(_ finding: Finding, of subject: CheckedSubject) -> String {
        var place: [String] = []
        if let file = finding.file, file != subject.path { place.append(relative(file, to: subject.path).printable) }
        if let tensor = finding.tensor { place.append(tensor.text.printable) }
        if let offset = finding.offset { place.append("byte \(offset)") }
        let head = place.isEmpty ? "" : place.joined(separator: ": ") + ": "
        var text = "    \(paint(finding.severity)) \(finding.rule): \(head)\(finding.message.printable)\n"
        if let help = finding.help { text += "      \(help.printable)\n" }
        return text
    }

    /// A file by its name below the adapter's directory.
    private func relative(_ file: String, to path: String) -> String {
        let prefix = path.hasSuffix("/") ? path : path + "/"
        return file.utf8.starts(with: prefix.utf8) ? String(file.dropFirst(prefix.count)) : file
    }

    private func counts(_ subject: CheckedSubject) -> String {
        var parts: [String] = []
        for severity in Severity.allCases.sorted(by: >) {
            let count = subject.findings.count { $0.severity == severity }
            if count > 0 { parts.append("\(count) \(severity.rawValue)\(count == 1 ? "" : "s")") }
        }
        if !subject.hidden.isEmpty { parts.append("\(subject.hidden.count) hidden") }
        parts.append("\(subject.rulesRun) rules run")
        return parts.joined(separator: ", ")
    }

    private func summary(_ report: CheckReport) -> String {
        let verdicts: [CheckedSubject.Verdict] = report.subjects.map { $0.verdict(failOn: report.failOn) }
        let passed = verdicts.count { $0 == .pass }
        let open = verdicts.count { $0 == .inconclusive }
        return "\(report.subjects.count) adapters: \(passed) pass, \(verdicts.count - passed - open) fail"
            + (open > 0 ? ", \(open) inconclusive" : "") + "\n"
    }

    private func paint(_ severity: Severity) -> String {
        switch severity {
        case .error: paint(severity.rawValue, "31")
        case .warning: paint(severity.rawValue, "33")
        case .note: paint(severity.rawValue, "36")
        }
    }

    private func paint(_ verdict: CheckedSubject.Verdict) -> String {
        switch verdict {
        case .pass: paint(verdict.rawValue, "32")
        case .fail: paint(verdict.rawValue, "31")
        case .inconclusive: paint(verdict.rawValue, "33")
        }
    }

    private func paint(_ text: String, _ code: String) -> String { isColored ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}
