/// What `check` found in all adapters of one call.
public struct CheckReport: Sendable {
    /// The adapters, in the order of the paths.
    public var subjects: [CheckedSubject]
    /// What was said beside the findings, in words.
    public var warnings: [String]
    /// The least severity that fails a subject.
    public var failOn: Severity

    /// A report on these adapters. By default errors alone fail a subject.
    public init(subjects: [CheckedSubject], failOn: Severity = .error, warnings: [String] = []) {
        self.subjects = subjects
        self.failOn = failOn
        self.warnings = warnings
    }

    /// Whether every subject passes.
    public var isClean: Bool { subjects.allSatisfy { $0.verdict(failOn: failOn) == .pass } }
}

/// One adapter and what the rules said of it.
public struct CheckedSubject: Sendable {
    /// Whether an adapter may be published.
    public enum Verdict: String, Sendable {
        /// Nothing that fails was found, and something was.
        case pass, fail
        /// Nothing failed, and something that was asked could not be checked.
        case inconclusive
    }

    /// A rule that did not run, and why.
    public struct Omission: Sendable, Hashable {
        /// The rule's id.
        public var rule: String
        /// Why it did not run.
        public var reason: String
        /// Whether the question was asked and stayed open; false where it does not arise, as without `--base`.
        public var isInconclusive: Bool
        /// Whether the question was asked and the weights or the config could not be read. A finding says why; the question
        /// stays open where that finding does not count as an error.
        public var isUnread: Bool

        /// Notes that a rule did not run, because its question does not arise, stayed open, or met what could not be read.
        public init(rule: String, reason: String, isInconclusive: Bool, isUnread: Bool = false) {
            self.rule = rule
            self.reason = reason
            self.isInconclusive = isInconclusive
            self.isUnread = isUnread
        }
    }

    /// What a rule that ran looked at, where that was a part.
    public struct Part: Sendable, Hashable {
        /// The rule's id.
        public var rule: String
        /// The part, in words: `16 rows of each of 24 of 224 tensors, 1572864 of 939524096 elements`.
        public var extent: String

        /// Notes that a rule looked at this part and at no more.
        public init(rule: String, extent: String) {
            self.rule = rule
            self.extent = extent
        }
    }

    /// A finding that does not count, and why: known by the baseline, or ignored by the policy.
    public struct Hidden: Sendable, Hashable {
        /// What was found.
        public var finding: Finding
        /// Why it does not count.
        public var reason: String

        /// Takes a finding out of the count, with the reason that reports give.
        public init(finding: Finding, reason: String) {
            self.finding = finding
            self.reason = reason
        }
    }

    /// The path as given, or as found in a tree that was given.
    public var path: String
    /// Where paths begin that lie outside the working directory, so that they are the same on every machine; nil for absolute.
    public var origin: String?
    /// SHA-256 of the weights, in hex; nil where they are not one file that was read whole.
    public var sha256: String?
    /// How many rules could run.
    public var rulesRun: Int
    /// The rules that could not, each with the reason.
    public var omissions: [Omission]
    /// What rules looked at in part.
    public var partial: [Part] = []
    /// In the order of the registry.
    public var findings: [Finding]
    /// Findings that do not count.
    public var hidden: [Hidden]
    /// What of the file was not checked, as it is no part of the adapter: the frozen weights of a training state.
    public var remark: String?

    /// An adapter of which, without more arguments, nothing is said yet: no rule has run, and it passes.
    public init(
        path: String, sha256: String? = nil, rulesRun: Int = 0, omissions: [Omission] = [], findings: [Finding] = [],
        hidden: [Hidden] = []
    ) {
        self.path = path
        self.sha256 = sha256
        self.rulesRun = rulesRun
        self.omissions = omissions
        self.findings = findings
        self.hidden = hidden
    }

    /// Leaves open what was not read, where no error stands that would fail the subject for it: a policy or a baseline that
    /// takes the error away does not answer the questions of the rules that could not look.
    mutating func openUnread() {
        guard !findings.contains(where: { $0.severity == .error }) else { return }
        for index in omissions.indices where omissions[index].isUnread { omissions[index].isInconclusive = true }
    }

    /// The verdict, where findings of `failOn` and above fail.
    public func verdict(failOn: Severity) -> Verdict {
        if findings.contains(where: { $0.severity >= failOn }) { return .fail }
        return omissions.contains(where: \.isInconclusive) ? .inconclusive : .pass
    }
}
