/// Another kind of file under the name of the weights.
struct NotSafetensors: CheckRule {
    let id = "not-safetensors"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The file is not what its name says: an HTML page, an archive, another format."
    let protectsFrom = """
        A download that was answered with a login page, an archive that nobody unpacked, a renamed file. Loaders say "header \
        too large" and leave the reader to guess.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] { unreadableWeights(in: subject, .notSafetensors) }
}
