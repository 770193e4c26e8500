public import Adapters
public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// A conversion before anything is written: every tensor of the result with where its numbers come from, the config
/// beside it, and what was changed.
public struct AdapterConversion: Sendable {
    /// One tensor of the result.
    public struct Output: Sendable {
        /// Where its numbers come from.
        public enum Source: Sendable {
            /// The elements of an adapter tensor, or their transpose.
            case tensor(ExactString, transposed: Bool)
            /// The bytes of a stored tensor.
            case copy(StoredTensor)
            /// A number.
            case number(Double)
        }
        /// The name in the target's dialect.
        public var name: ExactString
        /// The dtype that is written: the source's.
        public var dtype: DType
        /// The shape that is written.
        public var shape: Shape
        /// Where its numbers come from.
        public var source: Source
    }

    /// What is converted.
    public let adapter: Adapter
    /// The dialect that is written.
    public let target: ConversionTarget
    /// Every tensor of the result.
    public internal(set) var outputs: [Output] = []
    /// `adapter_config.json`, where the dialect has one.
    public internal(set) var config: JSONObject?
    /// `__metadata__` of the result.
    public internal(set) var metadata: [(key: ExactString, value: String)] = [(key: "format", value: "pt")]
    /// What was changed or folded, for the reader.
    public internal(set) var notes: [String] = []
    /// Tensors of components that the base is not.
    public internal(set) var leftOut: [(tensor: ExactString, component: String)] = []

    /// The name of the weights' file.
    public var fileName: String {
        switch target {
        case .peft: "adapter_model.safetensors"
        case .kohya: "adapter.safetensors"
        case .diffusers: "pytorch_lora_weights.safetensors"
        case .mlx: "adapters.safetensors"
        }
    }

    /// Plans a conversion.
    ///
    /// - Parameters:
    ///   - base: the base, where names must be found in it.
    ///   - component: the component that names get in kohya's and diffusers' files, and that is taken from such files.
    /// - Throws: `.refused` with the reason where the target cannot hold what the adapter does.
    public init(
        _ adapter: Adapter, to target: ConversionTarget, base: Checkpoint? = nil, component: String? = nil
    ) throws {
        self.target = target
        if target == .peft, adapter.dialectName == nil, adapter.config?.peftType != nil {
            self.adapter = adapter
            try repair()
            return
        }
        var options = BindingOptions()
        // Of a file with components one is taken; a file without gets one.
        if adapter.dialectName != nil { options.component = component }
        let portable = try PortableAdapter(adapter, base: base, options: options)
        self.adapter = portable.adapter
        notes = portable.notes
        leftOut = portable.leftOut
        guard !portable.modules.isEmpty else {
            throw PeftfileError(.refused, "holds no update", file: adapter.path, rule: "NotConvertible")
        }
        switch target {
        case .peft: try writePEFT(portable.modules)
        case .kohya: try writeKohya(portable.modules, component: component ?? "lora_unet")
        case .diffusers: try writeDiffusers(portable.modules, component: component ?? "unet")
        case .mlx: try writeMLX(portable.modules)
        }
        outputs.sort { $0.name < $1.name }
        try requireDistinctNames()
    }

    /// PEFT's own adapter under the names that PEFT loads; its config stays.
    private mutating func repair() throws {
        var renamed: [(from: ExactString, to: ExactString)] = []
        for key in adapter.keys {
            guard let stored = adapter.checkpoint[key.stored] else { continue }
            guard let name = KeyRepair.name(of: key) else {
                notes.append("dropped \(key.stored.text.printable): a copy of the base's own parameter")
                continue
            }
            if name != key.stored { renamed.append((key.stored, name)) }
            outputs.append(Output(name: name, dtype: stored.dtype, shape: stored.shape, source: .copy(stored)))
        }
        for copy in adapter.copies { notes.append("dropped \(copy.text.printable): the same values stand under another name") }
        notes += renamed.map { "renamed \($0.from.text.printable) to \($0.to.text.printable)" }
        config = adapter.config?.json
        outputs.sort { $0.name < $1.name }
        try requireDistinctNames()
    }

    private func requireDistinctNames() throws {
        for (first, second) in zip(outputs, outputs.dropFirst()) where first.name == second.name {
            throw PeftfileError(
                .refused, "two tensors would have this name", file: adapter.path, tensor: first.name, rule: "AmbiguousKey")
        }
    }

    // MARK: Dialects

    typealias Module = PortableAdapter.Module

    private mutating func add(_ name: String, _ info: TensorInfo, shape: Shape? = nil, transposed: Bool = false) {
        let shape = shape ?? (transposed ? Array(info.shape.reversed()) : info.shape)
        outputs.append(
            Output(name: ExactString(name), dtype: info.dtype, shape: shape, source: .tensor(info.name, transposed: transposed)))
    }

    /// The alpha whose quotient by the rank is the scale, to the last bit.
    static func alpha(for module: Module) throws -> Double {
        let rank = Double(module.rank)
        let near = module.scale * rank
        for alpha in [near, module.alpha, near.nextUp, near.nextDown] where alpha / rank == module.scale { return alpha }
        throw PeftfileError(
            .refused, "scale \(module.scale) of \"\(module.path)\" is no quotient of a number by its rank \(module.rank)",
            tensor: module.a.name, rule: "NotConvertible")
    }

    /// A whole number without a fraction, as trainers write it.
    private static func number(_ value: Double) -> JSONNumber { Int(exactly: value).map { JSONNumber($0) } ?? JSONNumber(value) }

    private static func mostCommon<Value: Hashable & Comparable>(_ values: [Value]) -> Value? {
        let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// PEFT's config for the modules: the commonest rank and alpha, and patterns for the rest.
    private func peftConfig(_ modules: [Module]) throws -> JSONObject {
        let hasDoRA = modules.contains { $0.magnitude != nil }
        guard !hasDoRA || modules.allSatisfy({ $0.magnitude != nil }) else {
            throw PeftfileError(
                .refused, "some modules have a magnitude and others have none, and use_dora holds for all",
                file: adapter.path, rule: "NotConvertible")
        }
        let alphas = try modules.map { try AdapterConversion.alpha(for: $0) }
        let rank = AdapterConversion.mostCommon(modules.map(\.rank)) ?? 1
        let alpha = AdapterConversion.mostCommon(alphas) ?? 1
        var (ranks, alphaPattern) = (JSONObject(), JSONObject())
        for (module, own) in zip(modules, alphas) {
            // `^` holds the entry to the whole path: without it `a.b` is also the end of `c.a.b`.
            let key = ExactString("^" + module.path.text.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "\\."))
            if module.rank != rank { ranks[key] = .number(JSONNumber(module.rank)) }
            if own != alpha { alphaPattern[key] = .number(AdapterConversion.number(own)) }
        }
        return [
            "peft_type": .string(PortableAdapter.peftType), "task_type": .null,
            "base_model_name_or_path": adapter.config?.baseModel.map { .string($0) } ?? .null,
            "inference_mode": true, "r": .number(JSONNumber(rank)), "lora_alpha": .number(AdapterConversion.number(alpha)),
            "rank_pattern": .object(ranks), "alpha_pattern": .object(alphaPattern), "use_dora": .bool(hasDoRA),
            "use_rslora": false, "bias": "none", "lora_bias": .bool(modules.contains { $0.bias != nil }),
            "lora_dropout": .number(JSONNumber(0)), "fan_in_fan_out": false, "init_lora_weights": true,
            "target_modules": .array(modules.map(\.path).sorted().map { .string($0.text) }), "modules_to_save": .null,
        ]
    }

    private mutating func writePEFT(_ modules: [Module]) throws {
        for module in modules { try addPEFT(module, prefix: "base_model.model.") }
        config = try peftConfig(modules)
    }

    private mutating func addPEFT(_ module: Module, prefix: String) throws {
        let path = prefix + module.path.text
        add("\(path).lora_\(module.isEmbedding ? "embedding_A" : "A.weight")", module.a)
        add("\(path).lora_\(module.isEmbedding ? "embedding_B" : "B.weight")", module.b)
        if let bias = module.bias { add("\(path).lora_B.bias", bias) }
        if let magnitude = module.magnitude {
            // (out), of a convolution (1, out, 1…).
            let count = magnitude.elementCount
            let shape = module.isConvolution ? [1, count] + module.a.shape.dropFirst(2).map { _ in 1 } : [count]
            add("\(path).lora_magnitude_vector", magnitude, shape: shape)
        }
    }

    private mutating func writeKohya(_ modules: [Module], component: String) throws {
        metadata = [(key: "ss_network_module", value: "networks.lora")]
        for module in modules {
            try refuse(module, in: "kohya's", embeddings: true, biases: true)
            let path = component + "_" + String(module.path.text.map { $0 == "." ? "_" : $0 })
            add("\(path).lora_down.weight", module.a)
            add("\(path).lora_up.weight", module.b)
            let alpha = try AdapterConversion.alpha(for: module)
            let isSmall = Double(Float(alpha)) == alpha
            outputs.append(
                Output(name: ExactString("\(path).alpha"), dtype: isSmall ? .f32 : .f64, shape: [], source: .number(alpha)))
            if let magnitude = module.magnitude {
                let shape = [magnitude.elementCount] + module.a.shape.dropFirst().map { _ in 1 }
                add("\(path).dora_scale", magnitude, shape: shape)
            }
        }
        if modules.contains(where: { $0.magnitude != nil }) {
            notes.append("LyCORIS adds 2^-23 to the norm of a weight decomposition, PEFT and MLX add nothing")
        }
    }

    private mutating func writeDiffusers(_ modules: [Module], component: String) throws {
        for module in modules {
            try refuse(module, in: "diffusers'", embeddings: true, biases: false)
            try addPEFT(module, prefix: component + ".")
        }
        var packed = JSONObject()
        for member in try peftConfig(modules).members { packed[ExactString("\(component).\(member.key)")] = member.value }
        metadata.append((key: "lora_adapter_metadata", value: JSONValue.object(packed).serialized()))
    }

    private mutating func writeMLX(_ modules: [Module]) throws {
        guard let first = modules.first else { return }
        var keys: Set<String> = []
        for module in modules {
            try refuse(module, in: "MLX'", embeddings: false, biases: true)
            guard !module.isConvolution else { throw unable(module, "is a convolution, for which mlx-lm has no LoRA") }
            guard module.rank == first.rank, module.scale == first.scale, (module.magnitude == nil) == (first.magnitude == nil)
            else {
                throw unable(
                    module, "has rank \(module.rank) and scale \(module.scale), \"\(first.path)\" \(first.rank) and "
                        + "\(first.scale); MLX' config has one of each for all modules")
            }
            add("\(module.path).lora_a", module.a, transposed: true)
            add("\(module.path).lora_b", module.b, transposed: true)
            if let magnitude = module.magnitude { add("\(module.path).m", magnitude, shape: [magnitude.elementCount]) }
            // Keys count from the layer where there is one.
            let parts = module.path.text.split(separator: ".").map(String.init)
            let layer = parts.indices.dropLast(2).first { parts[$0] == "layers" && Int(parts[$0 + 1]) != nil }
            keys.insert(layer.map { parts[($0 + 2)...].joined(separator: ".") } ?? module.path.text)
        }
        config = [
            "fine_tune_type": first.magnitude == nil ? "lora" : "dora", "num_layers": .number(JSONNumber(-1)),
            "lora_parameters": [
                "rank": .number(JSONNumber(first.rank)), "scale": .number(JSONNumber(first.scale)),
                "dropout": .number(JSONNumber(0.0)), "keys": .array(keys.sorted().map { .string($0) }),
            ],
        ]
    }

    private func refuse(_ module: Module, in dialect: String, embeddings: Bool, biases: Bool) throws {
        if embeddings, module.isEmbedding { throw unable(module, "is an embedding, for which \(dialect) dialect has no LoRA") }
        if biases, module.bias != nil { throw unable(module, "has a trained lora_B.bias, which \(dialect) dialect does not have") }
    }

    private func unable(_ module: Module, _ message: String) -> PeftfileError {
        PeftfileError(
            .refused, "module \"\(module.path)\" \(message)", file: adapter.path, tensor: module.a.name,
            rule: "NotConvertible", help: "keep it in PEFT's dialect: --to peft")
    }
}
