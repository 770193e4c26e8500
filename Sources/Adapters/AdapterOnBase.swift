import ByteAccess
import Checkpoints
import Tensors

/// An adapter held against a base by the merge's own binding, for whoever writes the adapter anew: what does not merge onto
/// the base is refused as the merge refuses it, and each module gets the name that the base has for it.
struct AdapterOnBase: Sendable {
    /// What a base calls a module.
    enum Name: Hashable {
        /// One tensor, whole, of this path.
        case path(ExactString)
        /// No tensor of its own, and what stands for it.
        case nameless(String)
    }

    let base: PipelineBase
    /// Nil where the adapter has no merged form; names and sizes alone were held against the base then.
    let binding: Binding?
    private let names: [ExactString: Name]
    private let places: [ExactString: ParameterPlace]

    /// - Parameter acceptsUnmergeable: whether an adapter without a merged form is held against the base's names and sizes.
    /// - Throws: the merge's refusal where the adapter is not one of the base.
    init(_ adapter: Adapter, base: PipelineBase, options: BindingOptions, acceptsUnmergeable: Bool = false) throws {
        self.base = base
        binding = try AdapterOnBase.binding(adapter, base.checkpoint, options, acceptsUnmergeable)
        var names: [ExactString: Name] = [:]
        var places: [ExactString: ParameterPlace] = [:]
        for update in binding?.changes[0] ?? [] where update.change.isUpdate && update.place.shape.count > 1 {
            guard let module = update.target?.module else { continue }
            let name = AdapterOnBase.name(update.place, in: base.checkpoint)
            // Several parameters of one module, as experts have, are no module of the base.
            if let other = names[module], other != name {
                names[module] = Name.nameless("is several parameters of the base")
            } else {
                (names[module], places[module]) = (name, update.place)
            }
        }
        (self.names, self.places) = (names, places)
    }

    /// What the base calls a module; nil where the adapter changes no weight of it.
    func name(of module: ExactString) -> Name? { names[module] }

    /// Where the base keeps a module's weight.
    func place(of module: ExactString) -> ParameterPlace? { places[module] }

    /// Where the base keeps the parameter that a factor's update is of.
    func place(ofFactor tensor: ExactString) -> ParameterPlace? {
        binding?.changes[0].first { $0.change.isUpdate && $0.tensors.contains(tensor) }?.place
    }

    /// Whether a parameter that the adapter stores whole has the base's own numbers; nil where the base has none in its place.
    func hasOwn(_ tensor: ExactString, of adapter: Adapter) throws -> Bool? {
        let change = binding?.changes[0].first { change in
            guard case .replace(tensor, _) = change.change else { return false }
            return true
        }
        guard let pieces = change?.place.pieces, pieces.count == 1 else { return nil }
        return try AdapterNumbers(adapters: [adapter], base: base.checkpoint).isBase(tensor, adapter: 0, pieces[0].tensor)
    }

    private static func name(_ place: ParameterPlace, in base: Checkpoint) -> Name {
        if let untied = place.untiedName { return AdapterOnBase.module(of: untied) }
        guard let first = place.pieces.first else { return .nameless("has no tensor in the base") }
        guard place.pieces.count == 1 else {
            return .nameless("is \(place.pieces.count) tensors of the base, the first \"\(first.tensor.text.printable)\"")
        }
        let rows = base[first.tensor]?.shape.first ?? 0
        guard first.storedExpert == nil, place.shape.elementCount == base[first.tensor]?.info.elementCount else {
            return .nameless(
                first.storedExpert.map { "is expert \($0) of the base's \"\(first.tensor.text.printable)\"" }
                    ?? "is \(first.rows.count) of the \(rows) rows of the base's \"\(first.tensor.text.printable)\"")
        }
        return module(of: first.tensor)
    }

    /// `X` of `X.weight`, and of the `X.in_proj_weight` that an attention has in its place.
    private static func module(of tensor: ExactString) -> Name {
        for leaf in [".weight", ".in_proj_weight"] where tensor.text.hasSuffix(leaf) {
            return .path(ExactString(String(tensor.text.dropLast(leaf.count))))
        }
        return .nameless("is the base's parameter \"\(tensor.text.printable)\", and no module's weight")
    }

    // MARK: Binding

    /// Binds the adapter. What stands against a merge and not against names and sizes is no matter here.
    private static func binding(
        _ adapter: Adapter, _ base: Checkpoint, _ options: BindingOptions, _ acceptsUnmergeable: Bool
    ) throws -> Binding? {
        var options = options
        // Whichever of two bases it is, names and sizes are the same; and all tasks have the same tensors.
        options.baseRole = .residual
        if adapter.dialect == nil, try MethodRegistry.method(of: adapter).takesTask { options.task = 0 }
        do {
            return try Binding(base: base, adapters: [adapter], options: options, isAdvising: false)
        } catch let refusal as PeftfileError {
            guard acceptsUnmergeable else { throw refusal }
            switch refusal.rule {
            case "ActivatedLoRA", "ArrowRouter":
                let rest = try adapter.ignoringConfigKeys(["alora_invocation_tokens", "arrow_config"])
                return try Binding(base: base, adapters: [rest], options: options, isAdvising: false)
            case "NotMergeable", "GroupedConvolution", "BiasMissing":
                try requirePlaces(of: adapter, base)
                return nil
            default: throw refusal
            }
        }
    }

    private static func requirePlaces(of adapter: Adapter, _ base: Checkpoint) throws {
        let placement = try BasePlacement(adapter, base: base)
        let help = "give the base model that the adapter was trained on"
        if let lost = placement.missing.first {
            throw PeftfileError(
                .refused, "module \"\(lost.module)\" has no place in the base", file: adapter.path, tensor: lost.tensor,
                rule: "MissingTarget", help: help)
        }
        if let misfit = placement.misfits.first {
            throw PeftfileError(
                .refused, misfit.reason, file: adapter.path, tensor: misfit.tensor, rule: "ShapeMismatch", help: help)
        }
    }
}
