import ByteAccess

extension CheckPolicy {
    /// Gives findings the policy's severities, takes away those of rules that are off, and hides what is ignored.
    func judge(_ subject: inout CheckedSubject, paths: ReportPaths, today: CalendarDate) {
        var findings: [Finding] = []
        for var finding in subject.findings {
            switch levels[finding.rule] {
            case .off: continue
            case .severity(let severity): finding.severity = severity
            case nil: break
            }
            if let ignore = live(today).first(where: { $0.hides(finding, of: subject, paths) }) {
                subject.hidden.append(.init(finding: finding, reason: reason(ignore)))
            } else {
                findings.append(finding)
            }
        }
        subject.findings = findings
        for index in subject.omissions.indices {
            let omission = subject.omissions[index]
            if levels[omission.rule] == .off {
                subject.omissions[index] = .init(rule: omission.rule, reason: "the policy turns it off", isInconclusive: false)
            } else if omission.isInconclusive || omission.isUnread,
                let ignore = live(today).first(where: { $0.tensor == nil && $0.covers(omission.rule, nil, of: subject, paths) })
            {
                subject.omissions[index] = .init(
                    rule: omission.rule, reason: "\(omission.reason); \(reason(ignore))", isInconclusive: false)
            }
        }
        subject.openUnread()
    }

    /// What is said of ignores whose time is over: one line each, with the number of findings that count again.
    func expiryWarnings(_ subjects: [CheckedSubject], paths: ReportPaths, today: CalendarDate) -> [String] {
        ignores.filter { $0.expires < today }.map { ignore in
            let count = subjects.reduce(0) { sum, subject in
                sum + subject.findings.count { ignore.hides($0, of: subject, paths) }
            }
            let effect = count == 1 ? "1 finding counts again" : "\(count) findings count again"
            return "\(file): line \(ignore.line): the ignore of \(ignore.rule) expired on \(ignore.expires): \(effect)"
        }
    }

    private func live(_ today: CalendarDate) -> [Ignore] { ignores.filter { $0.expires >= today } }

    private func reason(_ ignore: Ignore) -> String { "ignored until \(ignore.expires): \(ignore.reason)" }
}

extension CheckPolicy.Ignore {
    func hides(_ finding: Finding, of subject: CheckedSubject, _ paths: ReportPaths) -> Bool {
        guard covers(finding.rule, finding.file, of: subject, paths) else { return false }
        guard let tensor else { return true }
        return finding.tensor.map { tensor.matches($0.text) } ?? false
    }

    /// Whether rule and path are those of the ignore; the path may be the adapter's or the file's.
    func covers(_ rule: String, _ file: String?, of subject: CheckedSubject, _ paths: ReportPaths) -> Bool {
        guard self.rule == rule else { return false }
        guard let path else { return true }
        return [subject.path, file ?? subject.path].contains { path.matches(paths.relative($0)) }
    }
}
