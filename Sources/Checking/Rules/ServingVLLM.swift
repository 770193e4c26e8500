import Adapters
import ByteAccess
import Checkpoints

/// What vLLM rejects or ignores.
///
/// Sources, as of vllm-project/vllm e745baff and 0306474e: `PEFTHelper` in vllm/lora/peft_helper.py, `LoRAConfig` in
/// vllm/config/lora.py, `LoRAModel.from_local_checkpoint` in vllm/lora/lora_model.py, `parse_fine_tuned_lora_name` in
/// vllm/lora/utils.py.
struct ServingVLLM: CheckRule {
    let id = "serving-vllm"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = """
        vLLM rejects the adapter (error), serves it without a part of its config (warning), or needs a setting for it (note).
        """
    let protectsFrom = """
        PEFTHelper in vllm/lora/peft_helper.py needs r, lora_alpha and target_modules, raises ValueError for use_dora, \
        modules_to_save, a bias and a rank above --max-lora-rank (16 by default, 512 at most), and drops every key that it has no \
        field for: with rank_pattern and alpha_pattern all modules get the scale of the config's own r and lora_alpha, and an \
        activated LoRA acts on every token. use_rslora is taken. parse_fine_tuned_lora_name in vllm/lora/utils.py raises "is \
        unsupported LoRA weight" for tensors that are neither lora_A, lora_B nor lora_embedding.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    /// `MaxLoRARanks`: the default and the largest.
    static let defaultRank = 16
    static let largestRank = 512

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.vllm), let file = subject.weights.file else { return [] }
        guard let config = subject.config.config else {
            return [finding("vLLM needs an adapter_config.json", file: subject.directory, help: ServingHelp.merge(subject))]
        }
        func rejects(_ message: String, tensor: ExactString? = nil) -> Finding {
            finding(
                "vLLM rejects it: \(message)", file: tensor == nil ? config.path : file, tensor: tensor,
                help: ServingHelp.merge(subject))
        }
        var result: [Finding] = []
        let required: [ExactString] = ["r", "lora_alpha", "target_modules"]
        for key in required where config.json[key] == nil { result.append(rejects("the config has no \(key)")) }
        if config["use_dora"]?.boolValue == true { result.append(rejects("use_dora is true")) }
        if config["modules_to_save"]?.arrayValue?.isEmpty == false { result.append(rejects("modules_to_save is not empty")) }
        if let bias = config["bias"]?.stringValue, bias != "none" { result.append(rejects("bias is \"\(bias.printable)\"")) }
        let names = ["adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt"]
        if !names.contains(FileSystem.fileName(of: file)) {
            result.append(rejects("the weights are in \(FileSystem.fileName(of: file).printable), and it looks for \(names[0])"))
        }
        // DoRA's and saved tensors follow from the keys that are named already.
        if result.isEmpty, let name = subject.weights.checkpoint?.tensors.lazy.map(\.name).first(where: { !isKnown($0.text) }) {
            result.append(rejects("the tensor is an unsupported LoRA weight", tensor: name))
        }
        return result + ranks(config, subject) + ignored(config, subject)
    }

    private func ranks(_ config: AdapterConfig, _ subject: CheckSubject) -> [Finding] {
        guard let rank = config["r"]?.intValue, rank > ServingVLLM.defaultRank else { return [] }
        guard rank <= ServingVLLM.largestRank else {
            return [
                finding(
                    "vLLM rejects it: rank \(rank) is more than the \(ServingVLLM.largestRank) that --max-lora-rank can be",
                    file: config.path, help: ServingHelp.merge(subject))
            ]
        }
        return [
            finding(
                "vLLM serves rank \(ServingVLLM.defaultRank) unless it is told otherwise, and this is \(rank)", severity: .note,
                file: config.path, help: "start it with --max-lora-rank \(rank), or the next size that it takes")
        ]
    }

    private func ignored(_ config: AdapterConfig, _ subject: CheckSubject) -> [Finding] {
        var keys: [(key: ExactString, effect: String)] = []
        for key: ExactString in ["rank_pattern", "alpha_pattern"] where config[key]?.objectValue?.members.isEmpty == false {
            keys.append((key, "every module gets the scale of the config's r and lora_alpha"))
        }
        if config["alora_invocation_tokens"] != nil {
            keys.append(("alora_invocation_tokens", "the update acts on all tokens, not on those after the invocation"))
        }
        return keys.map { entry in
            finding(
                "vLLM ignores \(entry.key): \(entry.effect)", severity: .warning, file: config.path,
                help: entry.key == "alora_invocation_tokens" ? "serve it with PEFT" : ServingHelp.merge(subject))
        }
    }

    /// Copies of the base's embeddings are skipped (`is_base_embedding_weights`).
    private func isKnown(_ name: String) -> Bool {
        [
            ".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B", ".embed_tokens.base_layer.weight",
            ".lm_head.base_layer.weight",
        ].contains(where: name.hasSuffix)
    }
}

/// What helps wherever a loader of adapters does not: the merged model.
enum ServingHelp {
    static func convert(_ subject: CheckSubject, to dialect: String, for loader: String) -> String {
        "peftfile convert \(subject.path.shellQuoted) -o converted --to \(dialect) --for \(loader)"
    }

    static func merge(_ subject: CheckSubject) -> String {
        // Without --base the merge takes the base that the config names.
        guard subject.options.base != nil || subject.config.config?.baseModel?.isEmpty == false else {
            return "serve the merged model, which peftfile merge makes of it and its base"
        }
        let base = subject.options.base.map { $0.path.shellQuoted + " " } ?? ""
        return "serve the merged model: peftfile merge \(base)\(subject.path.shellQuoted) -o merged"
    }
}
