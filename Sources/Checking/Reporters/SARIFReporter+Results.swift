import ByteAccess

/// Findings as SARIF results (section 3.27).
extension SARIFReporter {
    func results(of report: CheckReport, ruleIndex: [String: Int]) -> [JSONValue] {
        var occurrences = Occurrences()
        return report.subjects.flatMap { subject in
            subject.findings.map { result($0, of: subject, ruleIndex, &occurrences, hidden: nil) }
                + subject.hidden.map { result($0.finding, of: subject, ruleIndex, &occurrences, hidden: $0) }
        }
    }

    private func result(
        _ finding: Finding, of subject: CheckedSubject, _ ruleIndex: [String: Int], _ occurrences: inout Occurrences,
        hidden: CheckedSubject.Hidden?
    ) -> JSONValue {
        let fingerprint = Fingerprint(finding, of: subject, paths: paths)
        let count = occurrences.next(fingerprint)
        var result: JSONObject = ["ruleId": .string(finding.rule)]
        if let index = ruleIndex[finding.rule] { result["ruleIndex"] = .number(JSONNumber(index)) }
        result["level"] = .string(finding.severity.rawValue)
        result["message"] = message(finding.sentence(separator: "; "))
        result["locations"] = [location(of: finding, in: subject)]
        // GitHub goes by the first alone, and expects it to be unique; the second is what a baseline is matched by.
        result["partialFingerprints"] = [
            "primaryLocationLineHash": .string("\(fingerprint.hex):\(count)"),
            ExactString(Self.fingerprintKey): .string(fingerprint.hex),
        ]
        if let hidden {
            result["suppressions"] = [
                ["kind": "external", "status": "accepted", "justification": .string(hidden.reason.printable)]
            ]
        } else {
            result["suppressions"] = []
        }
        return .object(result)
    }

    /// The file, the byte where one is known, and the tensor.
    ///
    /// The first line is named because GitHub shows no result without a region; weights have no lines.
    private func location(of finding: Finding, in subject: CheckedSubject) -> JSONValue {
        var region: JSONObject = ["startLine": 1]
        if let offset = finding.offset { region["byteOffset"] = .number(JSONNumber(offset)) }
        var location: JSONObject = [
            "physicalLocation": ["artifactLocation": artifact(finding.file ?? subject.path), "region": .object(region)]
        ]
        if let tensor = finding.tensor {
            location["logicalLocations"] = [
                ["name": .string(tensor.text), "fullyQualifiedName": .string(tensor.text), "kind": "object"]
            ]
        }
        return .object(location)
    }
}
