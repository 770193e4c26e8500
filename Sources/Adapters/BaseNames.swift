import ByteAccess
import Checkpoints

/// The bases that an adapter was held against, and what they call its modules.
struct BaseNames {
    private let held: [AdapterOnBase]

    /// The part of a pipeline that the base is, where the adapter's own names tell of none.
    var component: String? { held.count == 1 ? held[0].base.component : nil }

    /// Holds each part of an adapter against the base that it is of.
    ///
    /// - Throws: the merge's refusal where a part is of none.
    init(_ repaired: RepairedAdapter, _ bound: BoundAdapter, bases: [PipelineBase], options: BindingOptions) throws {
        let adapter = repaired.adapter
        guard adapter.dialect != nil else {
            held = repaired.held.map { [$0] } ?? []
            return
        }
        guard bound.components.isEmpty else {
            held = try bound.homes.map { home in
                var own = options
                own.component = home.component
                return try AdapterOnBase(adapter, base: bases[home.part], options: own)
            }
            return
        }
        guard bases.count > 1 else {
            held = try bases.map { try AdapterOnBase(adapter, base: $0, options: options) }
            return
        }
        let fitting = bases.compactMap { try? AdapterOnBase(adapter, base: $0, options: options) }
        if fitting.isEmpty { _ = try AdapterOnBase(adapter, base: bases[0], options: options) }
        guard fitting.count == 1 else {
            throw PeftfileError(
                .refused, "fits \(fitting.count) of the bases, and is of one model", file: adapter.path, rule: "AmbiguousComponent",
                help: "name one: --base \(bases[0].checkpoint.path.shellQuoted)")
        }
        held = fitting
    }

    /// What the base calls a module that the adapter calls by its path in memory; nil where no base tells.
    func name(of module: ExactString) -> AdapterOnBase.Name? { held.lazy.compactMap { $0.name(of: module) }.first }

    /// The base's path of a module, for a file whose names are looked up among the base's; nil where no base tells.
    ///
    /// - Throws: `.refused` where the base has no tensor of the module's own.
    func own(_ module: ExactString, _ names: PortableAdapter.Names, _ path: String, tensor: ExactString?) throws -> ExactString? {
        switch name(of: module) {
        case nil: return nil
        case .path(let own): return own
        case .nameless where names == .inMemory: return nil
        case .nameless(let reason):
            throw PeftfileError(
                .refused, "module \"\(module)\" \(reason), and files with a component in their names know the base's modules alone",
                file: path, tensor: tensor, rule: "NotConvertible", help: "merge it instead, or keep it in PEFT's dialect: --to peft")
        }
    }

    /// Where a base keeps a module's weight.
    func place(of module: ExactString) -> ParameterPlace? { held.lazy.compactMap { $0.place(of: module) }.first }

    /// Where a base keeps the parameter that a factor's update is of.
    func place(ofFactor tensor: ExactString) -> ParameterPlace? { held.lazy.compactMap { $0.place(ofFactor: tensor) }.first }

    /// Whether a parameter that the adapter stores whole is a copy of the base's own, which PEFT saves beside the LoRA of an embedding
    /// or head (`save_embedding_layers`): no change, and nothing that another dialect has to hold.
    ///
    /// - Throws: `.refused` where no base tells, or it has other numbers.
    func isCopy(_ key: AdapterKey, of part: Adapter) throws -> Bool {
        guard SavedParameters.mayBeCopy(key, of: part) else { return false }
        func refusal(_ message: String, _ help: String) -> PeftfileError {
            PeftfileError(.refused, message, file: part.path, tensor: key.stored, rule: "NotConvertible", help: help)
        }
        guard !held.isEmpty else {
            throw refusal(
                "is a parameter of the base, stored whole, and only the base tells whether it was changed", "name the base: --base BASE; or merge it instead")
        }
        for base in held where try base.hasOwn(key.stored, of: part) == true { return true }
        throw refusal(
            "is stored whole and is not the base's own, number by number, and no other dialect has a place for it",
            "name the base that it was trained on, or merge it instead")
    }

    /// How whoever reads a file without a word on it takes matrices to be held, by the modules' own paths; empty without a base.
    ///
    /// - Parameter isTurned: what the file would say of square ones.
    func orientations(of modules: [ExactString], isTurned: Bool?) -> [ExactString: Bool] {
        var result: [ExactString: Bool] = [:]
        for base in held {
            var requests: [ExactString: ParameterRequest] = [:]
            for module in modules {
                guard case .path(let path) = base.name(of: module), let place = base.place(of: module), place.shape.count == 2 else { continue }
                let size = place.updateTransposed ? (place.shape[1], place.shape[0]) : (place.shape[0], place.shape[1])
                requests[module] = ParameterRequest(module: path, parameter: .weight, update: size)
            }
            guard let view = try? BaseView(base: base.base.checkpoint, adapters: []) else { continue }
            let resolver = NameResolver(base: view.directory, squareIsTransposed: isTurned)
            guard let places = try? resolver.survey(Array(requests.values)).places else { continue }
            for (module, request) in requests { result[module] = places[request]?.updateTransposed }
        }
        return result
    }
}
