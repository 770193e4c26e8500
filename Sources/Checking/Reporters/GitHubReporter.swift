import ByteAccess

/// The report as annotations of a GitHub workflow: `::error file=F,title=T::MESSAGE`.
///
/// A step shows ten annotations of each kind (docs/problem-matchers.md of actions/toolkit) and drops the rest without a
/// word. So the last place of a kind that has more says how many are not shown; those follow as plain lines of the log.
/// What could not be checked is an error, because it fails the step.
public struct GitHubReporter: CheckReporter {
    public let name = "github"
    /// Annotations of one kind that a step shows.
    public static let limit = 10

    let paths: ReportPaths

    /// A reporter that writes paths relative to the working directory.
    public init(paths: ReportPaths = .current()) { self.paths = paths }

    private struct Annotation {
        var severity: Severity
        var path: String?
        var title: String
        /// One line.
        var message: String
        var help: String?
    }

    public func render(_ report: CheckReport) -> String {
        let all = annotations(of: report)
        var text = ""
        for severity in Severity.allCases.reversed() {
            let kind = all.filter { $0.severity == severity }
            let shown = kind.count > Self.limit ? Self.limit - 1 : kind.count
            for annotation in kind.prefix(shown) { text += line(annotation) }
            guard shown < kind.count else { continue }
            let rest = kind[shown...]
            text += line(
                Annotation(
                    severity: severity, path: nil, title: "peftfile check",
                    message: "\(rest.count) more \(Self.plural(severity)), in the log of this step"))
            for annotation in rest { text += Self.logLine(annotation) }
        }
        return text + summary(of: report)
    }

    private func annotations(of report: CheckReport) -> [Annotation] {
        report.subjects.flatMap { subject in
            subject.findings.map { finding in
                Annotation(
                    severity: finding.severity, path: paths.relative(finding.file ?? subject.path), title: finding.rule,
                    message: finding.sentence, help: finding.help?.printable)
            }
                + subject.omissions.filter(\.isInconclusive).map { omission in
                    Annotation(
                        severity: .error, path: paths.relative(subject.path), title: omission.rule,
                        message: "could not be checked: \(omission.reason.printable)")
                }
        } + report.warnings.map {
            Annotation(severity: .warning, path: nil, title: "peftfile check", message: $0.printable)
        }
    }

    /// One workflow command. `notice` is GitHub's word for a note.
    private func line(_ annotation: Annotation) -> String {
        let command = annotation.severity == .note ? "notice" : annotation.severity.rawValue
        let file = annotation.path.map { "file=\(Self.property($0.printable))," } ?? ""
        let text = annotation.message + (annotation.help.map { "\n\($0)" } ?? "")
        return "::\(command) \(file)title=\(Self.property(annotation.title.printable))::\(Self.data(text))\n"
    }

    /// A finding that no annotation is left for.
    ///
    /// Nothing in it is a command: the line begins with a word of ours, and the older form `##[`, which the runner
    /// looks for anywhere in a line (`TryParse` in src/Runner.Common/ActionCommand.cs of actions/runner), is set apart.
    private static func logLine(_ annotation: Annotation) -> String {
        let place = annotation.path.map { "\($0.printable): " } ?? ""
        let help = annotation.help.map { "; \($0)" } ?? ""
        let line = "\(annotation.severity.rawValue): \(place)\(annotation.message)\(help) [\(annotation.title.printable)]"
        return line.split(separator: "##[", omittingEmptySubsequences: false).joined(separator: "## [") + "\n"
    }

    private func summary(of report: CheckReport) -> String {
        let verdicts = report.subjects.map { $0.verdict(failOn: report.failOn) }
        let failed = verdicts.count { $0 == .fail }
        let open = verdicts.count { $0 == .inconclusive }
        return "peftfile check: \(verdicts.count) checked, \(failed) failed, \(open) inconclusive\n"
    }

    private static func plural(_ severity: Severity) -> String { "\(severity.rawValue)s" }

    /// Data of a command: `escapeData` of packages/core/src/command.ts in actions/toolkit.
    static func data(_ text: String) -> String { escaped(text, colonAndComma: false) }

    /// A property of a command: `escapeProperty` there.
    static func property(_ text: String) -> String { escaped(text, colonAndComma: true) }

    private static func escaped(_ text: String, colonAndComma: Bool) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "%": result += "%25".unicodeScalars
            case "\r": result += "%0D".unicodeScalars
            case "\n": result += "%0A".unicodeScalars
            case ":" where colonAndComma: result += "%3A".unicodeScalars
            case "," where colonAndComma: result += "%2C".unicodeScalars
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
