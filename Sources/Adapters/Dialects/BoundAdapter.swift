import ByteAccess
import Checkpoints
import Tensors

/// An adapter with its modules under names of the base, in parts of one method each. An adapter of PEFT's own dialect
/// is one part, as it stands.
struct BoundAdapter {
    /// The adapter with the views of all parts.
    let whole: Adapter
    let parts: [Adapter]
    /// Tensors of components that the base is not, each with its component.
    private(set) var leftOut: [(tensor: ExactString, component: String)] = []
    /// Tensors that went into scales and settings, each with the reason.
    private(set) var consumed: [(tensor: ExactString, reason: String)] = []
    private(set) var warnings: [String] = []
    /// What only a base can settle, where there is none.
    private(set) var unsettled: PeftfileError?
    /// What the modules are called in their component, by the names they have here.
    private(set) var names: [ExactString: (module: ExactString, component: String?, isUnderscored: Bool)] = [:]
    /// The components that the file names, in its order, whether they are left out or not.
    private(set) var components: [String] = []
    /// Which base each component that is not left out is, by its position.
    private(set) var homes: [(component: String, part: Int)] = []
    /// Whether modules stand under names that only a base can turn back.
    private(set) var hasUnderscoredNames = false

    /// - Parameter base: the base whose names the modules get; nil leaves them as the file has them.
    /// - Throws: `.refused` where the file is ambiguous, or a module of a component that the base is has no place.
    init(
        _ adapter: Adapter, base: BaseDirectory?, heads: GGUFHeads? = nil, options: BindingOptions
    ) throws {
        try self.init(adapter, bases: base.map { [.init(base: $0)] } ?? [], heads: heads, options: options)
    }

    /// - Parameters:
    ///   - bases: the models of a pipeline. The modules of one have its paths; those of several stand below their
    ///     components, since text encoders have the same paths.
    ///   - takesOthers: whether layers are taken as diffusers cuts them, whatever the base does (``DiffusersLayers``).
    /// - Throws: `.refused` where the file is ambiguous, or a module of a component that a base is has no place.
    init(
        _ adapter: Adapter, bases: [ComponentPlacement.Part], heads: GGUFHeads? = nil, options: BindingOptions, takesOthers: Bool = false
    ) throws {
        var adapter = adapter
        // Bare pairs that the caller calls parts of fused layers: one part alone does not show in the shapes of its factors.
        if adapter.dialect == nil, adapter.config == nil, !options.enableLoRA.isEmpty { adapter.dialect = MergedLinear() }
        let file = adapter.dialectFile
        if adapter.dialect is Diffusers, adapter.config == nil, bases.count == 1, Diffusers.isOfLanguageModel(file, bases[0].base) {
            adapter = try adapter.withoutDialect()
        }
        guard let dialect = adapter.dialect else {
            (whole, parts) = (adapter, [adapter])
            return
        }
        guard options.scale == nil || dialect.takesScale(file) else {
            throw PeftfileError(
                .usage, "--scale is for files that leave the factor open, and one in the dialect \(dialect.name) says its own: an alpha, or 1 without one",
                file: adapter.path, rule: "ConfigDecides", help: "leave it out; --weights multiplies an adapter's whole update")
        }
        let reading = try dialect.read(file, context: DialectContext(options: options, heads: heads, bases: bases.map(\.base)))
        try BoundAdapter.requireEveryTensor(of: adapter, in: reading)
        consumed = reading.consumed
        warnings = reading.warnings
        unsettled = reading.unsettled
        var modules = try DiffusersLayers.adding(
            to: reading.modules, bases: bases.map(\.base), takesUnnamed: dialect is Diffusers, takesOthers: takesOthers, file: file)
        for component in modules.compactMap(\.component) where !components.contains(component) { components.append(component) }
        if bases.isEmpty {
            if takesOthers { modules = DiffusersLayers.taking(modules) }
            if let wanted = options.component { modules = try BoundAdapter.taking(wanted, of: modules, leftOut: &leftOut, adapter) }
            for module in modules {
                names[ExactString(module.fullName)] = (module.name, module.component, module.naming == .underscored)
            }
        } else {
            let placement = try ComponentPlacement(modules, parts: bases, options: options, takesUnnamed: dialect is Diffusers, path: adapter.path)
            modules = takesOthers ? DiffusersLayers.taking(placement.placed) : placement.placed
            homes = placement.homes
            leftOut += BoundAdapter.tensors(of: placement.leftOut)
            warnings += placement.warnings
            let isOfSeveral = Set(modules.map(\.component)).count > 1 && bases.count > 1
            for index in modules.indices {
                let module = modules[index]
                if isOfSeveral { modules[index].name = ExactString(module.fullName) }
                names[modules[index].name] = (module.own ?? module.name, module.component, module.naming == .underscored)
            }
        }
        hasUnderscoredNames = bases.isEmpty && modules.contains { $0.naming == .underscored }
        (whole, parts) = try BoundAdapter.parts(of: adapter, modules, isBound: !bases.isEmpty)
    }

    /// The modules of one component.
    private static func taking(
        _ wanted: String, of modules: [DialectModule], leftOut: inout [(tensor: ExactString, component: String)], _ adapter: Adapter
    ) throws -> [DialectModule] {
        let taken = try ComponentChoice(wanted, among: modules.compactMap(\.component), path: adapter.path)
        leftOut += tensors(of: modules.filter { !taken.contains($0.component) })
        return modules.filter { taken.contains($0.component) }
    }

    private static func tensors(of modules: [DialectModule]) -> [(tensor: ExactString, component: String)] {
        modules.flatMap { module in
            module.tensors.flatMap { $0.view.parts.map { ($0.stored.name, module.component ?? "") } }
        }
    }

    /// One part for each form, in the order in which the forms come in the file.
    private static func parts(
        of adapter: Adapter, _ modules: [DialectModule], isBound: Bool
    ) throws -> (whole: Adapter, parts: [Adapter]) {
        var order: [String] = []
        var byForm: [String: [DialectModule]] = [:]
        for module in modules {
            if byForm[module.form.name] == nil { order.append(module.form.name) }
            byForm[module.form.name, default: []].append(module)
        }
        var whole = adapter
        whole.keys = []
        var parts: [Adapter] = []
        for name in order {
            guard let members = byForm[name], let form = members.first?.form else { continue }
            var part = adapter
            part.keys = []
            part.method = form.method
            part.warnings = []
            var json = form.settings
            if let type = form.method.peftTypes.first { json["peft_type"] = .string(type) }
            var config = try AdapterConfig(json: json, path: adapter.config?.path ?? adapter.path)
            for module in members {
                let path = isBound ? module.name : ExactString(module.fullName)
                config.moduleScales[path] = module.scale ?? ModuleScale(rank: 1, value: 1)
                for tensor in module.tensors {
                    part.views[tensor.view.info.name] = tensor.view
                    part.keys.append(
                        AdapterKey(
                            stored: tensor.view.info.name, module: path, component: tensor.component, leaf: tensor.leaf))
                }
            }
            part.config = config
            whole.views.merge(part.views) { first, _ in first }
            whole.keys += part.keys
            parts.append(part)
        }
        return (whole, parts)
    }

    /// Every stored tensor is in a module or was consumed: a dialect may not lose one.
    private static func requireEveryTensor(of adapter: Adapter, in reading: DialectReading) throws {
        var known = Set(reading.consumed.map(\.tensor))
        for module in reading.modules {
            for tensor in module.tensors { known.formUnion(tensor.view.parts.map(\.stored.name)) }
        }
        let left = adapter.checkpoint.tensors.map(\.name).filter { !known.contains($0) }
        guard let first = left.first else { return }
        throw PeftfileError(
            .refused,
            "\(left.count) of \(adapter.checkpoint.tensors.count) adapter tensors have no part in this dialect"
                + (left.count > 1 ? ", the first is this" : ""),
            file: adapter.path, tensor: first, rule: "UnclaimedTensor",
            help: "nothing is skipped silently: remove the tensor if it has no part in the update")
    }
}

extension BoundAdapter {
    /// Refuses names that do not say what a dialect that is to be written needs of them.
    ///
    /// - Throws: `.refused` where only a base tells, or where modules of several models cannot stand in one.
    func requireNames(_ names: PortableAdapter.Names, hasBase: Bool, path: String) throws {
        if !hasBase, hasUnderscoredNames, names != .underscored {
            throw PeftfileError(
                .refused, "its names have underscores for dots, and only the base can tell which is which",
                file: path, rule: "BaseNeeded", help: "name the base: --base BASE")
        }
        guard names == .inMemory else { return }
        let parts = Set(self.names.values.compactMap(\.component)).sorted()
        guard let first = parts.first else { return }
        if !hasBase {
            throw PeftfileError(
                .refused, "its names begin with a component of a pipeline (\(first.printable)), and only the base tells what lies below it",
                file: path, rule: "BaseNeeded", help: "name the base: --base BASE")
        }
        // One file may hold a whole pipeline, under names that differ; several models share their names.
        let stand = self.names.contains { name, value in value.component.map { name.text.hasPrefix($0 + ".") } ?? false }
        guard stand, parts.count > 1 else { return }
        throw PeftfileError(
            .refused, "its components are \(parts.map(\.printable).joined(separator: ", ")), and what is to be written is of one model",
            file: path, rule: "SeveralComponents", help: "take one of them: --component \(first.shellQuoted)")
    }
}

extension DialectModule {
    /// The module with its component, as the file names it.
    var fullName: String {
        switch naming {
        case .underscored: component.map { "\($0)_\(name)" } ?? name.text
        case .path: component.map { "\($0).\(name)" } ?? name.text
        }
    }
}

extension Adapter {
    /// The modules that the adapter changes, as far as it tells alone, whatever its dialect.
    ///
    /// - Parameter options: what the file leaves open.
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func targets(_ options: BindingOptions = BindingOptions()) throws -> [AdapterTarget] {
        try BoundAdapter(self, base: nil, options: options).parts.flatMap { part in
            try MethodRegistry.method(of: part).targets(of: part)
        }
    }

    /// What pages and the receipt call the adapter's dialect; nil for PEFT's.
    public var dialectName: String? {
        guard let dialect else { return nil }
        return (try? dialect.read(dialectFile, context: DialectContext()))?.name ?? dialect.name
    }
}
