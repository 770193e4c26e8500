public import ByteAccess
import Checkpoints

/// Runs the rules on adapters.
public struct Checker: Sendable {
    /// The rules, in the order of the report.
    public var rules: [any CheckRule]
    /// What the rules are told beside the adapter.
    public var options: CheckOptions

    /// A checker with all rules of the registry and nothing told beside the adapter, unless other rules or options are given.
    public init(rules: [any CheckRule] = RuleRegistry.rules, options: CheckOptions = CheckOptions()) {
        self.rules = rules
        self.options = options
    }

    /// Checks the adapters at the paths; a directory stands for itself and for those below it.
    ///
    /// - Throws: what stops the work: a signal, or a directory that cannot be listed.
    public func check(_ paths: [String], failOn: Severity = .error, today: CalendarDate = .today) throws -> CheckReport {
        let search = try AdapterSearch(paths)
        let reportPaths = ReportPaths.current()
        var subjects = try search.found.map { found in
            var subject = try check(found.path)
            subject.origin = found.origin
            return subject
        }
        let remarks = ([search.remark] + subjects.map(\.remark)).compactMap { $0 }
        guard let policy = options.policy else {
            return CheckReport(subjects: subjects, failOn: failOn, warnings: remarks)
        }
        for index in subjects.indices { policy.judge(&subjects[index], paths: reportPaths, today: today) }
        let warnings = policy.expiryWarnings(subjects, paths: reportPaths, today: today)
        return CheckReport(subjects: subjects, failOn: failOn, warnings: remarks + warnings)
    }

    /// Bytes of the weights that ``check(_:failOn:today:)`` reads at these paths, from headers alone; what cannot be opened counts
    /// for nothing.
    ///
    /// - Throws: `.interrupted` where a signal came; `.refused` with rule `TreeSize` where a tree is too deep or has too many
    ///   directories; `.io` where a directory cannot be listed.
    public func weightBytes(at paths: [String]) throws -> UInt64 {
        try AdapterSearch(paths).found.reduce(0) { $0 + (CheckSubject(path: $1.path).weights.checkpoint?.tensorBytes ?? 0) }
    }

    /// Checks one adapter by the rules' own measure; severities and ignores of a policy are for the whole report.
    ///
    /// - Throws: `.interrupted` where a signal came. What else a rule throws becomes a finding or an omission of the result, unless it
    ///   is neither ``NotChecked`` nor a `PeftfileError`.
    public func check(_ path: String) throws -> CheckedSubject {
        let subject = CheckSubject(path: path, options: options)
        var result = CheckedSubject(path: path)
        for rule in rules {
            try Interruption.check()
            if let omission = Checker.omission(of: rule, subject) {
                result.omissions.append(omission)
                continue
            }
            do {
                result.findings += try rule.findings(in: subject)
                result.rulesRun += 1
            } catch let open as NotChecked {
                result.findings += open.findings
                result.omissions.append(.init(rule: rule.id, reason: open.reason, isInconclusive: true))
            } catch let error as PeftfileError where error.code != .interrupted {
                // What the evaluation refuses is a finding of the rule that owns the refusal.
                if let owner = rules.first(where: { error.rule.map($0.refusals.contains) ?? false }), owner.severity == .error,
                    !result.findings.contains(where: { $0.rule == owner.id })
                {
                    result.findings.append(Checker.finding(of: owner, error, subject))
                }
                result.omissions.append(.init(rule: rule.id, reason: error.description, isInconclusive: true))
            }
        }
        addRefusal(of: subject, to: &result)
        if let sample = try? subject.mergeSample(), sample.isPartial {
            result.partial = rules.filter { $0.looksAtSample }.map { .init(rule: $0.id, extent: sample.extent) }
        }
        sort(&result.findings)
        result.openUnread()
        result.sha256 = subject.sha256()
        result.remark = subject.stateNote
        return result
    }

    /// What a rule lacks on this subject; nil where it can run.
    private static func omission(of rule: any CheckRule, _ subject: CheckSubject) -> CheckedSubject.Omission? {
        let lacking = rule.needs.compactMap { need in reason(need, of: rule, subject).map { (need: need, reason: $0) } }
        guard let first = lacking.first else { return nil }
        let isUnread = lacking.allSatisfy { lack in
            switch lack.need {
            case .tensors: true
            case .config: subject.lacksConfig
            case .base, .target, .policy: false
            }
        }
        return .init(rule: rule.id, reason: first.reason, isInconclusive: false, isUnread: isUnread)
    }

    /// Why a need is not met; nil where it is.
    private static func reason(_ need: RuleNeed, of rule: any CheckRule, _ subject: CheckSubject) -> String? {
        switch need {
        case .tensors: subject.weights.checkpoint == nil ? "the tensors cannot be read" : nil
        case .config: subject.config.config == nil ? "there is no readable adapter_config.json" : nil
        case .base: subject.options.base == nil ? "no --base was given" : nil
        case .target: subject.options.targets.isEmpty ? "no --target was given" : nil
        case .policy: subject.options.policy?.asksFor(rule.id) == true ? nil : "no policy asks for it"
        }
    }

    /// Turns the refusal of opening or binding the adapter into a finding of the rule that owns it, unless another rule has
    /// found the cause. A refusal that no rule owns leaves the adapter unchecked.
    private func addRefusal(of subject: CheckSubject, to result: inout CheckedSubject) {
        guard case .refused(let error) = subject.binding else { return }
        if let owner = rules.first(where: { error.rule.map($0.refusals.contains) ?? false })?.id,
            owner == "config-invalid" || owner == "peft-type-unknown" || owner == "peft-type-missing" && subject.dialect == .peft
        {
            // Without a method nothing was held against the config or the base.
            result.omissions.append(
                .init(rule: "target-not-in-base", reason: error.description, isInconclusive: false, isUnread: true))
        }
        guard !result.findings.contains(where: { $0.severity == .error && $0.rule != "nonfinite" && $0.rule != "untrained" })
        else { return }
        // A file of another library needs no peft_type.
        let isForeign = error.rule == "PeftTypeMissing" && subject.dialect == .other
        if !isForeign, let rule = rules.first(where: { error.rule.map($0.refusals.contains) ?? false }) {
            guard !result.findings.contains(where: { $0.rule == rule.id }) else { return }
            result.findings.append(Checker.finding(of: rule, error, subject))
        } else {
            result.omissions.append(
                .init(rule: "target-not-in-base", reason: error.description, isInconclusive: true))
        }
    }

    /// A refusal as a finding of its rule. A tensor of the base is named in the message: it is in none of the adapter's files.
    private static func finding(of rule: any CheckRule, _ error: PeftfileError, _ subject: CheckSubject) -> Finding {
        guard let tensor = error.tensor, subject.weights.checkpoint?[tensor] == nil, subject.options.base?[tensor] != nil else {
            return rule.finding(error.message, file: error.file, tensor: error.tensor, offset: error.offset, help: error.help)
        }
        return rule.finding(
            "the base's \"\(tensor.text.printable)\" \(error.message)", file: error.file, offset: error.offset, help: error.help)
    }

    /// By rule in the order of the registry; findings of one rule stay in theirs.
    private func sort(_ findings: inout [Finding]) {
        let order = Dictionary(rules.enumerated().map { ($1.id, $0) }) { first, _ in first }
        findings = findings.enumerated()
            .sorted { (order[$0.element.rule] ?? .max, $0.offset) < (order[$1.element.rule] ?? .max, $1.offset) }
            .map(\.element)
    }
}
