public import ByteAccess
public import Checkpoints
public import Tensors

/// A tensor that every module of a method has, and its shape as the config tells it.
///
/// Methods with a formula find such defects when they state it; this is for those that have none to state.
struct TensorForm: Sendable {
    /// What the key says after the module's path: `lily_A.weight`.
    var key: String
    /// The dimensions; nil where the config does not tell one.
    var shape: [Int?]
}

/// The tensors that PEFT stores with one module of a method that has a formula, as its config tells.
struct ModuleInventory {
    /// What the keys of the module's own tensors say after its path: `shira_indices`.
    var own: [String] = []
    /// The names of those of the whole adapter, after `base_model.`: `frod_V.self_attn_q_proj`.
    var common: [String] = []
}

/// What an adapter's tensors lack of the forms that its method and config prescribe.
public struct FormDefects: Sendable {
    /// Tensors that are not there: their names, and one of the same module, or that the module shares, which is.
    public internal(set) var missing: [(tensor: ExactString, beside: ExactString)] = []
    /// Tensors of another shape, each with the one that is prescribed.
    public private(set) var misshapen: [(tensor: TensorInfo, wanted: String)] = []
    /// How many modules there are and how many the config says, where these differ.
    public private(set) var modules: (found: Int, wanted: Int)?

    /// - Parameter count: how many modules the config says there are.
    init(_ adapter: Adapter, forms: [TensorForm], count: Int?) {
        guard !forms.isEmpty else { return }
        var order: [ExactString] = []
        var tensors: [ExactString: [String: TensorInfo]] = [:]
        for key in adapter.keys {
            guard let component = key.component, let info = adapter.tensor(key.stored),
                forms.contains(where: { $0.key.split(separator: ".").first.map(String.init) == component })
            else { continue }
            if tensors[key.module] == nil { order.append(key.module) }
            tensors[key.module, default: [:]][key.leaf.isEmpty ? component : "\(component).\(key.leaf)"] = info
        }
        let keys = Set(forms.map(\.key))
        for module in order {
            let own = tensors[module] ?? [:]
            let known = Dictionary(own.map { (FormDefects.formKey($0.key, among: keys), $0.value) }) { first, _ in first }
            for form in forms {
                guard let info = known[form.key] else {
                    if let beside = own.values.map(\.name).min() { missing.append((FormDefects.name(form.key, like: beside, own, keys), beside)) }
                    continue
                }
                let isFit = info.shape.count == form.shape.count && zip(info.shape, form.shape).allSatisfy { $1 == nil || $0 == $1 }
                if !isFit {
                    misshapen.append((info, "[" + form.shape.map { $0.map(String.init) ?? "any" }.joined(separator: ", ") + "]"))
                }
            }
        }
        if let count, count != order.count { modules = (order.count, count) }
    }

    /// The key without the adapter's name behind the component, which PEFT leaves in the keys of some methods.
    static func formKey(_ key: String, among keys: some Collection<String>) -> String {
        if keys.contains(key) { return key }
        var parts = key.split(separator: ".")
        guard parts.count > 1 else { return key }
        parts.remove(at: 1)
        let shorter = parts.joined(separator: ".")
        return keys.contains(shorter) ? shorter : key
    }

    /// The name that the tensor of a key has, by that of another of its module: with the adapter's name behind the component, where that has it.
    private static func name(_ key: String, like other: ExactString, _ own: [String: TensorInfo], _ keys: Set<String>) -> ExactString {
        guard let known = own.first(where: { $0.value.name == other })?.key else { return ExactString(key) }
        let (parts, stored) = (formKey(known, among: keys).split(separator: "."), other.text.dottedComponents)
        guard let component = parts.first, let position = stored.lastIndex(of: component) else { return ExactString(key) }
        var result = stored[..<position].map { String($0) }
        var rest = key.split(separator: ".").map { String($0) }
        if stored.count - position > parts.count { rest.insert(String(stored[position + 1]), at: 1) }
        result += rest
        return ExactString(result.joined(separator: "."))
    }
}

extension Adapter {
    /// What the tensors lack of the forms that method and config prescribe; nil where the method is not known.
    ///
    /// - Parameter base: names the tensors of a small model that is made as the base is.
    public func formDefects(beside base: Checkpoint? = nil) -> FormDefects? {
        guard let config, let method = try? MethodRegistry.method(of: self) else { return nil }
        let (forms, modules) = (method as? UnmergeableMethod)?.forms(config) ?? ([], nil)
        var defects = FormDefects(self, forms: forms, count: modules)
        if let method = method as? any ModuleMethod { defects.missing += method.missingTensors(of: self) }
        if let mirror = (method as? UnmergeableMethod)?.mirror, let backbone = MirroredBackbone(self, component: mirror) {
            defects.missing += backbone.missing(beside: base)
        }
        return defects
    }
}

extension ModuleMethod {
    /// What the modules lack of their inventories; a tensor that several of them share is named once.
    fileprivate func missingTensors(of adapter: Adapter) -> [(tensor: ExactString, beside: ExactString)] {
        var seen: Set<ExactString> = []
        return ((try? modules(of: adapter, in: nil)) ?? []).flatMap { module in
            ((try? inventory(of: module)).map(module.missing) ?? []).filter { seen.insert($0.tensor).inserted }
        }
    }
}
