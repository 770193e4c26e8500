public import ByteAccess

/// The report as SARIF 2.1.0, for code scanning.
///
/// One run; its rules are those of the registry, and those that only findings name behind them. Findings that a policy
/// or a baseline hides are results with a suppression, what could not be checked is a notification of the invocation.
/// Source: sarif-schema-2.1.0.json and the prose of the OASIS standard, whose sections are named below; what GitHub
/// reads of it: "SARIF support for code scanning" (`primaryLocationLineHash`, relative paths, at most 25,000 results).
public struct SARIFReporter: CheckReporter {
    public let name = "sarif"
    /// The key of `partialFingerprints` that a baseline is read by.
    public static let fingerprintKey = "peftfileFinding/v1"
    /// The base that relative references are resolved against: GitHub's name for the top of the repository.
    static let root = "%SRCROOT%"

    let toolVersion: String
    let rules: [any CheckRule]
    let paths: ReportPaths

    /// A reporter that names this version of the tool and lists these rules.
    public init(
        toolVersion: String, rules: [any CheckRule] = RuleRegistry.rules, paths: ReportPaths = .current()
    ) {
        self.toolVersion = toolVersion
        self.rules = rules
        self.paths = paths
    }

    public func render(_ report: CheckReport) -> String { document(of: report).printable(indent: 2) + "\n" }

    /// The report as a SARIF 2.1.0 log with one run.
    public func document(of report: CheckReport) -> JSONValue {
        let descriptors = ruleIDs(of: report)
        let index = Dictionary(descriptors.enumerated().map { ($1, $0) }) { first, _ in first }
        return [
            "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
            "version": "2.1.0",
            "runs": [
                [
                    "tool": [
                        "driver": [
                            "name": "peftfile",
                            "version": .string(toolVersion),
                            "semanticVersion": .string(toolVersion),
                            "rules": .array(descriptors.map(descriptor)),
                        ]
                    ],
                    // Without a uri: what the root is, the reader of the report knows (section 3.14.14).
                    "originalUriBaseIds": [
                        ExactString(Self.root): ["description": ["text": "The directory that peftfile was run in."]]
                    ],
                    "invocations": [invocation(of: report)],
                    "columnKind": "unicodeCodePoints",
                    "results": .array(results(of: report, ruleIndex: index)),
                ]
            ],
        ]
    }

    // MARK: Rules

    /// The registry's ids in its order, then the others that findings and omissions name, sorted.
    private func ruleIDs(of report: CheckReport) -> [String] {
        let known = rules.map(\.id)
        let named = report.subjects.flatMap { subject in
            subject.findings.map(\.rule) + subject.hidden.map(\.finding.rule)
        }
        return known + Set(named).subtracting(known).sorted()
    }

    /// A `reportingDescriptor` (section 3.49).
    private func descriptor(_ id: String) -> JSONValue {
        guard let rule = rules.first(where: { $0.id == id }) else { return ["id": .string(id)] }
        return [
            "id": .string(id),
            "shortDescription": message(rule.summary),
            "fullDescription": message(rule.protectsFrom),
            "help": message("\(rule.summary) \(rule.protectsFrom)"),
            "defaultConfiguration": ["level": .string(rule.severity.rawValue)],
            "properties": ["tags": [.string(rule.family.rawValue)]],
        ]
    }

    // MARK: Invocation

    /// The run did what it was asked to, unless something stayed unchecked (section 3.20).
    private func invocation(of report: CheckReport) -> JSONValue {
        var notifications: [JSONValue] = []
        for subject in report.subjects {
            for omission in subject.omissions where omission.isInconclusive {
                notifications.append([
                    "level": "error",
                    "message": message("\(omission.rule) could not be checked: \(omission.reason.printable)"),
                    "associatedRule": ["id": .string(omission.rule)],
                    "locations": [["physicalLocation": ["artifactLocation": artifact(subject.path)]]],
                ])
            }
        }
        var invocation: JSONObject = ["executionSuccessful": .bool(notifications.isEmpty)]
        if !notifications.isEmpty { invocation["toolExecutionNotifications"] = .array(notifications) }
        if !report.warnings.isEmpty {
            invocation["toolConfigurationNotifications"] = .array(
                report.warnings.map { ["level": "warning", "message": message($0.printable)] })
        }
        return .object(invocation)
    }

    /// A `message` whose text stands for itself: braces are doubled, since a single pair holds a placeholder (section
    /// 3.11.5), and what would read as an embedded link (section 3.11.6) is set apart.
    func message(_ text: String) -> JSONValue {
        var escaped = ""
        for scalar in text.unicodeScalars {
            if scalar == "(", escaped.unicodeScalars.last == "]" { escaped += " " }
            escaped.unicodeScalars.append(scalar)
            if scalar == "{" || scalar == "}" { escaped.unicodeScalars.append(scalar) }
        }
        return ["text": .string(escaped)]
    }

    /// An `artifactLocation` (section 3.4): relative to the root, or absolute and then without a base.
    func artifact(_ path: String) -> JSONValue {
        let relative = paths.relative(path)
        var location: JSONObject = ["uri": .string(URIText.reference(path: relative))]
        if relative.utf8.first != UInt8(ascii: "/") { location["uriBaseId"] = .string(Self.root) }
        return .object(location)
    }
}
