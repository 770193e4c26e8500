import Adapters
public import ByteAccess

extension AdapterConversion {
    /// Refuses what a loader cannot serve, or would serve wrongly.
    ///
    /// Source: `PEFTHelper` in vllm/lora/peft_helper.py, which takes `r`, `lora_alpha` and `use_rslora` and validates the
    /// rest; `main` in convert_lora_to_gguf.py of ggml-org/llama.cpp, which takes `lora_alpha` alone; `load_adapters` in
    /// mlx_lm/tuner/utils.py.
    ///
    /// - Throws: `.refused` with rule `LoaderCannot`, which names the first reason found.
    public func requireServable(by loader: ConversionLoader) throws {
        func refuse(_ reason: String, _ help: String) -> PeftfileError {
            PeftfileError(
                .refused, "\(loader.rawValue) cannot serve it: \(reason)", file: adapter.path, rule: "LoaderCannot", help: help)
        }
        guard loader != .mlx else {
            guard target == .mlx else { throw refuse("it reads its own dialect alone", "convert it with --to mlx") }
            return
        }
        // What is written for it is what it reads, or is refused.
        if loader == .llamaCpp, target == .gguf { return }
        guard target == .peft, let config else {
            throw refuse(
                loader == .llamaCpp ? "its own dialect and PEFT's alone become what it reads" : "it reads PEFT's dialect alone",
                "convert it with --to \(loader == .llamaCpp ? "gguf" : "peft")")
        }
        if let type = config["peft_type"]?.stringValue, type != PortableAdapter.peftType {
            throw refuse("its peft_type is \(type.printable), and LoRA alone is read", "merge it instead")
        }
        if config["use_dora"]?.boolValue == true { throw refuse("it is DoRA", "merge it instead") }
        if config["bias"]?.stringValue ?? "none" != "none" || config["lora_bias"]?.boolValue == true {
            throw refuse("it has trained biases", "merge it instead")
        }
        if let saved = config["modules_to_save"]?.arrayValue, !saved.isEmpty {
            throw refuse("it stores whole modules (modules_to_save), which are not read", "merge it instead")
        }
        if loader == .llamaCpp, let parameters = config["target_parameters"]?.arrayValue, let first = parameters.first?.stringValue {
            throw refuse("it updates parameters (target_parameters), and its converter has no name for \(first.printable)", "merge it instead")
        }
        // llama.cpp divides alpha by the rank that it finds in each pair.
        let patterns: [ExactString] = loader == .llamaCpp ? ["alpha_pattern"] : ["alpha_pattern", "rank_pattern"]
        for key in patterns {
            if let pattern = config[key]?.objectValue, !pattern.isEmpty {
                throw refuse(
                    "\(key) is not read, so modules would have the wrong scale",
                    loader == .llamaCpp ? ggufHelp : "merge it instead")
            }
        }
        if loader == .llamaCpp, config["use_rslora"]?.boolValue == true {
            throw refuse(
                "its converter drops use_rslora, so the scale would be wrong",
                ggufHelp)
        }
        if let tensor = outputs.first(where: { $0.shape.count > 2 }) {
            throw refuse("\(tensor.name.text.printable) is of a convolution", "merge it instead")
        }
    }

    /// The command that writes what llama.cpp reads itself, or that nothing does.
    private var ggufHelp: String {
        let command = "peftfile convert \(adapter.path.shellQuoted) --to gguf --base BASE -o adapter.gguf"
        do {
            return try ggufNeedsRounding()
                ? "a scale is rounded to F32 by \(command) --round-scale; a merge rounds nothing of it"
                : "the scales go into the factors with \(command)"
        } catch {
            return "merge it instead"
        }
    }
}
