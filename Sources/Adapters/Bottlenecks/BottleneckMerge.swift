import ByteAccess
import Checkpoints
import Tensors

/// The merge of bottleneck adapters without a non-linearity; `Bottleneck` states the formula.
struct BottleneckMerge {
    let adapter: Adapter
    let modules: [BottleneckModule]
    let context: BindingContext

    // MARK: What the adapter alone tells

    /// The part of the config that describes the adapter.
    static func section(_ adapter: Adapter) throws -> AdapterConfig? {
        try AdapterHubConfig.section(adapter.config) ?? adapter.config
    }

    /// Why the adapter has no merged form in any base, in words; nil where nothing stands against it.
    static func obstacle(in modules: [BottleneckModule], _ adapter: Adapter) throws -> String? {
        guard let section = try section(adapter), let function = section["non_linearity"]?.stringValue else {
            return "no config names the function between its two projections"
        }
        guard PromptActivation(name: function) == .identity else {
            return "the non-linearity \(function.printable) between its two projections has no weight-space form"
        }
        if let architecture = section["architecture"]?.stringValue {
            return "its architecture is \(architecture.printable)"
        }
        if try section.flag("phm_layer") || modules.contains(where: \.isFactored) {
            return "its projections are stored as Kronecker products (Compacter), which are not multiplied out here"
        }
        if try section.flag("ln_before") || section.flag("ln_after") || holds("adapter_norm", modules) {
            return "it has a norm beside its projections (ln_before, ln_after), which depends on each input"
        }
        if try section.flag("use_gating") || holds("gate", modules) {
            return "its output is gated (use_gating), by a number that depends on the input"
        }
        if try section.flag("is_parallel") || modules.contains(where: { $0.root.hasSuffix(".parallel_adapter") }) {
            return "it is parallel: it reads the input of the sub-layer, and between that and the last weight there is more than a "
                + "linear map"
        }
        if try section.flag("original_ln_before") {
            return "it reads the sum with the residual stream (original_ln_before), which is no output of one layer"
        }
        if section["original_ln_after"] != nil, try !section.flag("original_ln_after") {
            return "it leaves out the sub-layer's own norm and residual sum (original_ln_after is false)"
        }
        if let residual = section["residual_before_ln"], residual.boolValue == nil {
            return "residual_before_ln is \(residual.serialized().printable), which has a meaning with original_ln_before alone"
        }
        if section["inv_adapter"] != nil { return "it has an invertible adapter behind the embedding (inv_adapter)" }
        return nil
    }

    private static func holds(_ prefix: String, _ modules: [BottleneckModule]) -> Bool {
        modules.contains { $0.extras.contains { $0.hasPrefix(prefix) } }
    }

    static func sentence(_ reason: String) -> String { "a bottleneck adapter cannot be merged: \(reason)" }

    static func refusal(_ reason: String, _ adapter: Adapter, tensor: ExactString? = nil) -> PeftfileError {
        PeftfileError(
            .refused, sentence(reason), file: adapter.path, tensor: tensor, rule: "NotMergeable", help: "serve it unmerged")
    }

    // MARK: Against a base

    func updates() throws -> MethodUpdates {
        var result = MethodUpdates()
        for (module, layer) in zip(modules, try layers()) {
            let factors = try factors(of: module)
            let target = AdapterTarget(
                module: layer.path, method: "bottleneck", rank: factors.bottleneck.down.rows, scale: factors.scale)
            for place in [layer.weight, layer.bias] {
                result.changes.append(
                    ParameterUpdate(
                        place: place,
                        change: .bottleneck(
                            factors.bottleneck, scale: factors.scale * context.weight * Double(place.multiplicity)),
                        target: target))
            }
        }
        for name in ["model_head.safetensors", "pytorch_model_head.bin"] {
            guard let directory = adapter.directory, FileSystem.exists(FileSystem.join(directory, name)) else { continue }
            result.warnings.append("\(name) beside the adapter is a prediction head of its own; it is not part of the merge")
        }
        return result
    }

    private typealias Layer = (path: ExactString, weight: ParameterPlace, bias: ParameterPlace)

    /// The layer behind which each adapter stands.
    ///
    /// Which of the candidates it is follows for all layers of one place together. The first search has no shape, since the
    /// width of the layer's input is the base's to tell; the second has it, so that a Conv1D layer is known for one.
    private func layers() throws -> [Layer] {
        var paths: [ExactString?] = modules.map { _ in nil }
        for location in Set(modules.map(\.location)).sorted() {
            let members = modules.indices.filter { modules[$0].location == location }
            let candidates = members.map { BottleneckPlacement.layers(of: modules[$0]) }
            let found = (candidates.first ?? []).indices.filter { number in
                let requests = candidates.map { ParameterRequest(module: $0[number], parameter: .weight) }
                return (try? context.resolve(requests, [])) != nil
            }
            guard found.count == 1 else {
                throw BottleneckMerge.refusal(
                    "at \(location.printable), and of the layers it may stand behind the base has \(found.count)", adapter,
                    tensor: modules[members[0]].down?.stored)
            }
            for (member, names) in zip(members, candidates) { paths[member] = names[found[0]] }
        }
        let names = paths.compactMap { $0 }
        try refuseScaledLayers()
        let weights = names.map { ParameterRequest(module: $0, parameter: .weight) }
        let shapes = try context.resolve(weights, [])
        let shaped = zip(weights, modules).map { request, module in
            var request = request
            if let shape = shapes[request]?.shape, shape.count == 2, let hidden = module.down?.shape.last {
                request.update = (hidden, shape[0] == hidden ? shape[1] : shape[0])
            }
            return request
        }
        let biases = names.map { ParameterRequest(module: $0, parameter: .bias) }
        let weightPlaces = try context.resolve(shaped, [])
        guard let places = try? context.resolve(shaped + biases, []) else {
            throw BottleneckMerge.refusal(
                "its two biases would go into the bias of \(names[0].text.printable), and not all such layers of the base have one",
                adapter)
        }
        return try names.indices.map { index in
            guard let weight = weightPlaces[shaped[index]], weight.shape.count == 2, let bias = places[biases[index]],
                bias.shape.count == 1
            else {
                throw BottleneckMerge.refusal("\(names[index].text.printable) is no linear layer with a bias", adapter)
            }
            return (names[index], weight, bias)
        }
    }

    /// BEiT scales what attention gives (`lambda_1`) before the adapter reads it.
    private func refuseScaledLayers() throws {
        for block in modules.compactMap(BottleneckPlacement.block) {
            let request = ParameterRequest(module: block, parameter: .named("lambda_1"))
            guard (try? context.resolve([request], [])) == nil else {
                throw BottleneckMerge.refusal("\(block.text.printable).lambda_1 scales what it reads", adapter)
            }
        }
    }

    // MARK: Numbers

    private func factors(of module: BottleneckModule) throws -> (bottleneck: LinearBottleneck, scale: Double) {
        guard let down = module.down, let up = module.up, let downBias = module.downBias, let upBias = module.upBias else {
            throw incomplete(module)
        }
        for (tensor, rank) in [(down, 2), (up, 2), (downBias, 1), (upBias, 1)] { try tensor.requireNumbers(rank: rank) }
        let (rank, hidden) = (down.shape[0], down.shape[1])
        try up.requireShape([hidden, rank], dueTo: down)
        try downBias.requireShape([rank], dueTo: down)
        try upBias.requireShape([hidden], dueTo: up)
        let d = try factor(down)
        var u = try factor(up).transposed
        var c = try factor(upBias)
        let b = try factor(downBias)
        var scale = 1.0
        var scaleTensor: ExactString?
        if let learnt = module.tensors["scaling"] {
            try learnt.requireNumbers(rank: 1)
            if learnt.shape == [1] {
                scaleTensor = learnt.stored
                scale = try AdapterNumbers(adapters: [adapter]).elements(of: learnt.stored, adapter: 0)[0]
            } else {
                try learnt.requireShape([hidden], dueTo: up)
                (u.diagonal, c.diagonal) = (learnt.stored, learnt.stored)
            }
        } else if let section = try BottleneckMerge.section(adapter), let value = section["scaling"] {
            guard let stated = value.doubleValue, stated.isFinite else {
                throw BottleneckMerge.refusal(
                    "scaling is \(value.serialized().printable), and \(module.root.printable) has no such tensor", adapter)
            }
            scale = stated
        }
        guard scale.isFinite else {
            throw BottleneckMerge.refusal("its scaling is \(scale)", adapter, tensor: scaleTensor)
        }
        return (
            LinearBottleneck(down: d, upTransposed: u, downBias: b, upBias: c, scaleTensor: scaleTensor), scale
        )
    }

    private func factor(_ tensor: PromptTensor) throws -> Factor {
        guard let info = adapter.tensor(tensor.stored) else {
            throw PeftfileError(.malformed, "is not in the adapter", tensor: tensor.stored, rule: "TensorMissing")
        }
        return Factor(adapter: context.adapterIndex, info: info)
    }

    private func incomplete(_ module: BottleneckModule) -> PeftfileError {
        let parts = [("down-projection", module.down), ("up-projection", module.up), ("bias of the down-projection", module.downBias),
            ("bias of the up-projection", module.upBias)]
        let missing = parts.filter { $0.1 == nil }.map(\.0).joined(separator: ", ")
        return PeftfileError(
            .refused, "\(module.root.printable) has no \(missing)", file: adapter.path, rule: "BottleneckIncomplete",
            help: "save the adapter again; half of a pair is no adapter")
    }
}
