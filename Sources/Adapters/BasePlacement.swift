public import ByteAccess
public import Checkpoints
import Tensors

/// How large a dimension of an adapter tensor must be, by the module or the base that it is for.
public enum BaseSide: Sendable, Hashable {
    /// Its columns, the product of all dimensions after the first, are the module's input features.
    case inputColumns
    /// Its columns are the module's output features.
    case outputColumns
    /// Its rows are the module's output features.
    case outputRows
    /// Its last dimension is the model's own width.
    case hidden
    /// Its rows are the model's own width.
    case hiddenRows
    /// No dimension depends on the base, and the module must be there.
    case module
    /// No dimension depends on the base, and what it stands at need not be a module of it.
    case free

    /// Whether the tensor stands at a layer with a weight.
    var isOfLayer: Bool {
        switch self {
        case .inputColumns, .outputColumns, .outputRows, .module: true
        case .hidden, .hiddenRows, .free: false
        }
    }
}

/// An adapter without a merged form, held against a base as far as names and shapes go: what it is loaded beside must be
/// there and have its sizes, although no weight of it changes.
public struct BasePlacement: Sendable {
    /// The adapter's modules that the base has, each with the tensor of its weight.
    public private(set) var found: [(module: ExactString, tensor: ExactString)] = []
    /// Tensors of modules that the base does not have, each with the module.
    public private(set) var missing: [(tensor: ExactString, module: ExactString)] = []
    /// Tensors whose sizes the base contradicts, each with the reason.
    public private(set) var misfits: [(tensor: ExactString, reason: String)] = []
    /// Tensors of which this version does not know what size the base asks of them.
    public private(set) var unchecked: [ExactString] = []

    /// What a binding without the config's obstacle has shown already: nothing is left to say.
    public init() {}

    /// - Throws: `.refused` where the base's names leave open which module is meant.
    public init(_ adapter: Adapter, base: Checkpoint) throws {
        let method = try MethodRegistry.method(of: adapter)
        let view = try BaseView(base: base, adapters: [adapter])
        let resolver = NameResolver(
            base: view.directory, peftVersion: adapter.config?.peftVersion,
            fanInFanOut: adapter.config?["fan_in_fan_out"]?.boolValue ?? false)
        let hidden = try? base.config.flatMap { try PromptFacts(of: AdapterConfig(json: $0, path: base.path)) }?.hidden
        let keys = adapter.keys.filter { !$0.isPrompt && !$0.module.text.isEmpty }
        // What stands at no module of the base, as a router of the whole model, names none.
        let requests = keys.map { key in
            ParameterRequest(
                module: key.module, parameter: key.component == nil ? .named(key.leaf) : .weight,
                isEmbedding: key.component?.utf8Contains("embedding") ?? false)
        }
        var wanted: [ParameterRequest] = []
        for (key, request) in zip(keys, requests)
        where !wanted.contains(request) && !(key.component != nil && method.baseSides[key.component ?? ""] == .free && !BasePlacement.isInside(key.module, view)) {
            wanted.append(request)
        }
        let places = try resolver.survey(wanted).places
        found = wanted.compactMap { request in
            places[request].flatMap { $0.pieces.count == 1 ? (request.module, $0.pieces[0].tensor) : nil }
        }
        let groups = BasePlacement.groups(of: adapter)
        var turned: Set<ExactString> = []
        for isTurned in [false, true] {
            // Conv1D layers hold (in, out): a module whose tensors all fit the other way round is one.
            for (key, request) in zip(keys, requests) where turned.contains(key.module) == isTurned {
                guard let component = key.component, let info = adapter.tensor(key.stored) else { continue }
                let own = method.baseSides[FormDefects.formKey("\(component).\(key.leaf)", among: method.baseSides.keys)]
                let side = own ?? (key.leaf == "bias" ? BaseSide.free : method.baseSides[component])
                if places[request] == nil, side == .inputColumns, let groups = groups[key.module],
                    let reason = BasePlacement.misfit(info, groups: groups, of: key.module, view)
                {
                    if !isTurned { misfits.append((key.stored, reason)) }
                    continue
                }
                guard let reason = BasePlacement.misfit(info, side, places[request], hidden: hidden ?? nil, groups: groups[key.module], isTurned: isTurned)
                else { continue }
                if isTurned || places[request]?.shape.count != 2 { misfits.append((key.stored, reason)) } else { turned.insert(key.module) }
            }
        }
        for (key, request) in zip(keys, requests) {
            guard let info = adapter.tensor(key.stored) else { continue }
            let side = key.component.flatMap { method.baseSides[$0] }
            if let place = places[request] {
                if key.component == nil {
                    if place.shape != info.shape { misfits.append((key.stored, "has shape \(info.shape), and the base's is \(place.shape)")) }
                } else if method.baseSides[key.component ?? ""] == nil {
                    unchecked.append(key.stored)
                }
                continue
            }
            if key.component == nil {
                // A head that the adapter brings along, or a part of a method of which names alone are known.
                if resolver.mayBeNew(ExactString("\(key.module).\(key.leaf)")) { continue }
                let isPart = method.baseSides.isEmpty && BasePlacement.hasOwner(key.module, view)
                if isPart { unchecked.append(key.stored) } else { missing.append((key.stored, key.module)) }
            } else if method is UnmergeableMethod, side?.isOfLayer == true {
                // A layer is found by its name, as for a merge; what stands inside it was looked for.
                missing.append((key.stored, key.module))
            } else if !BasePlacement.isInside(key.module, view) {
                if method.baseSides[key.component ?? ""] != .free { missing.append((key.stored, key.module)) }
            } else if method.baseSides[key.component ?? ""] == nil {
                unchecked.append(key.stored)
            }
        }
    }

    /// Whether the base has tensors of a module: under its path, or under the path without leading components, which
    /// families of classes add and leave out.
    private static func isInside(_ module: ExactString, _ view: BaseView) -> Bool {
        var parts = module.text.split(separator: ".").map(String.init)
        // Inside PEFT's own prefix a wrapper of the training is a level that no model has.
        guard !AdapterKey.wrappers.contains(parts.first ?? "") else { return false }
        // Without the number of its layer a path could be anybody's.
        while !parts.isEmpty {
            let path = parts.joined(separator: ".") + "."
            if view.directory.names.contains(where: { $0.text.hasPrefix(path) || $0.text.utf8Contains("." + path) }) { return true }
            guard parts.first.map({ Int($0) == nil }) == true, parts.dropFirst().contains(where: { Int($0) != nil }) else { return false }
            parts.removeFirst()
        }
        return false
    }

    /// Whether the module lies inside one of the base's.
    private static func hasOwner(_ module: ExactString, _ view: BaseView) -> Bool {
        var parts = module.text.split(separator: ".")
        while parts.contains(where: { Int($0) != nil }) {
            if isInside(ExactString(parts.joined(separator: ".")), view) { return true }
            parts.removeLast()
        }
        return false
    }

    /// The inputs of a convolution whose path has another front in the base, where one of the base's fits the rest of it.
    private static func misfit(_ info: TensorInfo, groups: Int, of module: ExactString, _ view: BaseView) -> String? {
        var parts = module.text.split(separator: ".")
        while parts.contains(where: { Int($0) != nil }) {
            let end = parts.joined(separator: ".") + ".weight"
            let shapes = view.directory.names.filter { $0.text == end || $0.text.hasSuffix("." + end) }.compactMap { view.directory.shapes[$0] }
            if shapes.count == 1, shapes[0].count > 2, case let wanted = shapes[0].dropFirst().reduce(1, *) {
                return info.shape.dropFirst().reduce(1, *) == wanted * groups ? nil : inputs(info, groups, wanted)
            }
            parts.removeFirst()
        }
        return nil
    }

    private static func inputs(_ info: TensorInfo, _ groups: Int, _ wanted: Int) -> String {
        "has shape \(info.shape) over the inputs of \(groups) group\(groups == 1 ? "" : "s"), and the base's input features are \(wanted) for each"
    }

    /// The groups of the convolutions among the modules: lora_B has a part of the rank of lora_A (`_ConvNd.update_layer` in
    /// peft/tuners/lora/layer.py).
    private static func groups(of adapter: Adapter) -> [ExactString: Int] {
        var ranks: [ExactString: (a: Int?, b: Int?)] = [:]
        for key in adapter.keys where key.leaf == "weight" {
            guard let info = adapter.tensor(key.stored), info.shape.count > 2 else { continue }
            switch key.component {
            case "lora_A": ranks[key.module, default: (nil, nil)].a = info.shape[0]
            case "lora_B": ranks[key.module, default: (nil, nil)].b = info.shape[1]
            default: break
            }
        }
        return ranks.compactMapValues { rank in
            guard let a = rank.a, let b = rank.b, b > 0, a.isMultiple(of: b) else { return nil }
            return a / b
        }
    }

    private static func misfit(
        _ info: TensorInfo, _ side: BaseSide?, _ place: ParameterPlace?, hidden: Int?, groups: Int?, isTurned: Bool
    ) -> String? {
        // A grouped convolution's weight has the input features of one group, and lora_A those of all.
        let isKernel = (place?.shape.count ?? 0) > 2
        func compare(_ size: Int, _ wanted: Int?, _ what: String) -> String? {
            guard let wanted else { return nil }
            if side == .inputColumns, isKernel, let groups {
                return size == wanted * groups ? nil : inputs(info, groups, wanted)
            }
            guard wanted != size, !(isKernel && wanted > 0 && size % wanted == 0) else { return nil }
            return "has shape \(info.shape), and the base's \(what) are \(wanted)"
        }
        let size = place.map { isTurned ? (rows: $0.matrixSize.columns, columns: $0.matrixSize.rows) : $0.matrixSize }
        let columns = info.shape.dropFirst().reduce(1, *)
        switch side {
        case .inputColumns: return compare(columns, size?.columns, "input features")
        case .outputColumns: return compare(columns, size?.rows, "output features")
        case .outputRows: return compare(info.shape.first ?? 0, size?.rows, "output features")
        case .hidden: return compare(info.shape.last ?? 0, hidden, "hidden states")
        case .hiddenRows: return compare(info.shape.first ?? 0, hidden, "hidden states")
        case .module, .free, nil: return nil
        }
    }
}

extension Adapter {
    /// The adapter as if its config did not have these keys.
    ///
    /// - Throws: what ``AdapterConfig/init(json:path:)`` throws, which refuses only a key that stands twice; a config that was read has
    ///   none.
    public func ignoringConfigKeys(_ keys: Set<ExactString>) throws -> Adapter {
        guard let config else { return self }
        var json = JSONObject()
        for member in config.json.members where !keys.contains(member.key) { json[member.key] = member.value }
        var copy = self
        copy.config = try AdapterConfig(json: json, path: config.path)
        copy.config?.digest = config.digest
        copy.config?.moduleScales = config.moduleScales
        return copy
    }
}
