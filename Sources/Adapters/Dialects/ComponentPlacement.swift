import ByteAccess
import Tensors

/// Which components of an adapter file the bases are, and where their modules are in them.
///
/// A file of several components (`lora_unet`, `lora_te1`; `unet`, `text_encoder`) is merged into one of them at a time;
/// a conversion may have a base for each. A component is a base where all of its modules are there with weights that their
/// updates fit; where none is, it is left out and listed. Anything between is refused, and so are two components that both
/// fit one base, and two bases that both fit one component.
struct ComponentPlacement {
    /// Modules under the bases' paths.
    private(set) var placed: [DialectModule] = []
    private(set) var leftOut: [DialectModule] = []
    private(set) var warnings: [String] = []
    /// Which base each component that was placed is, by its position.
    private(set) var homes: [(component: String, part: Int)] = []

    /// A base, and which part of a pipeline it is where its place says so.
    struct Part {
        let base: BaseDirectory
        var component: String?
    }

    /// - Parameter takesUnnamed: whether modules without a component are of a denoiser, which may have a front in the base.
    init(_ modules: [DialectModule], parts: [Part], options: BindingOptions, takesUnnamed: Bool, path: String) throws {
        var order: [String] = []
        var byComponent: [String: [DialectModule]] = [:]
        for module in modules {
            // Modules without a component are resolved with all else that name resolution knows.
            guard let component = module.component else {
                placed += ComponentPlacement.forms(of: module, parts)
                continue
            }
            if byComponent[component] == nil { order.append(component) }
            byComponent[component, default: []].append(module)
        }
        if takesUnnamed, !placed.isEmpty { placed = try ComponentPlacement.behindFronts(placed, parts) }
        let taken = try options.component.map { try ComponentChoice($0, among: order, path: path) }
        guard !order.isEmpty else { return }
        var chosen: [Candidate] = []
        // Text encoders that a base holds under a front of their own, and of whose modules it has none.
        var unknown: [(candidate: Candidate, front: String)] = []
        for (index, part) in parts.enumerated() {
            let known = BaseModules(part.base)
            var candidates: [Candidate] = []
            for name in order where taken?.contains(name) ?? true {
                if let own = part.component, PipelineComponent(own) != PipelineComponent(name), !ComponentPlacement.isT5(part, name) { continue }
                let candidate = try Candidate(name, byComponent[name] ?? [], known, part: index, path: path)
                candidates.append(candidate)
                if candidate.places.isEmpty, let front = known.frontHeld(of: name) { unknown.append((candidate, front)) }
            }
            var own = ComponentPlacement.choice(among: candidates)
            // A base that was named is for something, and a folder of a pipeline for what the file has of that part.
            if own.isEmpty, part.component != nil || parts.count == 1, let nearest = ComponentPlacement.nearest(candidates) { own = [nearest] }
            if own.isEmpty, part.component == nil, parts.count > 1 { try ComponentPlacement.nearest(candidates)?.requireAll(path: path) }
            chosen += own
        }
        chosen = ComponentPlacement.fitting(chosen)
        try ComponentPlacement.requireOneToOne(chosen, path: path)
        for candidate in chosen {
            try candidate.requireAll(path: path)
            homes.append((candidate.name, candidate.part))
            placed += candidate.modules.flatMap { module in
                candidate.members(for: module).map { module in
                    var module = module
                    guard let place = candidate.places[module.name] else { return module }
                    (module.name, module.own) = (place.path, ComponentPlacement.own(place))
                    module.naming = .path
                    return module
                }
            }
        }
        let names = Set(chosen.map(\.name))
        if let (candidate, front) = unknown.first(where: { !names.contains($0.candidate.name) }) {
            throw candidate.refusal(path: path, of: candidate.modules, beside: ", which holds tensors of it under \(front)")
        }
        for name in order where !names.contains(name) {
            let members = byComponent[name] ?? []
            leftOut += members
            let reason = options.component.map { "\($0) alone was asked for" } ?? "the base has no \(name)"
            // The receipt has all of them.
            let shown = members.count > 6 ? members.prefix(3) : members[...]
            warnings.append(
                "left out, because \(reason): " + shown.map(\.fullName).joined(separator: ", ")
                    + (shown.count < members.count ? " and \(members.count - shown.count) more modules" : ""))
        }
    }

    /// The path below the component as the adapter spells it, but for the name of CLIP's text model in front: files of transformers 5
    /// have none, nor has the model that they are loaded into.
    private static func own(_ place: BaseModules.Place) -> ExactString {
        let front = "text_model."
        let isOther = place.own.text == front + place.path.text || place.path.text == front + place.own.text
        return isOther ? place.path : place.own
    }

    /// Whether kohya's name of T5 is meant by a text encoder of the pipeline, whatever its number there: the second of FLUX.1.
    private static func isT5(_ part: Part, _ name: String) -> Bool {
        guard name == "lora_te3", let own = part.component, case .textEncoder = PipelineComponent(own) else { return false }
        return part.base.names.contains { PipelineComponent.isT5Path($0.text) }
    }

    /// A module as the bases have it: itself, or what stands for it.
    private static func forms(of module: DialectModule, _ parts: [Part]) -> [DialectModule] {
        let isThere = module.elsewhere.isEmpty || parts.contains { $0.base.shape(module.name.text + ".weight") != nil }
        return isThere ? [module] : module.elsewhere.flatMap { forms(of: $0, parts) }
    }

    /// Modules of a denoiser under the front that a file of a whole pipeline has before them; as they are where one of them is in no base so.
    private static func behindFronts(_ modules: [DialectModule], _ parts: [Part]) throws -> [DialectModule] {
        guard modules.contains(where: { module in !parts.contains { $0.base.shape(module.name.text + ".weight") != nil } }) else { return modules }
        for part in parts {
            let places = try BaseModules(part.base).places(of: modules.map(\.name), component: "transformer", naming: .path)
            guard modules.allSatisfy({ places[$0.name] != nil }) else { continue }
            return modules.map { module in
                guard let place = places[module.name] else { return module }
                var module = module
                (module.name, module.own) = (place.path, place.own)
                return module
            }
        }
        return modules
    }

    /// The component that a base which fits none is held against: the one of which most is there, and else the largest.
    private static func nearest(_ candidates: [Candidate]) -> Candidate? {
        candidates.reduce(nil) { best, next in
            guard let best else { return next }
            return (best.places.count, best.modules.count) < (next.places.count, next.modules.count) ? next : best
        }
    }

    /// Of two text encoders under the same names of a base, the one whose shapes fit is meant.
    private static func choice(among candidates: [Candidate]) -> [Candidate] {
        let fitting = candidates.filter { !$0.places.isEmpty && $0.misfits == 0 }
        return candidates.filter { candidate in
            !candidate.places.isEmpty
                && (candidate.misfits == 0 || !fitting.contains { candidate.sharesPlaces(with: $0) })
        }
    }

    /// Of two bases with the names of one component, the one whose shapes fit is meant.
    private static func fitting(_ chosen: [Candidate]) -> [Candidate] {
        chosen.filter { candidate in
            candidate.misfits == 0
                || !chosen.contains { $0.name == candidate.name && $0.part != candidate.part && $0.misfits == 0 }
        }
    }

    private static func requireOneToOne(_ chosen: [Candidate], path: String) throws {
        for (index, first) in chosen.enumerated() {
            guard let second = chosen[(index + 1)...].first(where: { $0.sharesPlaces(with: first) || $0.name == first.name }) else { continue }
            if second.name == first.name {
                throw PeftfileError(
                    .refused, "its component \(first.name) fits two of the bases", file: path, rule: "AmbiguousComponent",
                    help: "name one base for each component, or diffusers' directory of the whole pipeline")
            }
            throw PeftfileError(
                .refused, "its components \(first.name) and \(second.name) both fit the base", file: path,
                rule: "AmbiguousComponent", help: "say which one the base is: --component \(first.name)")
        }
    }

    /// A component held against the base.
    private struct Candidate {
        let name: String
        let modules: [DialectModule]
        let places: [ExactString: BaseModules.Place]
        /// The position of the base.
        let part: Int
        /// Placed modules whose update does not have the weight's size.
        let misfits: Int

        init(_ name: String, _ modules: [DialectModule], _ base: BaseModules, part: Int, path: String) throws {
            self.name = name
            self.part = part
            self.modules = modules
            guard let naming = modules.first?.naming else {
                (places, misfits) = ([:], 0)
                return
            }
            do {
                places = try base.places(
                    of: modules.flatMap { [$0.name] + $0.elsewhere.map(\.name) }, component: name, naming: naming)
            } catch {
                var error = error
                error.file = error.file ?? path
                throw error
            }
            var misfits = 0
            for module in modules {
                guard let place = places[module.name], let shape = base.shape(of: place.path), let size = module.updateSize
                else { continue }
                let weight = shape.matrix
                if weight != size, (weight.columns, weight.rows) != size { misfits += 1 }
            }
            self.misfits = misfits
        }

        func sharesPlaces(with other: Candidate) -> Bool {
            name != other.name && part == other.part
                && !Set(places.values.map(\.path)).isDisjoint(with: other.places.values.map(\.path))
        }

        /// The module, or what stands for it in a base that has no module of its name.
        func members(for module: DialectModule) -> [DialectModule] {
            places[module.name] == nil && !module.elsewhere.isEmpty ? module.elsewhere : [module]
        }

        func requireAll(path: String) throws {
            let missing = modules.filter { module in members(for: module).contains { places[$0.name] == nil } }
            if !missing.isEmpty { throw refusal(path: path, of: missing) }
        }

        func refusal(path: String, of missing: [DialectModule], beside: String = "") -> PeftfileError {
            let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            return PeftfileError(
                .refused,
                "module \"\(missing.first?.fullName ?? name)\"\(others) of \(modules.count) has no place in the base\(beside)", file: path,
                tensor: missing.first?.tensors.first?.view.parts.first?.stored.name, rule: "MissingTarget",
                help: missing.first.flatMap(DiffusersLayers.whole) ?? "merge onto the base that the adapter was trained on")
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
