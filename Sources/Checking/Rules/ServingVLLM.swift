import Adapters
import ByteAccess
import Checkpoints

/// What vLLM rejects or ignores.
struct ServingVLLM: CheckRule {
    let id = "serving-vllm"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "vLLM rejects the adapter (error), or serves it without a part of its config (warning)."
    let protectsFrom = """
        PEFTHelper in vllm/lora/peft_helper.py needs r, lora_alpha and target_modules, raises ValueError for use_dora and \
        modules_to_save, and drops every key that it has no field for, such as rank_pattern and alpha_pattern: all modules \
        get the scale of the config's own r and lora_alpha. parse_fine_tuned_lora_name in vllm/lora/utils.py raises "is \
        unsupported LoRA weight" for tensors that are neither lora_A, lora_B nor lora_embedding.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.vllm) else { return [] }
        guard let config = subject.config.config else {
            return [finding("vLLM needs an adapter_config.json", file: subject.directory, help: ServingHelp.merge(subject))]
        }
        func rejects(_ message: String, tensor: ExactString? = nil) -> Finding {
            finding(
                "vLLM rejects it: \(message)", file: tensor == nil ? config.path : subject.weights.file, tensor: tensor,
                help: ServingHelp.merge(subject))
        }
        var result: [Finding] = []
        let required: [ExactString] = ["r", "lora_alpha", "target_modules"]
        for key in required where config.json[key] == nil { result.append(rejects("the config has no \(key)")) }
        if config["use_dora"]?.boolValue == true { result.append(rejects("use_dora is true")) }
        if config["modules_to_save"]?.arrayValue?.isEmpty == false { result.append(rejects("modules_to_save is not empty")) }
        // DoRA's and saved tensors follow from the keys that are named already.
        if result.isEmpty, let name = subject.weights.checkpoint?.tensors.lazy.map(\.name).first(where: { !isKnown($0.text) }) {
            result.append(rejects("the tensor is an unsupported LoRA weight", tensor: name))
        }
        let ignored: [ExactString] = ["rank_pattern", "alpha_pattern"]
        for key in ignored where config[key]?.objectValue?.members.isEmpty == false {
            result.append(
                finding(
                    "vLLM ignores \(key): every module gets the scale of the config's r and lora_alpha", severity: .warning,
                    file: config.path, help: ServingHelp.merge(subject)))
        }
        return result
    }

    private func isKnown(_ name: String) -> Bool {
        [".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B", ".bias"].contains(where: name.hasSuffix)
    }
}

/// What helps wherever a loader of adapters does not: the merged model.
enum ServingHelp {
    static func merge(_ subject: CheckSubject) -> String {
        let base = subject.options.base.map { $0.path.shellQuoted } ?? "BASE"
        return "serve the merged model: peftfile merge \(base) \(subject.path.shellQuoted) -o merged"
    }
}
