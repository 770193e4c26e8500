import ByteAccess
import Tensors

/// The adapters of mlx-lm: `<path>.lora_a` and `<path>.lora_b` beside a config with `fine_tune_type`.
///
/// | module | tensors (shape) | update |
/// |---|---|---|
/// | Linear | `lora_a` (in, r), `lora_b` (r, out) | W (out, in) += s·lora_bᵀ·lora_aᵀ |
/// | Embedding | `lora_a` (vocab, r), `lora_b` (r, dim) | W (vocab, dim) += s·lora_a·lora_b |
/// | SwitchLinear | `lora_a` (E, r, in), `lora_b` (E, out, r) | W[e] += s·lora_b[e]·lora_a[e] |
/// | DoRA | and `m` (out); of an embedding (vocab) | W' = m·V/‖V‖ by row |
///
/// s is `lora_parameters.scale` as it stands: it is not divided by the rank. What a base in transformers' layout has in the place of a
/// SwitchLinear, ``MLXStack`` says. With `fine_tune_type` `full` the tensors are whole parameters. `num_layers` and `keys` say which
/// modules were trained; the tensors decide.
///
/// A head that the model ties to the embedding is computed by it, and its update moves both.
///
/// Source: `LoRALinear`, `LoRASwitchLinear`, `LoRAEmbedding` (`fuse`, `as_linear`) in mlx_lm/tuner/lora.py, `DoRALinear` and
/// `DoRAEmbedding` in dora.py, `load_adapters` in tuner/utils.py.
struct MLX: Dialect {
    let name = "mlx"
    let movesTiedHead = true

    private static let leaves: Set<String> = ["lora_a", "lora_b", "m"]

    func isEmbedding(_ module: ExactString) -> Bool {
        MLX.embeddings.contains(module.text.dottedComponents.last.map(String.init) ?? "")
    }

    func settings(of config: AdapterConfig) -> JSONObject? {
        [
            "fine_tune_type": config["fine_tune_type"] ?? "lora",
            "lora_parameters.scale": config["lora_parameters"]?.objectValue?["scale"] ?? .null,
        ]
    }

    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> {
        file.config?["lora_parameters"]?.objectValue?["scale"] == nil ? [.scale] : []
    }

    func recognises(_ file: DialectFile) -> Bool {
        if let type = file.config?["fine_tune_type"] { return type.stringValue != nil }
        guard let config = file.config, config["lora_parameters"] != nil else {
            // Without a config, names alone: both factors, and nothing that is not of an adapter.
            var ends: Set<String> = []
            for info in file.tensors {
                let name = info.name.text.utf8
                let end = String(Substring(name[(name.lastIndex(of: UInt8(ascii: ".")).map { name.index(after: $0) } ?? name.startIndex)...]))
                guard MLX.leaves.contains(end) else { return false }
                ends.insert(end)
            }
            return ends.isSuperset(of: ["lora_a", "lora_b"])
        }
        return true
    }

    func takesScale(_ file: DialectFile) -> Bool { true }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        let type = file.config?["fine_tune_type"]?.stringValue ?? "lora"
        guard ["lora", "dora", "full"].contains(type) else {
            throw PeftfileError(
                .refused, "fine_tune_type is \"\(type.printable)\", and mlx-lm has lora, dora and full", file: file.config?.path,
                rule: "ConfigValue", help: "correct fine_tune_type in adapter_config.json")
        }
        if type == "full" { return try whole(file, context) }
        var reading = DialectReading()
        let parameters = try parameters(file)
        let scale = try scale(parameters, file, context.options)
        var order: [ExactString] = []
        var tensors: [ExactString: [String: TensorInfo]] = [:]
        for info in file.tensors {
            let parts = info.name.text.dottedComponents
            guard let leaf = parts.last.map(String.init), MLX.leaves.contains(leaf), parts.count > 1 else { continue }
            let path = ExactString(String(info.name.text.dropLast(leaf.count + 1)))
            if tensors[path] == nil { order.append(path) }
            tensors[path, default: [:]][leaf] = info
        }
        var wrapped: Set<ExactString> = []
        for path in order {
            // `DoRALinear` and `DoRAEmbedding` have one each, and no stack of experts is trained so.
            if type == "dora", tensors[path]?["m"] == nil {
                throw file.refusal(
                    "module \"\(path)\" has no m, and the config says dora", tensors[path]?.values.map(\.name).min(), rule: "MagnitudeMissing",
                    help: "save the adapter again, or correct fine_tune_type")
            }
            let pair = try pair(path, tensors[path] ?? [:], file)
            if let rank = try parameters?.count("rank"), pair.rank != rank {
                reading.warnings.append(
                    "\(path.text.printable) has rank \(pair.rank), and the config says \(rank); the scale does not depend on it")
            }
            guard let stack = pair.stack else {
                reading.modules.append(module(MLX.name(of: path, context), pair, magnitude: tensors[path]?["m"], scale: scale))
                continue
            }
            guard !wrapped.contains(path) else { continue }
            let own = MLX.name(of: path, context)
            guard let place = MLXStack(own), let parameter = place.parameter(context) else {
                reading.modules.append(switchModule(own, stack, scale: scale, context))
                continue
            }
            let members = try place.fused.map { name in try tensors[name].flatMap { try self.pair(name, $0, file).stack } }
            wrapped.formUnion(place.fused)
            reading.modules.append(try wrapper(parameter, members, scale: scale, file))
        }
        // Zero and less mean all layers.
        if let layers = file.config?["num_layers"]?.intValue, layers > 0 {
            let present = Set(order.compactMap { MLX.layer(of: $0.text) }).count
            if present > layers {
                reading.warnings.append("num_layers is \(layers), and \(present) layers have tensors; all are used")
            }
        }
        return reading
    }

    private func parameters(_ file: DialectFile) throws -> AdapterConfig? {
        guard let config = file.config, let value = config["lora_parameters"] else { return nil }
        guard let object = value.objectValue else { throw config.wrong("lora_parameters", "a map") }
        let inner = try AdapterConfig(json: object, path: config.path)
        try inner.requireKnownKeys(["rank", "scale", "dropout", "keys"])
        return inner
    }

    private func scale(_ parameters: AdapterConfig?, _ file: DialectFile, _ options: BindingOptions) throws -> Double {
        if let scale = try parameters?.number("scale") { return scale }
        if let scale = options.scale { return scale }
        throw file.refusal(
            "no lora_parameters.scale stands beside the file, and the update is multiplied by it", nil, rule: "ScaleMissing",
            help: "put mlx-lm's adapter_config.json beside it, or give the factor with --scale (its default is 20)")
    }

    /// The two factors of a module.
    private struct Pair {
        let a: TensorInfo
        let b: TensorInfo
        let rank: Int
        /// The same of a stack of experts; nil for one matrix.
        var stack: Factors?
    }

    private func pair(_ path: ExactString, _ tensors: [String: TensorInfo], _ file: DialectFile) throws -> Pair {
        guard let a = tensors["lora_a"], let b = tensors["lora_b"] else {
            throw file.refusal(
                "module \"\(path)\" has no lora_\(tensors["lora_a"] == nil ? "a" : "b")", tensors.values.map(\.name).min(),
                rule: "MissingPair", help: "save the adapter again; half of a pair is no update")
        }
        if b.shape.count == 3 {
            let stack = try Factors(a, b, file)
            return Pair(a: a, b: b, rank: stack.rank, stack: stack)
        }
        guard a.shape.count == 2, b.shape.count == 2, a.shape[1] == b.shape[0] else {
            throw file.refusal(
                "has shape \(b.shape) beside lora_a's \(a.shape)", b.name, rule: "FactorShape",
                help: "mlx-lm stores lora_a as (in, r) and lora_b as (r, out)")
        }
        return Pair(a: a, b: b, rank: a.shape[1])
    }

    private func module(_ path: ExactString, _ pair: Pair, magnitude: TensorInfo?, scale: Double) -> DialectModule {
        let (a, b) = (pair.a, pair.b)
        var module = DialectModule(name: path, naming: .path, component: nil, form: .lora)
        module.scale = ModuleScale(rank: pair.rank, value: scale)
        if isEmbedding(path), magnitude != nil {
            // Its m has a number for each row, as a linear layer's, and PEFT's of an embedding one for each column.
            module.add("lora_A", "weight", TensorView(b))
            module.add("lora_B", "weight", TensorView(a))
        } else if isEmbedding(path) {
            module.add("lora_embedding_A", "", TensorView(a, axes: [1, 0]))
            module.add("lora_embedding_B", "", TensorView(b, axes: [1, 0]))
        } else {
            module.add("lora_A", "weight", TensorView(a, axes: [1, 0]))
            module.add("lora_B", "weight", TensorView(b, axes: [1, 0]))
        }
        if let magnitude {
            module.form = .dora
            module.add("lora_magnitude_vector", "", TensorView(magnitude))
        }
        return module
    }

    /// What mlx-lm's models call otherwise than the Hub's files, and name resolution does not know from transformers.
    ///
    /// Source: `sanitize` in mlx_lm/models/step3p5.py, bailing_moe.py, granitemoehybrid.py.
    private static let renames = [
        (".mlp.switch_mlp.", ".moe."), (".mlp.gate.gate.", ".moe.gate."), (".mlp.share_expert.", ".share_expert."), (".mlp.gate.gate_proj.", ".mlp.gate."),
        (".mlp.down_proj.", ".shared_mlp.output_linear."),
    ]

    /// The module as the base has it; its own name where it is there, or no base tells.
    private static func name(of path: ExactString, _ context: DialectContext) -> ExactString {
        let whole = path.text + "."
        let others = renames.compactMap { from, to in
            whole.firstRange(of: from).map { ExactString(String((whole[..<$0.lowerBound] + to + whole[$0.upperBound...]).dropLast())) }
        }
        guard !others.isEmpty, context.hasBase, context.weightShape(path) == nil else { return path }
        return others.first { context.weightShape($0) != nil } ?? path
    }

    /// Names of input embeddings in mlx-lm's models; an embedding's factors look like a linear layer's.
    private static let embeddings: Set<String> = [
        "embed_tokens", "wte", "word_embeddings", "embeddings", "tok_embeddings", "embed_in",
    ]

    /// Whole parameters of the trained layers.
    private func whole(_ file: DialectFile, _ context: DialectContext) throws -> DialectReading {
        var reading = DialectReading()
        for info in file.tensors {
            let parts = info.name.text.dottedComponents
            guard let leaf = parts.last.map(String.init), parts.count > 1 else { continue }
            let path = ExactString(String(info.name.text.dropLast(leaf.count + 1)))
            guard !path.text.hasSuffix("norm") || !context.anyBase(MLX.shiftsNorms) else {
                throw file.refusal(
                    "is the weight of a norm trained whole, which mlx-lm holds with 1 added to it, and the base without", info.name, rule: "MissingTarget",
                    help: "convert the base with mlx_lm.convert, and merge onto that")
            }
            var module = DialectModule(
                name: MLX.name(of: path, context), naming: .path, component: nil, form: DialectForm(name: "whole", method: WholeParameters()))
            module.add("whole", leaf, TensorView(info))
            module.elsewhere = try wholeExperts(module, info, leaf, file, context)
            reading.modules.append(module)
        }
        return reading
    }

    /// Whether mlx-lm adds 1 to norms of the model when it loads the base: it has not been loaded and saved by it.
    ///
    /// Source: `sanitize` in mlx_lm/models/qwen3_next.py, qwen3_5.py and step3p5.py.
    private static func shiftsNorms(_ base: BaseDirectory) -> Bool {
        func has(_ types: [String], _ isHub: (ExactString) -> Bool) -> Bool {
            base.modelTypes.contains { type in types.contains { type == $0 || type.hasPrefix($0 + "_") } } && base.names.contains(where: isHub)
        }
        return has(["qwen3_next", "qwen3_5"]) { $0.text.hasSuffix("conv1d.weight") && base.shapes[$0]?.last != 1 }
            || has(["step3p5"]) { $0.text.utf8Contains(".moe.") || $0.text.utf8Contains(".share_expert.") && !$0.text.utf8Contains(".mlp.share_expert.") }
    }

    /// N of `layers.N`.
    private static func layer(of path: String) -> Int? {
        let parts = path.dottedComponents
        for (name, next) in zip(parts, parts.dropFirst()) where name == "layers" { return Int(next) }
        return nil
    }
}
