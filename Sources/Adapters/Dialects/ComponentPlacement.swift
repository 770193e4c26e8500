import ByteAccess
import Tensors

/// Which components of an adapter file the base is, and where their modules are in it.
///
/// A file of several components (`lora_unet`, `lora_te1`; `unet`, `text_encoder`) is merged into one of them at a time.
/// A component is the base where all of its modules are there with weights that their updates fit; where none is, it is
/// left out and listed. Anything between is refused, and so are two components that both fit.
struct ComponentPlacement {
    /// Modules under the base's paths.
    private(set) var placed: [DialectModule] = []
    private(set) var leftOut: [DialectModule] = []
    private(set) var warnings: [String] = []

    init(_ modules: [DialectModule], base: BaseDirectory, options: BindingOptions, path: String) throws {
        var order: [String] = []
        var byComponent: [String: [DialectModule]] = [:]
        for module in modules {
            // Modules without a component are resolved with all else that name resolution knows.
            guard let component = module.component else {
                let isThere = module.elsewhere.isEmpty || base.shape(module.name.text + ".weight") != nil
                placed += isThere ? [module] : module.elsewhere
                continue
            }
            if byComponent[component] == nil { order.append(component) }
            byComponent[component, default: []].append(module)
        }
        guard !order.isEmpty else { return }
        if let wanted = options.component, byComponent[wanted] == nil {
            throw PeftfileError(
                .usage, "--component \(wanted): the adapter has \(order.joined(separator: ", "))", file: path,
                rule: "Component")
        }
        let known = BaseModules(base)
        var candidates: [Candidate] = []
        for name in order where options.component == nil || options.component == name {
            candidates.append(try Candidate(name, byComponent[name] ?? [], known))
        }
        // Of two text encoders under the same names of the base, the one whose shapes fit is meant.
        let fitting = candidates.filter { !$0.places.isEmpty && $0.misfits == 0 }
        var chosen = candidates.filter { candidate in
            !candidate.places.isEmpty
                && (candidate.misfits == 0 || !fitting.contains { candidate.sharesPlaces(with: $0) })
        }
        for (index, first) in chosen.enumerated() {
            guard let second = chosen[(index + 1)...].first(where: { $0.sharesPlaces(with: first) }) else { continue }
            throw PeftfileError(
                .refused, "its components \(first.name) and \(second.name) both fit the base", file: path,
                rule: "AmbiguousComponent", help: "say which one the base is: --component \(first.name)")
        }
        if chosen.isEmpty, let first = candidates.first { chosen = [first] }
        for candidate in chosen {
            try candidate.requireAll(path: path)
            placed += candidate.modules.flatMap { module in
                candidate.members(for: module).map { module in
                    var module = module
                    module.name = candidate.places[module.name] ?? module.name
                    module.naming = .path
                    return module
                }
            }
        }
        let names = Set(chosen.map(\.name))
        for name in order where !names.contains(name) {
            let members = byComponent[name] ?? []
            leftOut += members
            warnings.append(
                "left out, because the base has no \(name): " + members.map(\.fullName).joined(separator: ", "))
        }
    }

    /// A component held against the base.
    private struct Candidate {
        let name: String
        let modules: [DialectModule]
        let places: [ExactString: ExactString]
        /// Placed modules whose update does not have the weight's size.
        let misfits: Int

        init(_ name: String, _ modules: [DialectModule], _ base: BaseModules) throws {
            self.name = name
            self.modules = modules
            guard let naming = modules.first?.naming else {
                (places, misfits) = ([:], 0)
                return
            }
            places = try base.places(
                of: modules.flatMap { [$0.name] + $0.elsewhere.map(\.name) }, component: name, naming: naming)
            var misfits = 0
            for module in modules {
                guard let path = places[module.name], let shape = base.shape(of: path), let size = module.updateSize
                else { continue }
                let weight = shape.matrix
                if weight != size, (weight.columns, weight.rows) != size { misfits += 1 }
            }
            self.misfits = misfits
        }

        func sharesPlaces(with other: Candidate) -> Bool {
            name != other.name && !Set(places.values).isDisjoint(with: other.places.values)
        }

        /// The module, or what stands for it in a base that has no module of its name.
        func members(for module: DialectModule) -> [DialectModule] {
            places[module.name] == nil && !module.elsewhere.isEmpty ? module.elsewhere : [module]
        }

        func requireAll(path: String) throws {
            let missing = modules.filter { module in members(for: module).contains { places[$0.name] == nil } }
            guard let first = missing.first else { return }
            let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            throw PeftfileError(
                .refused,
                "module \"\(first.fullName)\"\(others) of \(modules.count) has no place in the base", file: path,
                tensor: first.tensors.first?.view.parts.first?.stored.name, rule: "MissingTarget",
                help: "merge onto the base that the adapter was trained on")
        }
    }
}

extension DialectModule {
    /// Rows and columns of a plain low-rank update; nil for any other form.
    fileprivate var updateSize: (rows: Int, columns: Int)? {
        func shape(_ component: String) -> [Int]? {
            tensors.first { $0.component == component }?.view.info.shape
        }
        guard let a = shape("lora_A"), let b = shape("lora_B"), shape("lora_mid") == nil, a.count > 1, b.count > 1 else {
            return nil
        }
        return (b[0], a.matrix.columns)
    }
}
