import Checking
import Testing

@Suite struct VerdictTests {
    private func finding(_ severity: Severity) -> Finding { Finding(rule: "rule", severity: severity, message: "is so") }

    @Test(arguments: Severity.allCases, Severity.allCases)
    func aFindingFailsFromItsSeverityOn(_ severity: Severity, _ limit: Severity) {
        let subject = CheckedSubject(path: "adapter", findings: [finding(severity)])
        let order: [Severity] = [.note, .warning, .error]
        let fails = order.firstIndex(of: severity)! >= order.firstIndex(of: limit)!
        #expect(subject.verdict(failOn: limit) == (fails ? .fail : .pass))
        #expect(CheckReport(subjects: [subject], failOn: limit).isClean == !fails)
    }

    @Test func whatStayedOpenFailsClosed() {
        let open = CheckedSubject.Omission(rule: "rule", reason: "unreadable", isInconclusive: true)
        let idle = CheckedSubject.Omission(rule: "rule", reason: "no base", isInconclusive: false)
        #expect(CheckedSubject(path: "a", omissions: [open, idle]).verdict(failOn: .error) == .inconclusive)
        #expect(CheckedSubject(path: "a", omissions: [idle]).verdict(failOn: .error) == .pass)
        #expect(CheckedSubject(path: "a", omissions: [open], findings: [finding(.error)]).verdict(failOn: .error) == .fail)
        #expect(!CheckReport(subjects: [CheckedSubject(path: "a", omissions: [open])]).isClean)
    }
}
