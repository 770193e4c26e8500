import ByteAccess

/// An adapter without terms, where a policy asks for them.
struct LicenseMissing: CheckRule {
    let id = "license-missing"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "There is neither a licence file nor a license in the front matter of README.md."
    let protectsFrom = """
        Weights that nobody may use: without a licence all rights are reserved, and the terms of the base model often have to be \
        passed on with what was trained from it.
        """
    let needs: [RuleNeed] = [.policy]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let names = try FileSystem.list(subject.directory).map { $0.lowercased() }
        let hasFile = names.contains { name in ["license", "licence", "copying"].contains(where: name.hasPrefix) }
        guard !hasFile, try ModelCard(path: FileSystem.join(subject.directory, "README.md"))?.license == nil else { return [] }
        return [
            finding(
                "neither a LICENSE file nor a license in README.md says what may be done with the adapter",
                file: subject.directory, help: "add the file, or \"license: apache-2.0\" to the front matter of README.md")
        ]
    }
}
