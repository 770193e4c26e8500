import Adapters
import ByteAccess
import Tensors

/// LoRA and DoRA in the names, layouts and configs of each library.
extension AdapterConversion {
    mutating func addPEFT(_ module: Module, prefix: String) throws {
        let layers = String(repeating: ".base_layer", count: module.depth)
        let path = prefix + (module.isParameter ? module.wrappedModule.text : module.path.text) + layers
        add("\(path).lora_\(module.isEmbedding ? "embedding_A" : "A.weight")", module.a)
        let b = "\(path).lora_\(module.isEmbedding ? "embedding_B" : "B.weight")"
        if let (factor, dtype) = folded[module.b.name] {
            let source = Output.Source.arranged([(module.b.name, factor)], shape: module.b.shape, axes: Array(module.b.shape.indices))
            outputs.append(Output(name: ExactString(b), dtype: dtype, shape: module.b.shape, source: source))
        } else {
            add(b, module.b)
        }
        if let bias = module.bias { add("\(path).lora_B.bias", bias) }
        if let magnitude = module.magnitude {
            // (out), of a convolution (1, out, 1…).
            let count = magnitude.elementCount
            let shape = module.isConvolution ? [1, count] + module.a.shape.dropFirst(2).map { _ in 1 } : [count]
            add("\(path).lora_magnitude_vector", magnitude, shape: shape)
        }
    }

    /// The modules with a scale of 1 where their bias has none: PEFT multiplies lora_B's bias by the scale of the product, so that the scale goes into
    /// B, as diffusers' converter folds it.
    ///
    /// Source: `_convert_non_diffusers_wan_lora_to_diffusers` in src/diffusers/loaders/lora_conversion_utils.py.
    mutating func foldingScales(_ modules: [Module]) throws -> [Module] {
        let numbers = AdapterNumbers(adapters: [adapter])
        return try modules.map { module in
            guard module.isBiasUnscaled, module.scale != 1 else { return module }
            guard let dtype = try AdapterConversion.exactDType(of: module.b, times: module.scale, numbers) else {
                throw unable(module, "has a difference of its bias, which has no scale, and F32 does not hold its lora_B times its own, \(module.scale)")
            }
            folded[module.b.name] = (module.scale, dtype)
            var module = module
            (module.scale, module.alpha, module.alphaDType) = (1, Double(module.rank), nil)
            return module
        }
    }

    mutating func writeKohya(_ modules: [Module], _ names: ComponentNames) throws {
        metadata = [(key: "ss_network_module", value: names.isTrainedAsFlux ? "networks.lora_flux" : "networks.lora")]
        var parts: [(path: String, layer: OriginalLayer, module: Module)] = []
        for module in modules {
            // diff_b has no scale.
            try refuse(module, in: "kohya's", embeddings: true, biases: !module.isBiasUnscaled && module.scale != 1)
            let path = try names.underscored(module.own, module.component)
            if let layer = names.layer(of: module.own, module.component), layer.isFused || layer.isSwapped {
                try refuse(module, in: "kohya's", embeddings: true, biases: true)
                parts.append((path, layer, module))
                continue
            }
            add("\(path).lora_down.weight", module.a)
            add("\(path).lora_up.weight", module.b)
            if let bias = module.bias { add("\(path).diff_b", bias) }
            try addAlpha(AdapterConversion.alpha(for: module), path, module.alphaDType)
            if let magnitude = module.magnitude {
                let shape = [magnitude.elementCount] + module.a.shape.dropFirst().map { _ in 1 }
                add("\(path).dora_scale", magnitude, shape: shape)
            }
        }
        try writeFlux(parts)
        if modules.contains(where: { $0.magnitude != nil }) {
            notes.append("LyCORIS adds 2^-23 to the norm of a weight decomposition, PEFT and MLX add nothing")
        }
    }

    /// The `alpha` of a module, in the dtype that it has already or else in F32, where that holds it.
    ///
    /// - Throws: `.refused` where it is 0, which one loader takes for no update and another for the rank.
    mutating func addAlpha(_ alpha: Double, _ path: String, _ own: DType?) throws {
        guard alpha != 0 else {
            throw PeftfileError(
                .refused, "module \"\(path)\" has the scale 0, which kohya's alpha cannot say: loaders take 0 for no update or for the rank",
                file: adapter.path, rule: "NotConvertible", help: "remove the module, which changes nothing, or correct lora_alpha")
        }
        func holds(_ dtype: DType) -> Bool {
            guard dtype.isMergeable, let bytes = try? Conversion.narrowed([alpha], to: dtype) else { return false }
            return (try? Conversion.widened(bytes, as: dtype, count: 1)) == [alpha]
        }
        let dtype = [own ?? .f32, .f32].first(where: holds) ?? .f64
        outputs.append(Output(name: ExactString("\(path).alpha"), dtype: dtype, shape: [], source: .number(alpha)))
    }

    mutating func writeDiffusers(_ modules: [Module], _ names: ComponentNames) throws {
        var packed = JSONObject()
        let modules = try foldingScales(modules)
        for module in modules { try refuse(module, in: "diffusers'", embeddings: true, biases: false) }
        let components = try modules.map { try names.name(of: $0.component) }
        for component in Set(components).sorted() {
            var own = zip(modules, components).filter { $0.1 == component }.map(\.0)
            for index in own.indices { own[index].path = ExactString(try names.path(of: own[index].own, component: own[index].component)) }
            for module in own { try addPEFT(module, prefix: component + ".") }
            for member in try peftConfig(own).members { packed[ExactString("\(component).\(member.key)")] = member.value }
        }
        metadata.append((key: "lora_adapter_metadata", value: JSONValue.object(packed).serialized()))
    }

    /// PEFT's config for the modules, and for parameters by their paths: the commonest rank and alpha, and patterns for the rest.
    func peftConfig(_ modules: [Module], parameters: [(path: ExactString, rank: Int, alpha: Double)] = []) throws -> JSONObject {
        let hasDoRA = modules.contains { $0.magnitude != nil }
        guard !hasDoRA || modules.allSatisfy({ $0.magnitude != nil }) else {
            throw PeftfileError(
                .refused, "some modules have a magnitude and others have none, and use_dora holds for all",
                file: adapter.path, rule: "NotConvertible")
        }
        let (rank, alpha, ranks, alphaPattern) = AdapterConversion.patterns(
            try modules.map { ($0.path, $0.rank, try AdapterConversion.alpha(for: $0)) } + parameters)
        var config: JSONObject = [
            "peft_type": .string(PortableAdapter.peftType), "task_type": .null,
            "base_model_name_or_path": adapter.config?.baseModel.map { .string($0) } ?? .null,
            "inference_mode": true, "r": .number(JSONNumber(rank)), "lora_alpha": .number(AdapterConversion.number(alpha)),
            "rank_pattern": .object(ranks), "alpha_pattern": .object(alphaPattern), "use_dora": .bool(hasDoRA),
            "use_rslora": false, "bias": "none", "lora_bias": .bool(modules.contains { $0.bias != nil }),
            "lora_dropout": .number(JSONNumber(0)), "fan_in_fan_out": .bool(squareOrientation == .inOut), "init_lora_weights": true,
            "target_modules": .array(modules.map(\.path).sorted().map { .string($0.text) }), "modules_to_save": .null,
        ]
        if !parameters.isEmpty { config["target_parameters"] = .array(parameters.map(\.path).sorted().map { .string($0.text) }) }
        return config
    }

    func refuse(_ module: Module, in dialect: String, embeddings: Bool, biases: Bool) throws {
        if embeddings, module.isEmbedding { throw unable(module, "is an embedding, for which \(dialect) dialect has no LoRA") }
        if biases, module.bias != nil { throw unable(module, "has a trained lora_B.bias, which \(dialect) dialect does not have") }
    }
}
