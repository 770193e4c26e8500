import Peftfile

/// Ranks that our server's kernels do not take.
struct RankMultiple: CheckRule {
    let id = "rank-multiple"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "A module's rank is no multiple of 8."
    let protectsFrom = "Our server's kernels work on 8 ranks at a time, and refuse the adapter when the first request comes."
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let adapter = try subject.adapter()
        return try MethodRegistry.method(of: adapter).targets(of: adapter).compactMap { target in
            guard let rank = target.rank, rank % 8 != 0 else { return nil }
            return finding(
                "module \"\(target.module.text)\" has rank \(rank)", file: subject.weights.file,
                help: "train with r = \((rank + 7) / 8 * 8)")
        }
    }
}

/// Judges adapters by the rules of the library and our own, and prints what was found.
func areFitForOurServer(_ paths: [String]) throws -> Bool {
    let report = try Checker(rules: RuleRegistry.rules + [RankMultiple()]).check(paths)
    print(CheckTextReporter().render(report))
    return report.isClean
}
