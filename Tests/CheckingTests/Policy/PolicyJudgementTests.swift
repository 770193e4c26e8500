import ByteAccess
@testable import Checking
import TestSupport
import Testing

@Suite struct PolicyJudgementTests {
    static let day = CalendarDate(daysSince1970: 20_454)  // 2026-01-01

    private func policy(_ text: String) throws -> CheckPolicy {
        try CheckPolicy(LocatedDocument(Array(text.utf8), file: "p.yml"))
    }

    private func judged(_ text: String, _ subject: CheckedSubject) throws -> CheckedSubject {
        var copy = subject
        try policy(text).judge(&copy, paths: SampleReport.paths, today: Self.day)
        return copy
    }

    private let two = SampleReport.subject([
        SampleReport.finding("untrained", .error, tensor: "layers.0.q"),
        SampleReport.finding("untrained", .warning, tensor: "layers.1.q"), SampleReport.finding("nonfinite", .error),
    ])

    @Test func severitiesAreThePolicys() throws {
        let result = try judged("rules: {untrained: note, nonfinite: off}", two)
        #expect(result.findings.map(\.severity) == [.note, .note] && result.hidden.isEmpty)
        #expect(result.verdict(failOn: .warning) == .pass && result.verdict(failOn: .note) == .fail)
    }

    @Test func aRuleThatIsOffNeedNoAnswer() throws {
        let open = SampleReport.subject([], omissions: [.init(rule: "nonfinite", reason: "unread", isInconclusive: true)])
        #expect(open.verdict(failOn: .error) == .inconclusive)
        #expect(try judged("rules: {nonfinite: off}", open).verdict(failOn: .error) == .pass)
        #expect(try judged("rules: {untrained: off}", open).verdict(failOn: .error) == .inconclusive)
        let entry = "ignore: [{rule: nonfinite, reason: x, expires: 2026-01-01"
        #expect(try judged(entry + "}]", open).verdict(failOn: .error) == .pass)
        #expect(try judged(entry + ", tensor: '*'}]", open).verdict(failOn: .error) == .inconclusive)
    }

    @Test func ignoresHideWhatTheyName() throws {
        func left(_ more: String) throws -> [String] {
            let text = "ignore: [{rule: untrained, reason: known, expires: 2026-01-01\(more)}]"
            return try judged(text, two).findings.map { $0.tensor?.text ?? $0.rule }
        }
        #expect(try left("") == ["nonfinite"])
        #expect(try left(", tensor: '*.0.*'") == ["layers.1.q", "nonfinite"])
        #expect(try left(", path: loras/a") == ["nonfinite"])
        #expect(try left(", path: 'loras/*/adapter_model.safetensors'") == ["nonfinite"])
        #expect(try left(", path: loras") == ["layers.0.q", "layers.1.q", "nonfinite"])
        #expect(try left(", path: 'other/*'") == ["layers.0.q", "layers.1.q", "nonfinite"])
    }

    /// The last day counts; the day after, the findings are back and the report says so.
    @Test func ignoresExpire() throws {
        let live = "ignore: [{rule: untrained, reason: known, expires: 2026-01-01}]"
        let dead = "ignore:\n  - {rule: untrained, reason: known, expires: 2025-12-31}"
        #expect(try judged(live, two).hidden.map(\.reason) == Array(repeating: "ignored until 2026-01-01: known", count: 2))
        let back = try judged(dead, two)
        #expect(back.findings.count == 3 && back.hidden.isEmpty)
        #expect(try policy(live).expiryWarnings([two], paths: SampleReport.paths, today: Self.day).isEmpty)
        #expect(
            try policy(dead).expiryWarnings([back], paths: SampleReport.paths, today: Self.day)
                == ["p.yml: line 2: the ignore of untrained expired on 2025-12-31: 2 findings count again"])
    }

    /// From the policy's file to the report of real adapters.
    @Test(arguments: [
        ("max-rank: 3", "rank-over-limit"), ("max-size: 100", "size-over-limit"), ("dtypes: [BF16]", "dtype-not-allowed"),
        ("bases: [meta-llama/*]", "base-not-allowed"), ("metadata: {format: tf}", "metadata-missing"),
        ("metadata: [origin]", "metadata-missing"),
    ])
    func limitsAreHeld(_ text: String, _ rule: String) throws {
        let path = Fixtures.path("negative/clean")
        let report = try Checker(options: CheckOptions(policy: policy(text))).check([path])
        #expect(report.subjects.flatMap(\.findings).map(\.rule) == [rule] && !report.isClean)
        let softened = try Checker(options: CheckOptions(policy: policy(text + "\nrules: {\(rule): warning}"))).check([path])
        #expect(softened.isClean && softened.subjects.flatMap(\.findings).map(\.severity) == [.warning])
    }

    @Test func whatIsWithinTheLimitsPasses() throws {
        let text = """
            max-rank: 4
            max-size: 1MB
            dtypes: [float32]
            bases: ["*"]
            metadata: {format: p?}
            """
        let report = try Checker(options: CheckOptions(policy: policy(text))).check([Fixtures.path("negative/clean")])
        #expect(report.subjects.map(\.findings) == [[]] && report.isClean)
        let without = try Checker().check([Fixtures.path("negative/clean")])
        #expect(report.subjects[0].rulesRun == without.subjects[0].rulesRun + CheckPolicy.limits.count)
    }

    /// README and licence are looked at where a policy asks, and only there.
    @Test func cardsAreLookedAtWhenAsked() throws {
        let text = "rules: {readme-missing: error, license-missing: error}"
        func found(_ files: [String: String]) throws -> [String] {
            let directory = try TemporaryDirectory()
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                try directory.write(TestFile.bytes(Fixtures.path("negative/clean/\(name)")), to: name)
            }
            for (name, text) in files { try directory.write(text, to: name) }
            #expect(try Checker().check([directory.path]).subjects[0].findings.isEmpty)
            return try Checker(options: CheckOptions(policy: policy(text))).check([directory.path]).subjects[0].findings.map(\.rule)
        }
        #expect(try found([:]) == ["readme-missing", "license-missing"])
        #expect(try found(["README.md": " \n\n"]) == ["readme-missing", "license-missing"])
        #expect(try found(["README.md": "# Card\n", "LICENSE.txt": "MIT"]) == [])
        #expect(try found(["README.md": "---\nbase_model: x\nlicense: mit\n---\n# Card\n"]) == [])
        #expect(try found(["README.md": "---\r\nlicense: mit\r\n---\r\n"]) == [])
        for none in ["---\nlicense:\n---\n", "---\nlicense: ''\n---\n", "license: mit\n", "---\n---\nlicense: mit\n", "---\n  license: mit\n---\n"] {
            #expect(try found(["README.md": none]) == ["license-missing"], "\(none)")
        }
        let off = "rules: {readme-missing: off, license-missing: warning}"
        let report = try Checker(options: CheckOptions(policy: policy(off))).check([Fixtures.path("negative/clean")])
        #expect(report.subjects[0].findings.map(\.rule) == ["license-missing"] && report.isClean)
    }
}
