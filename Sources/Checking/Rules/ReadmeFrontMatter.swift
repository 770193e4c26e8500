import ByteAccess

/// A model card without its head.
struct ReadmeFrontMatter: CheckRule {
    let id = "readme-front-matter"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "README.md is missing, or does not begin with YAML front matter that names base_model."
    let protectsFrom = """
        An adapter that the Hub does not list under its base and whose inference widgets do not know what to load (base_model in \
        the model card's metadata).
        """
    let needs: [RuleNeed] = [.policy]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard !subject.isFile else { return [] }
        let path = FileSystem.join(subject.directory, "README.md")
        guard let lines = try ModelCard.frontMatter(in: subject.directory) else {
            return [
                finding(
                    FileSystem.exists(path) ? "does not begin with YAML front matter" : "there is no README.md", file: path,
                    help: "begin README.md with a block between two lines --- that holds base_model: and library_name: peft")
            ]
        }
        guard !lines.contains(where: { $0.hasPrefix("base_model:") }) else { return [] }
        return [finding("the front matter names no base_model", file: path, help: "add base_model: with the base's Hub id")]
    }
}
