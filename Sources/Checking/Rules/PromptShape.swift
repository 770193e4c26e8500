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
        guard let config = subject.config.config, let prompt = config.peftType.flatMap(SoftPrompt.init(peftType:)) else { return [] }
        let help = "copy the config that PEFT wrote with these tensors; what is there: peftfile inspect --tensors "
            + subject.path.shellQuoted
        let sizes = sizes(of: prompt, config, help: help)
        guard sizes.isEmpty else { return sizes }
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

    /// What the config's own numbers lack. The heads must divide the width of a slot, in which PEFT reshapes keys and values; those that
    /// are not there it takes from the base, and the number of tokens it does not.
    ///
    /// Source: `_setup_prompt_encoder` and `get_prompt` in peft/peft_model.py, `_prepare_prompt_learning_config` in peft/utils/other.py.
    private func sizes(of prompt: SoftPrompt, _ config: AdapterConfig, help: String) -> [Finding] {
        var (result, counts): ([Finding], [ExactString: Int]) = ([], [:])
        for key: ExactString in ["num_virtual_tokens", "token_dim", "num_attention_heads", "num_layers", "num_transformer_submodules"] {
            do { counts[key] = try config.count(key) } catch let error as PeftfileError {
                result.append(finding(error.message, file: config.path, help: help))
            } catch {}
        }
        guard result.isEmpty else { return result }
        if counts["num_virtual_tokens"] == nil {
            result.append(finding("the config has no num_virtual_tokens, without which PEFT cannot load a prompt", file: config.path, help: help))
        }
        if prompt.isKeyValue, let width = counts["token_dim"], let heads = counts["num_attention_heads"], width % heads != 0 {
            result.append(
                finding("num_attention_heads is \(heads), which does not divide token_dim \(width)", file: config.path, help: help))
        }
        return result
    }
}
