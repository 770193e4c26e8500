import ByteAccess

/// An adapter that nobody describes, where a policy asks for a description.
struct ReadmeMissing: CheckRule {
    let id = "readme-missing"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "The directory has no README.md, or an empty one."
    let protectsFrom = """
        Adapters whose purpose, data and terms nobody can tell. The Hub shows README.md as the model card and takes base model, \
        licence and tags from it.
        """
    let needs: [RuleNeed] = [.policy]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let path = FileSystem.join(subject.directory, "README.md")
        guard try ModelCard(path: path)?.isEmpty != false else { return [] }
        return [
            finding(
                FileSystem.exists(path) ? "README.md is empty" : "there is no README.md", file: subject.directory,
                help: "write what the adapter is for, and from which base and data it comes")
        ]
    }
}
