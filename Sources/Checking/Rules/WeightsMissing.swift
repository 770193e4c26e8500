import Adapters
import ByteAccess
import Checkpoints

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

    /// What PEFT looks for; an index is for transformers' own loader.
    private static let names = ["adapter_model.safetensors", "adapter_model.bin", "adapter_model.safetensors.index.json"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        if case .missing = subject.weights {
            if let several = severalStates(subject) { return [finding(several.message, file: subject.directory, help: several.help)] }
            if let parts = DistributedCheckpoint(at: subject.directory) {
                return [finding("there is no adapter_model.safetensors; the directory \(DistributedCheckpoint.message)", file: subject.directory, help: parts.help)]
            }
            return [
                finding(
                    "there is no adapter_model.safetensors", file: subject.directory,
                    help: "copy what save_pretrained wrote, or give the directory that holds it")
            ]
        }
        if subject.config.config?.peftType != nil, !subject.isFile, subject.weights.checkpoint != nil, let file = subject.weights.file,
            !WeightsMissing.names.contains(FileSystem.fileName(of: file))
        {
            let wanted = file.hasSuffix(".safetensors") ? WeightsMissing.names[0] : WeightsMissing.names[1]
            let move = "rename the file: mv \(file.shellQuoted) \(FileSystem.join(subject.directory, wanted).shellQuoted)"
            // Under another file name PEFT would still not load what it does not name so.
            let isNamed = try !AdapterNameInKey().findings(in: subject).isEmpty
            let state = !isNamed && subject.stateNote == nil ? nil : "take the adapter out: peftfile convert \(subject.path.shellQuoted) -o converted --to peft"
            return [
                finding(
                    "the weights are in \(FileSystem.fileName(of: file).printable), and PEFT looks for \(wanted)", file: file,
                    help: state ?? move)
            ]
        }
        guard let error = subject.weights.error, let file = subject.weights.file else { return [] }
        switch ContainerDefect(error, file: file) {
        case .io: return [finding(error.message, file: error.file ?? file, help: error.help)]
        case .unread: throw NotChecked(error.description)
        default: return []
        }
    }

    /// The refusal of a directory with several training states, or with shards of one and no index.
    private func severalStates(_ subject: CheckSubject) -> PeftfileError? {
        guard subject.config.config?.peftType != nil, let states = try? TrainingStates(in: subject.directory), !states.paths.isEmpty else {
            return nil
        }
        do { _ = try states.only() } catch { return error as? PeftfileError }
        return nil
    }
}
