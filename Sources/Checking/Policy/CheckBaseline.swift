public import ByteAccess

/// Findings that were there before: `--baseline` hides them, so that a gate can be put up where not all is well.
///
/// A finding is known by its ``Fingerprint``. One fingerprint may stand for several findings; as many are hidden as the
/// baseline has, so that one more of a kind is seen. What could not be checked is no finding and is never hidden.
public struct CheckBaseline: Sendable {
    /// The name and version of the document.
    public static let schema = "peftfile.baseline/1"

    /// How often each known finding may occur.
    public var counts: [Fingerprint: Int] = [:]

    /// Reads a baseline that `--write-baseline` has written, or a SARIF report of `check`.
    ///
    /// - Throws: `InvalidBaseline` for anything else: a baseline that is not understood would hide nothing, or all.
    public init(path: String) throws {
        try self.init(JSONValue.parse(FileReader(path: path).allBytes(limit: 1 << 28), file: path), file: path)
    }

    init(_ document: JSONValue, file: String) throws {
        func broken(_ message: String) -> PeftfileError {
            PeftfileError(
                .malformed, message, file: file, rule: "InvalidBaseline",
                help: "write one with --write-baseline")
        }
        let texts: [String?]
        if let schema = document["schema"]?.stringValue {
            guard schema == CheckBaseline.schema, let findings = document["findings"]?.arrayValue else {
                throw broken("is no \(CheckBaseline.schema)")
            }
            texts = findings.map { $0["fingerprint"]?.stringValue }
        } else if document["version"]?.stringValue == "2.1.0", let runs = document["runs"]?.arrayValue {
            let results = runs.flatMap { $0["results"]?.arrayValue ?? [] }
            // What a policy or another baseline hid is not part of what is known here.
            let counting = results.filter { ($0["suppressions"]?.arrayValue ?? []).isEmpty }
            texts = counting.map { $0["partialFingerprints"]?[ExactString(SARIFReporter.fingerprintKey)]?.stringValue }
        } else {
            throw broken("is neither a baseline nor SARIF")
        }
        for text in texts {
            guard let text, text.utf8.count == 64 else { throw broken("holds a finding without its fingerprint") }
            counts[Fingerprint(hex: text), default: 0] += 1
        }
    }

    /// The baseline that knows all findings of a report, as they stand in the file.
    public static func document(of report: CheckReport, paths: ReportPaths = .current()) -> JSONValue {
        var entries: [(hex: String, value: JSONValue)] = []
        for subject in report.subjects {
            for finding in subject.findings {
                let fingerprint = Fingerprint(finding, of: subject, paths: paths)
                let path = Fingerprint.path(finding.file ?? subject.path, of: subject, paths: paths)
                let entry: JSONObject = [
                    "fingerprint": .string(fingerprint.hex), "rule": .string(finding.rule), "path": .string(path),
                    "tensor": finding.tensor.map { .string($0.text) } ?? .null,
                ]
                entries.append((fingerprint.hex, .object(entry)))
            }
        }
        // In an order that does not depend on the order of arguments, so that a kept baseline changes only where findings do.
        entries.sort { $0.hex < $1.hex }
        return .object(["schema": .string(schema), "findings": .array(entries.map(\.value))])
    }

    /// Hides what is known.
    public func apply(to report: inout CheckReport, paths: ReportPaths = .current()) {
        var left = counts
        for index in report.subjects.indices {
            let subject = report.subjects[index]
            var findings: [Finding] = []
            for finding in subject.findings {
                let fingerprint = Fingerprint(finding, of: subject, paths: paths)
                if let count = left[fingerprint], count > 0 {
                    left[fingerprint] = count - 1
                    report.subjects[index].hidden.append(.init(finding: finding, reason: "known by the baseline"))
                } else {
                    findings.append(finding)
                }
            }
            report.subjects[index].findings = findings
            report.subjects[index].openUnread()
        }
    }
}
