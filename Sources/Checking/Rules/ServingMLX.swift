import Adapters
import ByteAccess
import Checkpoints

/// What mlx-lm rejects or ignores.
struct ServingMLX: CheckRule {
    let id = "serving-mlx"
    let family = RuleFamily.serving
    let severity = Severity.error
    let summary = "mlx-lm rejects the adapter, or loads none of its tensors."
    let protectsFrom = """
        load_adapters in mlx_lm/tuner/utils.py reads adapters.safetensors, takes num_layers and lora_parameters from \
        adapter_config.json, and loads with strict=False: an adapter of PEFT fails, and PEFT's names in a file of MLX's name are \
        dropped in silence, which leaves the base model.
        """
    let needs: [RuleNeed] = [.tensors, .target]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard subject.options.targets.contains(.mlx), let file = subject.weights.file else { return [] }
        func rejects(_ message: String, _ place: String) -> Finding {
            finding("mlx-lm rejects it: \(message)", file: place, help: ServingHelp.merge(subject))
        }
        if FileSystem.fileName(of: file) != "adapters.safetensors" {
            return [rejects("the weights are not in adapters.safetensors", file)]
        }
        guard let config = subject.config.config else { return [rejects("there is no adapter_config.json", subject.directory)] }
        var result: [Finding] = []
        if config["fine_tune_type"]?.stringValue != "full" {
            let required: [ExactString] = ["num_layers", "lora_parameters"]
            for key in required where config[key] == nil { result.append(rejects("the config has no \(key)", config.path)) }
        }
        if let name = subject.keys.first(where: \.hadPrefix)?.stored {
            result.append(
                finding(
                    "mlx-lm loads no tensor whose name begins with base_model., and says nothing", file: file, tensor: name,
                    help: ServingHelp.merge(subject)))
        }
        return result
    }
}
