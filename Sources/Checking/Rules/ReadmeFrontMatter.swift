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

/// README.md as the Hub reads it.
enum ModelCard {
    /// The lines between the first `---` and the next; nil where there is no such block.
    static func frontMatter(in directory: String) throws -> [String]? {
        let path = FileSystem.join(directory, "README.md")
        guard FileSystem.isRegularFile(path) else { return nil }
        let reader = try FileReader(path: path)
        let bytes = try reader.bytes(at: 0, count: Int(min(reader.size, 1 << 20)))
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.hasSuffix("\r") ? String($0.dropLast()) : String($0) }
        guard lines.first == "---", let end = lines.dropFirst().firstIndex(of: "---") else { return nil }
        return Array(lines[1..<end])
    }
}
