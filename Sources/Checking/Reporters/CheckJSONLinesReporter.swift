import ByteAccess

/// `peftfile.check-line/1`: one line of JSON for each adapter, for logs and for trees of many adapters.
///
/// A line is an entry of `checked` in `peftfile.check/1` with the schema before it and the adapter's findings behind it.
public struct CheckJSONLinesReporter: CheckReporter {
    public let name = "json-lines"

    /// A reporter that writes paths as they were given.
    public init() {}

    public func render(_ report: CheckReport) -> String {
        report.subjects.map { subject in
            var line: JSONObject = ["schema": "peftfile.check-line/1"]
            line.members += CheckJSONReporter.checked(subject, report.failOn).members
            line["findings"] = .array(subject.findings.map { CheckJSONReporter.finding($0, of: subject) })
            return JSONValue.object(line).printable() + "\n"
        }.joined()
    }
}
