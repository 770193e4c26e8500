import ByteAccess

/// An adapter without a licence.
struct LicenceMissing: CheckRule {
    let id = "licence-missing"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "Neither the model card nor a LICENSE file says under which terms the adapter may be used."
    let protectsFrom = "An adapter that nobody may use: without a licence all rights are reserved, whatever the base's licence allows."
    let needs: [RuleNeed] = [.policy]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard !subject.isFile else { return [] }
        let files = try subject.entries().map { $0.name.uppercased() }
        let hasFile = files.contains { $0.hasPrefix("LICENSE") || $0.hasPrefix("LICENCE") || $0.hasPrefix("COPYING") }
        let card = try ModelCard.frontMatter(in: subject.directory) ?? []
        guard !hasFile, !card.contains(where: { $0.hasPrefix("license:") }) else { return [] }
        return [
            finding(
                "no licence is given", file: subject.directory,
                help: "add license: to the front matter of README.md, or a LICENSE file")
        ]
    }
}
