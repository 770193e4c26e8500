import ByteAccess
import Tensors

/// A bare file of low-rank factors without a config: `<module>.lora_A` and `<module>.lora_B`, with or without
/// `.weight` and `base_model.model.`.
///
/// The file does not tell the scale, so the caller gives the whole factor (`--scale`), and the orientation where it is
/// not PEFT's:
///
///     out-in (PEFT)       W (out, in), A (r, in), B (out, r):   W' = W + scale·B·A
///     in-out (textbooks)  W (in, out), A (in, r), B (r, out):   W' = W + scale·A·B
///
/// Of a convolution B·A is read as W, as loralib reads it (``LoralibConvolution``).
///
/// B·A is turned where the base holds W as (in, out): loralib's layers with `fan_in_fan_out`, and its embeddings, whose factors
/// are stored so. A square W does not show it (``MatrixOrientation``). Source: `Linear.train`, `Embedding.train` in
/// loralib/layers.py of microsoft/LoRA.
///
/// It has no `peft_type`; ``MethodRegistry`` picks it for adapters without a config.
struct BareFactors: AdapterMethod {
    let peftTypes: [String] = []
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        try LoRAModule.collect(from: adapter).map { AdapterTarget(module: $0.path, method: "LoRA factors") }
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool { key.component?.hasPrefix("lora_") == true }

    func remarks(on adapter: Adapter) -> [String] { [] }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        try requireFactors(adapter)
        guard let scale = context.options.scale else { throw scaleMissing(adapter) }
        let modules = try LoRAModule.collect(from: adapter)
        var requests: [ParameterRequest] = []
        for module in modules {
            try requirePlain(module)
            let (left, right) = try factors(of: module, context)
            requests.append(
                ParameterRequest(
                    module: module.path, parameter: .weight, update: (rows: left.rows, columns: right.columns)))
        }
        let places = try context.resolve(requests, [])
        var result = MethodUpdates()
        for (module, request) in zip(modules, requests) {
            guard let place = places[request] else { continue }
            let (left, right) = try factors(of: module, context)
            if context.options.orientation == .outIn,
                let convolution = LoralibConvolution(a: module.a, b: module.b, weight: place.shape)
            {
                result.changes.append(update(module, convolution, .product(.stored(left), .stored(right)), place, scale, context))
                continue
            }
            // A·B is W's own shape, whatever W means.
            var plain = place
            if context.options.orientation == .inOut { plain.updateTransposed = false }
            let size = plain.updateTransposed ? [right.columns, left.rows] : [left.rows, right.columns]
            guard place.shape == size else {
                let (a, b) = (module.a.shape, module.b.shape)
                let other = context.options.orientation == .outIn ? [a[0], b[1]] : [b[0], a[1]]
                throw PeftfileError(
                    .refused,
                    "has shape \(place.shape), and with --orientation \(context.options.orientation.rawValue) the update "
                        + "is \([left.rows, right.columns])", tensor: place.pieces.first?.tensor,
                    rule: "ShapeMismatch",
                    help: other == place.shape
                        ? "give the other --orientation"
                        : "give the base model that the adapter was trained on; where it adapts parts of a fused layer, --enable-lora true,false,true says which")
            }
            result.changes.append(
                ParameterUpdate(
                    place: plain,
                    change: .lowRank(
                        expert: nil, left: left, right: right,
                        scale: scale * context.weight * Double(place.multiplicity), region: nil),
                    target: AdapterTarget(module: module.path, method: "LoRA", rank: left.columns, scale: scale)))
        }
        return result
    }

    /// view(B·A) of a convolution.
    private func update(
        _ module: LoRAModule, _ convolution: LoralibConvolution, _ product: MatrixExpression, _ place: ParameterPlace, _ scale: Double,
        _ context: BindingContext
    ) -> ParameterUpdate {
        var plain = place
        plain.updateTransposed = false
        return ParameterUpdate(
            place: plain,
            change: .term(
                product.reshaped(columns: place.shape.matrix.columns), scale: scale * context.weight * Double(place.multiplicity)),
            target: AdapterTarget(module: module.path, method: "LoRA", rank: convolution.rank, scale: scale))
    }

    /// B·A in PEFT's orientation, without the scale that no file tells.
    func thinUpdates(of adapter: Adapter) throws -> ThinUpdates {
        var result = ThinUpdates()
        for module in try LoRAModule.collect(from: adapter) {
            let (a, b) = (Factor(adapter: 0, info: module.a), Factor(adapter: 0, info: module.b))
            let (left, right) = module.isEmbedding ? (a.transposed, b.transposed) : (b, a)
            guard left.columns == right.rows else {
                result.skipped.append((module.path.text, "its factors do not lie as PEFT's, and no config says how they do"))
                continue
            }
            result.updates.append(
                ThinUpdate(
                    module: module.path, rank: left.columns, rows: left.rows, columns: right.columns,
                    terms: [.init(left: .stored(left), right: .stored(right), scale: 1)],
                    note: "without its scale, which no config tells"))
        }
        return result
    }

    /// The pairs as PEFT's factors: those that lie as in textbooks are turned, (A·B)ᵀ = Bᵀ·Aᵀ, and loralib's of a convolution get its window.
    ///
    /// - Parameter weight: the shape of a module's weight, where a base tells.
    func portable(
        _ adapter: Adapter, _ options: BindingOptions, weight: (ExactString) -> Shape? = { _ in nil }
    ) throws -> (modules: [PortableAdapter.Module], views: [ExactString: TensorView]) {
        try requireFactors(adapter)
        guard let scale = options.scale else { throw scaleMissing(adapter) }
        var views: [ExactString: TensorView] = [:]
        let modules = try LoRAModule.collect(from: adapter).map { module in
            try requirePlain(module)
            var (a, b) = (module.a, module.b)
            if options.orientation == .inOut {
                for info in [a, b] { views[info.name] = TensorView(info, axes: [1, 0]) }
                a.shape.reverse()
                b.shape.reverse()
            }
            guard a.shape[0] == b.shape[1] else { throw misfit(module, options, b.shape[1], a.shape[0]) }
            if let weight = weight(module.path), weight.count > 2 {
                guard let factors = LoralibConvolution(a: module.a, b: module.b, weight: weight)?.factors else {
                    throw PeftfileError(
                        .refused, "is of a convolution in groups, whose product is no pair of factors", file: adapter.path, tensor: a.name,
                        rule: "NotConvertible", help: "merge it instead")
                }
                (views[a.name], views[b.name]) = (factors.a, factors.b)
                (a, b) = (factors.a.info, factors.b.info)
            }
            return PortableAdapter.Module(
                path: module.path, own: module.path, isEmbedding: false, a: a, b: b, rank: a.shape[0],
                alpha: scale * Double(a.shape[0]), scale: scale)
        }
        return (modules, views)
    }

    /// Refuses a file that is no pairs of factors: no option would make it one.
    private func requireFactors(_ adapter: Adapter) throws {
        // With what is more than two matrices requirePlain deals.
        let known: Set<String> = ["lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_diag"]
        let strangers = adapter.keys.filter { $0.component.map(known.contains) != true }
        guard let first = strangers.first else { return }
        let isTLoRA = adapter.keys.contains { $0.stored.text.hasSuffix(".q_layer.weight") }
            && adapter.keys.contains { $0.stored.text.hasSuffix(".lambda_layer") }
        throw PeftfileError(
            .refused,
            isTLoRA
                ? "is a tensor of T-LoRA, whose file lacks the base's own factors that its update is taken against"
                : "\(strangers.count) of \(adapter.keys.count) tensors are no lora_A or lora_B, and the file is in no dialect that is known as a whole; the first is this",
            file: adapter.path, tensor: first.stored, rule: "UnclaimedTensor",
            help: isTLoRA
                ? "merge it where it was trained"
                : "put its adapter_config.json beside it; if it has tensors of two dialects, save each alone")
    }

    private func scaleMissing(_ adapter: Adapter) -> PeftfileError {
        PeftfileError(
            .refused, "has no adapter_config.json, so the scale of the update is unknown", file: adapter.path,
            rule: "ConfigMissing", help: "give the whole factor with --scale (lora_alpha / r for a LoRA)")
    }

    private func requirePlain(_ module: LoRAModule) throws {
        guard !module.isEmbedding, !module.isConvolution, module.bias == nil, module.magnitude == nil, module.diagonal == nil
        else {
            throw PeftfileError(
                .refused, "module \"\(module.path)\" is more than two matrices, and there is no config to explain it",
                tensor: module.a.name, rule: "ConfigMissing", help: "put adapter_config.json beside the file")
        }
    }

    private func misfit(_ module: LoRAModule, _ options: BindingOptions, _ left: Int, _ right: Int) -> PeftfileError {
        PeftfileError(
            .refused,
            "with --orientation \(options.orientation.rawValue) the ranks are \(left) and "
                + "\(right): shapes \(module.a.shape) and \(module.b.shape)", tensor: module.a.name,
            rule: "RankMismatch", help: "give the other --orientation")
    }

    private func factors(of module: LoRAModule, _ context: BindingContext) throws -> (left: Factor, right: Factor) {
        let a = Factor(adapter: context.adapterIndex, info: module.a)
        let b = Factor(adapter: context.adapterIndex, info: module.b)
        let (left, right) = context.options.orientation == .outIn ? (b, a) : (a, b)
        guard left.columns == right.rows else { throw misfit(module, context.options, left.columns, right.rows) }
        return (left, right)
    }
}
