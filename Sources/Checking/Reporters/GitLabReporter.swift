public import ByteAccess

/// The report as GitLab reads it under `artifacts:reports:codequality`: a JSON array.
///
/// Each entry has `description`, `check_name`, `fingerprint`, `severity` and `location`; GitLab shows only the first
/// entry of a fingerprint, so repeated ones are counted. An error is `critical`, a warning `major`, a note `info`; what
/// could not be checked is `critical` too. Source: docs.gitlab.com/ci/testing/code_quality, "Code Quality report
/// format": the path is relative to the repository and does not begin with `./`.
public struct GitLabReporter: CheckReporter {
    public let name = "gitlab"
    let paths: ReportPaths

    /// A reporter that writes paths relative to the working directory.
    public init(paths: ReportPaths = .current()) { self.paths = paths }

    public func render(_ report: CheckReport) -> String { document(of: report).printable(indent: 2) + "\n" }

    /// The report as GitLab's list of code quality issues.
    public func document(of report: CheckReport) -> JSONValue {
        var occurrences = Occurrences()
        var entries: [JSONValue] = []
        for subject in report.subjects {
            for finding in subject.findings {
                let fingerprint = Fingerprint(finding, of: subject, paths: paths)
                entries.append(
                    entry(
                        description: finding.sentence(separator: "; "), rule: finding.rule, fingerprint: fingerprint,
                        count: occurrences.next(fingerprint), severity: Self.severity(finding.severity),
                        path: finding.file ?? subject.path))
            }
            for omission in subject.omissions where omission.isInconclusive {
                let path = paths.relative(subject.path)
                let fingerprint = Fingerprint(rule: omission.rule, path: path, tensor: nil)
                entries.append(
                    entry(
                        description: "could not be checked: \(omission.reason.printable)", rule: omission.rule,
                        fingerprint: fingerprint, count: occurrences.next(fingerprint),
                        severity: Self.severity(.error), path: subject.path))
            }
        }
        return .array(entries)
    }

    private func entry(
        description: String, rule: String, fingerprint: Fingerprint, count: Int, severity: String, path: String
    ) -> JSONValue {
        [
            "description": .string(description),
            "check_name": .string(rule),
            "fingerprint": .string(count == 1 ? fingerprint.hex : "\(fingerprint.hex):\(count)"),
            "severity": .string(severity),
            "location": ["path": .string(paths.relative(path)), "lines": ["begin": 1]],
        ]
    }

    static func severity(_ severity: Severity) -> String {
        switch severity {
        case .error: "critical"
        case .warning: "major"
        case .note: "info"
        }
    }
}
