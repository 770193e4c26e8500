import Adapters
import ByteAccess
import Checkpoints

/// What llama.cpp rejects or ignores.
///
/// Source: `LoraModel.get_tensors` and `set_gguf_parameters` in convert_lora_to_gguf.py, as of ggml-org/llama.cpp 0b03adaa;
/// the loader's scale, alpha / rank of each lora_b, in `llama_adapter_lora_weight::get_scale` of src/llama-adapter.h.
struct ServingLlamaCpp: CheckRule {
    let id = "serving-llama.cpp"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "llama.cpp's converter rejects the adapter (error), or drops a part of its config (warning)."
    let protectsFrom = """
        convert_lora_to_gguf.py stops with "Not a lora_A or lora_B tensor" for everything but lora_A, lora_B, lora_embedding \
        and norms (DoRA's magnitudes, saved modules, biases), reads lora_alpha and no other number of the config, and the loader \
        scales by alpha / rank: use_rslora and alpha_pattern are lost.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.llamaCpp), let file = subject.weights.file, !file.hasSuffix(".gguf") else {
            return []
        }
        guard let config = subject.config.config, config["lora_alpha"] != nil else {
            return [
                finding(
                    "llama.cpp's converter needs an adapter_config.json with lora_alpha", file: subject.directory,
                    help: ServingHelp.merge(subject))
            ]
        }
        var result: [Finding] = []
        let files = ["adapter_model.safetensors", "adapter_model.bin"]
        if !files.contains(FileSystem.fileName(of: file)) {
            result.append(
                finding(
                    "llama.cpp's converter looks for \(files[0]), and the weights are in \(FileSystem.fileName(of: file).printable)",
                    file: file, help: "rename the file, or convert it: " + ServingHelp.convert(subject, to: "peft", for: "llama.cpp")))
        }
        let names = (subject.weights.checkpoint?.tensors ?? []).map(\.name)
        let rejected = names.filter { !isKnown($0.text) }
        if let first = rejected.first {
            result.append(
                finding(
                    "llama.cpp's converter rejects \(rejected.count) of \(names.count) tensors, the first is this", file: file,
                    tensor: first, help: ServingHelp.merge(subject)))
        }
        var ignored: [String] = config["use_rslora"]?.boolValue == true ? ["use_rslora"] : []
        if config["alpha_pattern"]?.objectValue?.members.isEmpty == false { ignored.append("alpha_pattern") }
        for key in ignored {
            result.append(
                finding(
                    "llama.cpp ignores \(key): the scale would be lora_alpha / r", severity: .warning, file: config.path,
                    help: ServingHelp.merge(subject)))
        }
        return result
    }

    private func isKnown(_ name: String) -> Bool {
        [
            ".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B", ".base_layer.weight", "_layernorm",
            ".norm",
        ].contains { name.contains($0) }
    }
}
