import ByteAccess

/// A directory without weights.
struct WeightsMissing: CheckRule {
    let id = "weights-missing"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The directory holds no adapter weights that can be opened."
    let protectsFrom = """
        A repository that was published without its weights, or from a folder above them. PEFT's load_peft_weights then asks \
        the Hub for the file, and fails or gets another one.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        if case .missing = subject.weights {
            return [
                finding(
                    "there is no adapter_model.safetensors", file: subject.directory,
                    help: "copy what save_pretrained wrote, or give the directory that holds it")
            ]
        }
        guard let error = subject.weights.error, let file = subject.weights.file else { return [] }
        switch ContainerDefect(error, file: file) {
        case .io: return [finding(error.message, file: error.file ?? file, help: error.help)]
        case .unread: throw NotChecked(error.description)
        default: return []
        }
    }
}
