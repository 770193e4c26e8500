import ByteAccess

/// A Git LFS pointer where the weights should be.
struct LFSPointer: CheckRule {
    let id = "lfs-pointer"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The file is a Git LFS pointer, not the weights."
    let protectsFrom = """
        A checkout without git-lfs: the text that stands for the file is published or mounted in its place. Loaders read its \
        first bytes as a header length and say "header too large".
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let file = subject.weights.error?.file else { return [] }
        let name = FileSystem.fileName(of: file)
        return unreadableWeights(
            in: subject, .lfsPointer,
            help: "fetch the file: git -C \(FileSystem.directory(of: file).shellQuoted) lfs pull --include \(name.shellQuoted)")
    }
}
