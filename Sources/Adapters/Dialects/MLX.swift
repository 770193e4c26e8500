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
/// s is `lora_parameters.scale` as it stands: it is not divided by the rank. A base in transformers' layout holds the
/// experts of a SwitchLinear one by one (`switch_mlp` there is `experts.N`). With `fine_tune_type` `full` the tensors
/// are whole parameters. `num_layers` and `keys` say which modules were trained; the tensors decide.
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
        if type == "full" { return whole(file) }
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
        for path in order {
            let module = try module(path, tensors[path] ?? [:], scale: scale, file)
            // `DoRALinear` and `DoRAEmbedding` have one each, and no stack of experts is trained so.
            if type == "dora", tensors[path]?["m"] == nil {
                throw file.refusal(
                    "module \"\(path)\" has no m, and the config says dora", tensors[path]?.values.map(\.name).min(), rule: "MagnitudeMissing",
                    help: "save the adapter again, or correct fine_tune_type")
            }
            if let rank = try parameters?.count("rank"), let own = module.scale?.rank, own != rank {
                reading.warnings.append(
                    "\(path.text.printable) has rank \(own), and the config says \(rank); the scale does not depend on it")
            }
            reading.modules.append(module)
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

    private func module(
        _ path: ExactString, _ tensors: [String: TensorInfo], scale: Double, _ file: DialectFile
    ) throws -> DialectModule {
        guard let a = tensors["lora_a"], let b = tensors["lora_b"] else {
            throw file.refusal(
                "module \"\(path)\" has no lora_\(tensors["lora_a"] == nil ? "a" : "b")", tensors.values.map(\.name).min(),
                rule: "MissingPair", help: "save the adapter again; half of a pair is no update")
        }
        var module = DialectModule(name: path, naming: .path, component: nil, form: .lora)
        if b.shape.count == 3 { return try switchModule(path, a, b, scale: scale, file) }
        guard a.shape.count == 2, b.shape.count == 2, a.shape[1] == b.shape[0] else {
            throw file.refusal(
                "has shape \(b.shape) beside lora_a's \(a.shape)", b.name, rule: "FactorShape",
                help: "mlx-lm stores lora_a as (in, r) and lora_b as (r, out)")
        }
        let rank = a.shape[1]
        module.scale = ModuleScale(rank: rank, value: scale)
        if isEmbedding(path), tensors["m"] != nil {
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
        if let m = tensors["m"] {
            module.form = .dora
            module.add("lora_magnitude_vector", "", TensorView(m))
        }
        return module
    }

    /// Names of input embeddings in mlx-lm's models; an embedding's factors look like a linear layer's.
    private static let embeddings: Set<String> = [
        "embed_tokens", "wte", "word_embeddings", "embeddings", "tok_embeddings", "embed_in",
    ]

    /// A stack of experts: one tensor where the base has it so, else one module for each expert.
    private func switchModule(
        _ path: ExactString, _ a: TensorInfo, _ b: TensorInfo, scale: Double, _ file: DialectFile
    ) throws -> DialectModule {
        let (experts, out, rank) = (b.shape[0], b.shape[1], b.shape[2])
        let inputs = a.shape.last ?? 0
        guard experts > 0, rank > 0, a.elementCount == experts * rank * inputs,
            a.shape == [experts, rank, inputs] || a.shape == [experts * rank, inputs]
        else {
            throw file.refusal(
                "has shape \(a.shape) beside lora_b's \(b.shape)", a.name, rule: "FactorShape",
                help: "mlx-lm stores a SwitchLinear's lora_a as (E, r, in) and lora_b as (E, out, r)")
        }
        var module = DialectModule(name: path, naming: .path, component: nil, form: .lora)
        module.scale = ModuleScale(rank: rank, value: scale)
        module.add("lora_A", "weight", TensorView(a, shape: [experts * rank, inputs]))
        // (E, out, r) -> (out, r, E): PEFT's columns are rank-major.
        module.add("lora_B", "weight", TensorView(b, axes: [1, 2, 0], shape: [out, rank * experts]))
        let single = path.text.replacingComponent("switch_mlp", by: "experts.\u{0}")
        guard single != path.text else { return module }
        for expert in 0..<experts {
            let own = String(single.split(separator: "\u{0}", omittingEmptySubsequences: false).joined(separator: "\(expert)"))
            var one = DialectModule(name: ExactString(own), naming: .path, component: nil, form: .lora)
            one.scale = module.scale
            let aRows = a.shape.count == 3 ? expert..<(expert + 1) : (expert * rank)..<((expert + 1) * rank)
            one.add("lora_A", "weight", TensorView(
                name: ExactString("\(a.name)[\(expert)]"), shape: [rank, inputs], parts: [.init(a, rows: aRows)]))
            one.add("lora_B", "weight", TensorView(
                name: ExactString("\(b.name)[\(expert)]"), shape: [out, rank],
                parts: [.init(b, rows: expert..<(expert + 1))]))
            one.elsewhere = MLX.mixtral(one)
            module.elsewhere.append(one)
        }
        return module
    }

    /// An expert under the names of its matrices that Mixtral has on the Hub.
    private static func mixtral(_ expert: DialectModule) -> [DialectModule] {
        var parts = expert.name.text.dottedComponents.map(String.init)
        let leaves = ["gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"]
        guard parts.contains("block_sparse_moe"), let last = parts.popLast(), let leaf = leaves[last] else { return [] }
        var other = expert
        other.name = ExactString((parts + [leaf]).joined(separator: "."))
        return [other]
    }

    /// Whole parameters of the trained layers.
    private func whole(_ file: DialectFile) -> DialectReading {
        var reading = DialectReading()
        for info in file.tensors {
            let parts = info.name.text.dottedComponents
            guard let leaf = parts.last.map(String.init), parts.count > 1 else { continue }
            var module = DialectModule(
                name: ExactString(String(info.name.text.dropLast(leaf.count + 1))), naming: .path, component: nil,
                form: DialectForm(name: "whole", method: WholeParameters()))
            module.add("whole", leaf, TensorView(info))
            module.elsewhere = wholeExperts(module, info, leaf)
            reading.modules.append(module)
        }
        return reading
    }

    /// The parameters of each expert of a stack, for a base that has them apart; none of any other module.
    private func wholeExperts(_ stack: DialectModule, _ info: TensorInfo, _ leaf: String) -> [DialectModule] {
        let single = stack.name.text.replacingComponent("switch_mlp", by: "experts.\u{0}")
        guard single != stack.name.text, info.shape.count == (leaf == "bias" ? 2 : 3), info.shape[0] <= 4096 else { return [] }
        return (0..<info.shape[0]).map { expert in
            let own = String(single.split(separator: "\u{0}", omittingEmptySubsequences: false).joined(separator: "\(expert)"))
            var one = DialectModule(name: ExactString(own), naming: .path, component: nil, form: stack.form)
            one.add(
                "whole", leaf,
                TensorView(
                    name: ExactString("\(info.name)[\(expert)]"), shape: Array(info.shape.dropFirst()), parts: [.init(info, rows: expert..<(expert + 1))]))
            one.elsewhere = MLX.mixtral(one)
            return one
        }
    }

    /// N of `layers.N`.
    private static func layer(of path: String) -> Int? {
        let parts = path.dottedComponents
        for (name, next) in zip(parts, parts.dropFirst()) where name == "layers" { return Int(next) }
        return nil
    }
}

extension String {
    /// The path with one component exchanged.
    func replacingComponent(_ component: String, by other: String) -> String {
        dottedComponents.map { $0 == component ? other : String($0) }.joined(separator: ".")
    }
}
