import ByteAccess

/// Another kind of file under the name of the weights.
struct NotSafetensors: CheckRule {
    let id = "not-safetensors"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The file is not what its name says: an HTML page, a JSON answer, an archive, another format."
    let protectsFrom = """
        A download that was answered with a login page, an archive that nobody unpacked, a renamed file. Loaders say "header \
        too large" and leave the reader to guess.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let error = subject.weights.error, let file = subject.weights.file, let text = ContainerDefect.jsonText(error.file ?? file)
        else { return unreadableWeights(in: subject, .notSafetensors) }
        return unreadableWeights(in: subject, .notSafetensors).map {
            finding(
                "is a JSON text and no checkpoint, it begins: \(text)", file: $0.file,
                help: "the download was answered with an error or another file: fetch it again")
        }
    }
}
