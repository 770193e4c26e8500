import Adapters
import ByteAccess
import Checkpoints

/// Names that are a level off.
struct PrefixMisplaced: CheckRule {
    let id = "prefix-misplaced"
    let family = RuleFamily.base
    let severity = Severity.error
    let summary = """
        Tensor names are a level too deep or too high for the model in memory: model.model.layers, layers without model., or \
        model.language_model.layers of a model without such a level. A warning where the config names no class of transformers.
        """
    let protectsFrom = """
        An adapter of a wrapped model, of the bare model, or of a multimodal relative. A merge can tell what was meant; PEFT looks \
        keys up in the module tree as they stand (set_peft_model_state_dict in peft/utils/save_and_load.py), loads none of these \
        tensors, says so only in a warning, and answers with the base model.
        """
    let needs: [RuleNeed] = [.tensors, .config, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let base = subject.options.base, let adapter = try? subject.adapter(),
            // Doubled prefixes are a finding of their own.
            !subject.keys.contains(where: { $0.hadPrefix && $0.module.text.hasPrefix("base_model.model.") }),
            let names = MisplacedNames(adapter, base: base), let first = names.entries.first
        else { return [] }
        let isCertain = names.entries.contains(where: \.isCertain)
        return [
            finding(
                "\(names.entries.count) of \(subject.keys.count) names are a level off: \(names.className) has "
                    + "\"\(first.module.text.printable)\" under \"\(first.place.text.printable)\", and PEFT loads none of them",
                severity: isCertain ? .error : .warning, file: subject.weights.file, tensor: first.tensor,
                help: "write it with the model's names: peftfile convert \(subject.path.shellQuoted) -o converted --to peft --base "
                    + base.path.shellQuoted)
        ]
    }
}
