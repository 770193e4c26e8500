import ByteAccess

/// `peftfile.check/1`.
public struct CheckJSONReporter: CheckReporter {
    public let name = "json"

    /// A reporter that writes paths as they were given.
    public init() {}

    public func render(_ report: CheckReport) -> String { document(report).printable(indent: 2) + "\n" }

    private func document(_ report: CheckReport) -> JSONValue {
        .object([
            "schema": "peftfile.check/1",
            "warnings": .array(report.warnings.map { .string($0) }),
            "ok": .bool(report.isClean),
            "checked": .array(report.subjects.map { .object(CheckJSONReporter.checked($0, report.failOn)) }),
            "findings": .array(
                report.subjects.flatMap { subject in
                    subject.findings.map { CheckJSONReporter.finding($0, of: subject) }
                }),
        ])
    }

    static func checked(_ subject: CheckedSubject, _ failOn: Severity) -> JSONObject {
        [
            "path": .string(subject.path),
            "sha256": subject.sha256.map { .string($0) } ?? .null,
            "verdict": .string(subject.verdict(failOn: failOn).rawValue),
            "rules_run": .number(JSONNumber(subject.rulesRun)),
            "not_run": .array(
                subject.omissions.map { omission in
                    .object([
                        "rule": .string(omission.rule), "reason": .string(omission.reason),
                        "inconclusive": .bool(omission.isInconclusive),
                    ])
                }),
            "partial": .array(
                subject.partial.map { .object(["rule": .string($0.rule), "extent": .string($0.extent)]) }),
            "hidden": .array(
                subject.hidden.map { hidden in
                    guard case .object(var object) = finding(hidden.finding, of: subject) else { return .null }
                    object["reason"] = .string(hidden.reason)
                    return .object(object)
                }),
        ]
    }

    static func finding(_ finding: Finding, of subject: CheckedSubject) -> JSONValue {
        .object([
            "path": .string(subject.path),
            "rule": .string(finding.rule),
            "severity": .string(finding.severity.rawValue),
            "message": .string(finding.message),
            "file": finding.file.map { .string($0) } ?? .null,
            "tensor": finding.tensor.map { .string($0.text) } ?? .null,
            "offset": finding.offset.map { .number(JSONNumber($0)) } ?? .null,
            "help": finding.help.map { .string($0) } ?? .null,
        ])
    }
}
