import Adapters
import ByteAccess
import Checkpoints

/// Prompts that their config or the base contradicts.
struct PromptShape: CheckRule {
    let id = "prompt-shape"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A prompt or prefix is not of the size that its config, or the base, asks for."
    let protectsFrom = """
        Prompts are reshaped by the config's numbers when they are loaded (PeftModel.get_prompt in peft/peft_model.py): with wrong \
        ones loading fails, or keys and values of different layers and heads are mixed up.
        """
    let needs: [RuleNeed] = [.tensors, .config]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let type = subject.config.config?.peftType, SoftPrompt(peftType: type) != nil else { return [] }
        let help = "copy the config that PEFT wrote with these tensors; what is there: peftfile inspect --tensors "
            + subject.path.shellQuoted
        let source: PromptSource
        do {
            source = try PromptSource(path: subject.path)
        } catch let error as PeftfileError where error.code == .refused || error.code == .malformed {
            return [finding(error.message, file: error.file, tensor: error.tensor, help: help)]
        }
        guard let base = subject.options.base, let json = base.config,
            let facts = try? PromptFacts(of: AdapterConfig(json: json, path: base.path))
        else { return [] }
        return source.modules.compactMap { module in
            guard let width = module.width else { return nil }
            let wanted: Int?
            if module.kind.isKeyValue {
                let slots = facts.layers.flatMap { layers in
                    facts.tokenWidth.map { $0.multipliedReportingOverflow(by: 2).partialValue.multipliedReportingOverflow(by: layers) }
                }
                wanted = slots.flatMap { $0.overflow ? nil : $0.partialValue }
            } else {
                wanted = facts.hidden
            }
            guard let wanted, width != wanted else { return nil }
            return finding(
                "makes rows of \(width) numbers, and the base asks for \(wanted)", file: subject.weights.file,
                tensor: module.tensors.first, help: "give the base that it was trained on")
        }
    }
}
