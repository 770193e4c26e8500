import Adapters
import ByteAccess

/// Names without `base_model.model.`.
struct PrefixMissing: CheckRule {
    let id = "prefix-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The config is PEFT's, and tensor names lack base_model.model."
    let protectsFrom = """
        PEFT adds the prefix to what it looks for and loads none of these tensors; the model answers as the base does \
        (vllm-project/vllm issue 34186, volcengine/verl issue 7285).
        """
    let needs: [RuleNeed] = [.tensors, .config]

    /// What torch.compile and FSDP put into the middle of names.
    private static let wrappers = ["._orig_mod.", "._fsdp_wrapped_module."]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType != nil else { return [] }
        if let dialect = subject.foreignDialect {
            // Beside a file of their own name other tools write PEFT's config for whoever converts it.
            guard let file = subject.weights.file, FileSystem.fileName(of: file).hasPrefix("adapter_model.safetensors") else { return [] }
            return [
                finding(
                    "the names are those of \(dialect), and PEFT, which the config is of, loads none of them", file: file,
                    tensor: subject.keys.first?.stored,
                    help: "write it with PEFT's names; they need the base that it was trained on: "
                        + "peftfile convert \(subject.path.shellQuoted) -o converted --to peft --base BASE")
            ]
        }
        let wrapped = subject.keys.filter { key in
            key.hadPrefix && (!key.stored.text.hasPrefix("base_model.") || PrefixMissing.wrappers.contains { key.stored.text.contains($0) })
        }
        if let first = wrapped.first {
            return [
                finding(
                    "\(wrapped.count) of \(subject.keys.count) names hold a wrapper of the training (module., _orig_mod.), and PEFT loads "
                        + "none of them into the plain model", file: subject.weights.file, tensor: first.stored,
                    help: "write it with PEFT's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft")
            ]
        }
        let bare = subject.keys.filter { !$0.hadPrefix && !$0.isPrompt && $0.component != nil }
        guard let first = bare.first else { return [] }
        return [
            finding(
                "\(bare.count) of \(subject.keys.count) names do not begin with base_model.model., and PEFT loads none of "
                    + "them", file: subject.weights.file, tensor: first.stored,
                help: "write it with PEFT's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft")
        ]
    }
}
