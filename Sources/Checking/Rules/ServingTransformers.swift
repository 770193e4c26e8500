import Adapters
import ByteAccess
import Checkpoints

/// What transformers rejects.
///
/// Source: `PeftAdapterMixin` in src/transformers/integrations/peft.py, as of huggingface/transformers 01245936: "Other PEFT
/// models such as prompt tuning, prompt learning are out of scope as these adapters are not injectable".
struct ServingTransformers: CheckRule {
    let id = "serving-transformers"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "The load_adapter of transformers rejects the adapter."
    let protectsFrom = """
        PeftAdapterMixin in transformers/integrations/peft.py injects modules and has no place for prompts: prompt learning \
        needs PeftModel, as its documentation says. It finds an adapter by its adapter_config.json alone.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.transformers) else { return [] }
        guard let config = subject.config.config else {
            return [
                finding(
                    "transformers finds no adapter_config.json", file: subject.directory,
                    help: "copy the config that PEFT wrote beside the weights")
            ]
        }
        guard let type = config.peftType else {
            return [
                finding(
                    "transformers rejects a config without peft_type", file: config.path, help: ServingHelp.merge(subject))
            ]
        }
        guard SoftPrompt(peftType: type) != nil else { return [] }
        return [
            finding(
                "transformers' load_adapter injects modules, and \(type) has none", file: config.path,
                help: "load it with PeftModel.from_pretrained")
        ]
    }
}
