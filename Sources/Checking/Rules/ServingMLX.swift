import Adapters
import ByteAccess
import Checkpoints

/// What mlx-lm rejects.
///
/// Source: `load_adapters` and `linear_to_lora_layers` in mlx_lm/tuner/utils.py, as of ml-explore/mlx-lm d78bf58b.
struct ServingMLX: CheckRule {
    let id = "serving-mlx"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "mlx-lm rejects the adapter, or in older versions loads none of its tensors."
    let protectsFrom = """
        load_adapters in mlx_lm/tuner/utils.py reads adapters.safetensors, takes num_layers and rank, scale and dropout of \
        lora_parameters from adapter_config.json, and raises "contains incompatible tensors" for everything but lora_a, lora_b and \
        m of the model's layers. Before mlx-lm pull request 1727 it dropped such tensors in silence, which leaves the base model.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.mlx), let file = subject.weights.file else { return [] }
        let help = subject.config.config?.peftType == PortableAdapter.peftType
            ? "convert it: " + ServingHelp.convert(subject, to: "mlx", for: "mlx") : ServingHelp.merge(subject)
        func rejects(_ message: String, _ place: String, _ tensor: ExactString? = nil) -> Finding {
            finding("mlx-lm rejects it: \(message)", file: place, tensor: tensor, help: help)
        }
        if FileSystem.fileName(of: file) != "adapters.safetensors" {
            return [rejects("the weights are not in adapters.safetensors", file)]
        }
        guard let config = subject.config.config else { return [rejects("there is no adapter_config.json", subject.directory)] }
        if config["fine_tune_type"]?.stringValue == "full" { return [] }
        var result: [Finding] = []
        let required: [ExactString] = ["num_layers", "lora_parameters"]
        for key in required where config[key] == nil { result.append(rejects("the config has no \(key)", config.path)) }
        if let parameters = config["lora_parameters"]?.objectValue {
            let numbers: [ExactString] = ["rank", "scale", "dropout"]
            for key in numbers where parameters[key] == nil {
                result.append(rejects("lora_parameters has no \(key)", config.path))
            }
        }
        let foreign = (subject.weights.checkpoint?.tensors ?? []).map(\.name).filter { name in
            !["lora_a", "lora_b", "m"].contains(name.text.split(separator: ".").last.map(String.init) ?? "")
        }
        if let first = foreign.first {
            result.append(
                rejects(
                    "\(foreign.count) tensors are not lora_a, lora_b or m of a layer, and older versions drop them in silence; the "
                        + "first is this", file, first))
        }
        return result
    }
}
