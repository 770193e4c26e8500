import ByteAccess
import Checking

/// Reports to try the reporters on.
enum SampleReport {
    struct Rule: CheckRule {
        var id: String
        var family = RuleFamily.config
        var severity = Severity.error
        var summary: String { "Finds \(id)." }
        var protectsFrom: String { "Loaders that take {\(id)} for granted." }
        var needs: [RuleNeed] { [] }
        func findings(in subject: CheckSubject) throws -> [Finding] { [] }
    }

    static let rules: [any CheckRule] = [
        Rule(id: "missing-pair"), Rule(id: "unknown-key", severity: .warning), Rule(id: "no-base", family: .base),
        Rule(id: "readme-missing", family: .directory, severity: .note), Rule(id: "nan", family: .numerics),
    ]

    static let paths = ReportPaths(workingDirectory: "/home/ci/build")

    /// Names that break whoever forgets to escape them. A Swift string is always valid Unicode.
    static let hostileNames = [
        "plain", "a b", "100%", "a%0Ab", "line\nbreak", "carriage\rreturn", "tab\there", "]]>", "<a href=\"x\">&amp;</a>",
        "'quote'", "\"double\"", "back\\slash", "nul\u{0}byte", "esc\u{1B}[31m", "bell\u{7}", "c1\u{9B}31m", "del\u{7F}",
        "bidi\u{202E}txt.exe", "isolate\u{2066}x\u{2069}", "line\u{2028}separator", "non\u{FFFE}character", "last\u{FFFF}one",
        "::error::owned", "##[add-mask]x", "a,b:c=d;e", "%25", "{0}", "[click](https://example.org)", "é", "e\u{301}", "日本語",
        "😀", "", " ", "../../etc/passwd", "#fragment?query", "-flag", "\u{FEFF}bom", "ﬁ",
    ]

    static func subject(_ findings: [Finding], path: String = "loras/a", omissions: [CheckedSubject.Omission] = [])
        -> CheckedSubject
    {
        CheckedSubject(path: path, rulesRun: 4, omissions: omissions, findings: findings)
    }

    static func finding(
        _ rule: String = "missing-pair", _ severity: Severity = .error, _ message: String = "has no lora_B",
        file: String? = "loras/a/adapter_model.safetensors", tensor: String? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> Finding {
        Finding(
            rule: rule, severity: severity, message: message, file: file, tensor: tensor.map { ExactString($0) },
            offset: offset, help: help)
    }

    /// Every kind of thing that a report can hold.
    static let full = CheckReport(
        subjects: [
            CheckedSubject(
                path: "loras/a", rulesRun: 4,
                omissions: [
                    .init(rule: "no-base", reason: "no --base", isInconclusive: false),
                    .init(rule: "nan", reason: "3 tensors have a dtype that is not read", isInconclusive: true),
                ],
                findings: [
                    finding(tensor: "q_proj.lora_A.weight", offset: 4096, help: "save the adapter again"),
                    finding("unknown-key", .warning, "\"flavour\" is no key of LORA", file: "loras/a/adapter_config.json"),
                    finding("outside-the-registry", .note, "is unusual", file: nil),
                ],
                hidden: [
                    .init(
                        finding: finding("readme-missing", .note, "has no README.md", file: nil),
                        reason: "written before the rule")
                ]),
            CheckedSubject(path: "loras/b", rulesRun: 5),
        ], warnings: ["the ignore of \"nan\" expired"])

    /// One report with every hostile name at every place.
    static let hostile = CheckReport(
        subjects: hostileNames.map { name in
            CheckedSubject(
                path: "loras/\(name)",
                omissions: [.init(rule: "nan", reason: name, isInconclusive: true)],
                findings: [finding("rule-\(name)", .error, name, file: "loras/\(name)/x", tensor: name, help: name)],
                hidden: [.init(finding: finding("missing-pair", .error, name, tensor: name), reason: name)])
        }, warnings: hostileNames)
}
