public import ByteAccess
public import Checkpoints
import Tensors

/// Modules that the config names and the base has, and the adapter holds no tensors for.
///
/// PEFT gives an update to every module of the model that `target_modules` means, so a file that lacks one has lost it. What
/// the model had in memory is told by what the adapter has: a stack of layers (`model.layers`) of which it has a module was there
/// with all of its layers, and a base's stack of which it has none may have been left out when the model was loaded. Source:
/// `check_target_module_exists` and `_maybe_include_all_linear_layers` in peft/tuners/tuners_utils.py.
public struct LostModules: Sendable {
    /// Modules without tensors, under their names in memory, sorted.
    public private(set) var modules: [String] = []
    /// Biases of the base that the config says were trained, and that are not stored, in the order of the base.
    public private(set) var biases: [ExactString] = []

    /// A module that the adapter changes, with the tensors of the base that hold it.
    public struct Found: Sendable {
        /// The in-memory path of the module.
        public var module: String
        /// The parameter of the module: `weight`, or a name of its own.
        public var parameter: String
        /// The tensors of the base, where the adapter was trained.
        public var tensors: [ExactString]

        /// A module that is there, whose `weight` is changed unless another parameter is named.
        public init(module: String, parameter: String = "weight", tensors: [ExactString]) {
            (self.module, self.parameter, self.tensors) = (module, parameter, tensors)
        }

        var name: String { parameter == "weight" ? module : "\(module).\(parameter)" }
    }

    /// - Parameters:
    ///   - found: the adapter's modules.
    ///   - stored: all tensors of the base that the adapter changes.
    ///   - storesBiases: whether a method that trains biases stores them.
    /// - Returns: nil where the config does not tell its modules.
    public init?(_ config: AdapterConfig, found: [Found], stored: Set<ExactString>, base: Checkpoint, storesBiases: Bool) {
        guard let names = TargetNames(config) else { return nil }
        let known = Set(found.map(\.name))
        let survey = LayerSurvey(base, count: LostModules.layerCount(base.config))
        var (lost, slots): (Set<String>, Set<[String]>) = ([], [])
        // A slot that the adapter has in some layer, in every layer in which the base has its tensors.
        for entry in found {
            guard let module = LayerPath(entry.name), slots.insert(module.slot).inserted, !entry.tensors.isEmpty else { continue }
            let tensors = entry.tensors.compactMap { LayerPath($0.text) }
            guard let stack = tensors.first?.stack, tensors.count == entry.tensors.count else { continue }
            for layer in survey.layers[stack] ?? [] where layer != module.layerText && !known.contains(module.at(layer)) {
                guard tensors.allSatisfy({ base[ExactString($0.at(layer))] != nil }), let path = LayerPath(entry.module)?.at(layer),
                    names.contains(path, parameter: entry.parameter, isKnown: true)
                else { continue }
                lost.insert(module.at(layer))
            }
        }
        // What the adapter has in no layer, in the stacks of which it has something.
        var stacks: [String: String] = [:]
        for entry in found {
            guard let module = LayerPath(entry.module), let tensor = entry.tensors.first.flatMap({ LayerPath($0.text) }) else { continue }
            stacks[tensor.stack] = module.stack
        }
        let covered = Set(found.flatMap(\.tensors)).union(stored)
        let coveredSlots = Set(covered.lazy.compactMap { LayerPath($0.text)?.slot })
        let dimensions = found.flatMap(\.tensors).compactMap { base[$0]?.shape.count }.min() ?? 2
        let trained = config["bias"]?.stringValue ?? "none"
        let memory = MemoryNames(base, found: found)
        for (path, tensor) in survey.paths {
            guard let stack = stacks[path.stack], !path.parts.contains("experts") else { continue }
            let module = ([stack] + memory.rest(of: path).dropLast()).joined(separator: ".")
            switch path.parts.last {
            case "weight" where tensor.shape.count >= min(2, dimensions) && !coveredSlots.contains(path.slot):
                if !known.contains(module), names.contains(module, parameter: "weight", isKnown: false) { lost.insert(module) }
            // GPT-2's old files have a mask of that name.
            case "bias" where storesBiases && trained != "none" && tensor.shape.count == 1 && !stored.contains(tensor.name):
                if trained == "all" || known.contains(module) { biases.append(tensor.name) }
            default: break
            }
        }
        modules = lost.sorted()
        // Outside of the layers a base can have what the class that was trained has not, unless it is a file of that class.
        guard storesBiases, trained == "all", let name = config.modelClass,
            base.config?["architectures"]?.arrayValue?.contains(where: { $0.stringValue == name }) == true
        else { return }
        for tensor in base.tensors where tensor.shape.count == 1 && tensor.name.text.hasSuffix(".bias") {
            if LayerPath(tensor.name.text) == nil, !stored.contains(tensor.name) { biases.append(tensor.name) }
        }
    }

    /// The modules that are changed; where the config names parameters, each with the one that it is.
    package static func found(in changes: [ParameterUpdate], _ config: AdapterConfig) -> [Found] {
        let namesParameters = config["target_parameters"]?.arrayValue?.isEmpty == false
        var places: [String: Found] = [:]
        for change in changes {
            guard let target = change.target else { continue }
            let parameter = namesParameters && change.place.parameter != "bias" ? change.place.parameter : target.parameter
            let found = Found(module: target.module.text, parameter: parameter, tensors: change.place.pieces.map(\.tensor))
            places[found.name, default: Found(module: found.module, parameter: found.parameter, tensors: [])].tensors += found.tensors
        }
        return places.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Refuses a merge in which trained biases are lost: PEFT would leave the base's own in their place.
    ///
    /// Only of methods that are known to store them; what others were told to train was not always saved.
    package static func requireBiases(_ binding: Binding) throws {
        let stored = Set(binding.outputs.filter { $0.recipe.changesValues || $0.recipe.isFromAdapter }.map(\.recipe.name))
        for (index, adapter) in binding.adapters.enumerated() where adapter.dialect == nil {
            guard let config = adapter.config, try SavedParameters.storesBiases(config), config["layer_replication"] == nil,
                try MethodRegistry.method(of: adapter).configKeys.contains("lora_bias")
                    || adapter.keys.contains(where: { $0.component == nil && $0.leaf == "bias" })
            else { continue }
            let found = binding.targets.filter { $0.adapter == index }.map {
                Found(module: $0.target.module.text, parameter: $0.target.parameter, tensors: $0.tensors)
            }
            guard let lost = LostModules(config, found: found, stored: stored, base: binding.base, storesBiases: true)?.biases,
                let first = lost.first
            else { continue }
            let trained = config["bias"]?.stringValue?.printable ?? ""
            throw PeftfileError(
                .refused, "the config says bias \"\(trained)\", the base has \"\(first)\"\(lost.count == 1 ? "" : " and \(lost.count - 1) more"), "
                    + "and the adapter holds no trained value of \(lost.count == 1 ? "it" : "them")", file: config.path, tensor: first,
                rule: "BiasesLost", help: "save the adapter again; if they were not trained, set bias to \"none\" in adapter_config.json")
        }
    }

    /// What a merge says of modules that keep the base's values; nothing where names in memory are not those of the config, with
    /// `layer_replication` and embeddings that are trained for their tie.
    static func warnings(_ adapter: Adapter, _ changes: [ParameterUpdate], base: Checkpoint) -> [String] {
        guard let config = adapter.config, config.peftType != nil, config["layer_replication"] == nil,
            (try? config.flag("ensure_weight_tying")) == false
        else { return [] }
        let found = LostModules.found(in: changes, config)
        let stored = Set(changes.flatMap { $0.place.pieces.map(\.tensor) })
        var rest = LostModules(config, found: found, stored: stored, base: base, storesBiases: false)?.modules ?? []
        // What was trained to change nothing has tensors all the same.
        if !rest.isEmpty {
            let own = Set(adapter.keys.lazy.filter { $0.component != nil }.map(\.module.text))
            rest.removeAll(where: own.contains)
        }
        let unmet = found.isEmpty ? [] : ConfigCoverage(of: adapter)?.unmetTargets ?? []
        var result = unmet.map { target in
            let kept = rest.filter { ConfigCoverage.meets($0, target) }
            rest.removeAll(where: kept.contains)
            return "target_modules names \"\(target.printable)\", and the adapter has no tensors for such a module"
                + (kept.isEmpty ? "" : ": \(kept.count) of the base keep\(kept.count == 1 ? "s" : "") the base's values")
        }
        if !rest.isEmpty {
            let (isOne, shown) = (rest.count == 1, rest.prefix(3).map(\.printable).joined(separator: ", "))
            result.append(
                "the adapter has no tensors for \(rest.count) module\(isOne ? "" : "s") that its config names and the base "
                    + "has, which keep\(isOne ? "s" : "") the base's values: " + shown + (rest.count > 3 ? ", …" : ""))
        }
        return result
    }

    /// Layers that a model of this config makes; a checkpoint can hold more, such as heads that predict several tokens.
    private static func layerCount(_ config: JSONObject?) -> Int? {
        let objects = [config, config?["text_config"]?.objectValue].compactMap { $0 }
        return objects.compactMap { $0["num_hidden_layers"]?.intValue }.max()
    }
}

/// The tensors of a base that lie in layers.
private struct LayerSurvey {
    private let base: Checkpoint
    private let count: Int?
    /// The tensors of the layers; their paths are taken apart one by one, since there may be tens of thousands.
    var paths: some Sequence<(path: LayerPath, tensor: StoredTensor)> {
        base.tensors.lazy.compactMap { tensor in path(of: tensor).map { ($0, tensor) } }
    }
    /// The numbers of each stack's layers.
    var layers: [String: [String]] = [:]

    init(_ base: Checkpoint, count: Int?) {
        (self.base, self.count) = (base, count)
        var seen: Set<[String]> = []
        for tensor in base.tensors {
            guard let path = path(of: tensor) else { continue }
            if seen.insert([path.stack, path.layerText]).inserted { layers[path.stack, default: []].append(path.layerText) }
        }
    }

    private func path(of tensor: StoredTensor) -> LayerPath? {
        LayerPath(tensor.name.text).flatMap { $0.layer < count ?? .max ? $0 : nil }
    }
}

/// The names behind a layer's number that modules have in memory, where the adapter's own show that it was trained under those.
private struct MemoryNames {
    private let rules: [RenameRule]

    init(_ base: Checkpoint, found: [LostModules.Found]) {
        let directory = BaseDirectory(tensors: [], of: base)
        let rules = RenameTable.rules(for: directory.allModelTypes)
        let isRenamed = found.contains { entry in
            guard let module = LayerPath(entry.module), let tensor = entry.tensors.first.flatMap({ LayerPath($0.text) }) else { return false }
            return module.rest != Array(tensor.rest.dropLast()) && module.rest == MemoryNames.rest(of: tensor, rules).dropLast()
        }
        self.rules = isRenamed ? rules : []
    }

    func rest(of path: LayerPath) -> [String] { rules.isEmpty ? path.rest : MemoryNames.rest(of: path, rules) }

    private static func rest(of path: LayerPath, _ rules: [RenameRule]) -> [String] {
        LayerPath(RenameRule.inMemory(path.parts.joined(separator: "."), rules))?.rest ?? path.rest
    }
}

/// What a config's `target_modules` means, "all-linear" with it.
private struct TargetNames {
    private let modules: TargetModules?
    /// What is left of all modules, where the config does not name them one by one.
    private let scope: TargetModules?
    /// Whether modules count of which the adapter has none in any layer.
    private let addsLinear: Bool
    private let parameters: [String]

    init?(_ config: AdapterConfig) {
        // `target_parameters` knows no layers_to_transform, and which layers then were meant is not told.
        parameters = config["layers_to_transform"] == nil ? (try? config.strings("target_parameters")) ?? [] : []
        let shorthand = config["target_modules"]?.stringValue?.lowercased() == "all-linear"
        if config["target_modules"] == nil || shorthand {
            // Every path, less what exclude_modules, modules_to_save and layers_to_transform take out; where the config names
            // none, the library's own targets of the model are those of which the adapter has a module.
            guard let rest = try? TargetModules(anyOf: config) else { return nil }
            (modules, scope, addsLinear) = (nil, rest, shorthand)
            return
        }
        guard let named = try? TargetModules(config) else { return nil }
        (modules, scope, addsLinear) = (named, nil, false)
    }

    /// Last names of modules that are `nn.Linear` or `Conv1D` in every model of transformers that has them: attention and
    /// feed-forward projections. No file tells the class of any other.
    private static let linear: Set<String> = [
        "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "qkv_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1",
        "fc2", "query", "key", "value", "query_key_value", "dense_h_to_4h", "dense_4h_to_h", "c_attn", "c_proj", "c_fc",
    ]

    /// - Parameter isKnown: whether the adapter has the same module of another layer, so that it is of a kind that is trained.
    func contains(_ module: String, parameter: String, isKnown: Bool) -> Bool {
        guard parameter == "weight" else {
            return parameters.contains { ConfigCoverage.meets("\(module).\(parameter)", $0) }
        }
        // A bare `weight` is one of every module.
        if parameters.contains(where: { $0 != "weight" && ConfigCoverage.meets("\(module).weight", $0) }) { return true }
        if let modules { return modules.contains(module) }
        guard scope?.contains(module) == true else { return false }
        return isKnown || addsLinear && TargetNames.linear.contains(module.split(separator: ".").last.map(String.init) ?? "")
    }
}

/// A path with the number of a layer in it: the first one.
struct LayerPath {
    let parts: [String]
    private let position: Int

    init?(_ path: String) {
        parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let position = parts.firstIndex(where: { Int($0) != nil }) else { return nil }
        self.position = position
    }

    /// `model.layers`.
    var stack: String { parts[..<position].joined(separator: ".") }
    /// The number, and what stands behind it.
    var rest: [String] { Array(parts[position...]) }
    var layerText: String { parts[position] }
    var layer: Int { Int(parts[position]) ?? 0 }
    /// The path without the number.
    var slot: [String] {
        var result = parts
        result[position] = "*"
        return result
    }
    /// The same path in another layer.
    func at(_ layer: String) -> String {
        var result = parts
        result[position] = layer
        return result.joined(separator: ".")
    }
}
