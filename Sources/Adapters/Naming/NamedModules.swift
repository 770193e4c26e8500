public import ByteAccess
import Tensors

/// The modules of a base that an adapter's config names, held against those that its tensors change.
///
/// PEFT makes every module that the config names; one without tensors keeps its initial values, mostly an update of zero, so
/// the base's weight stands for what was trained. Names on disk stand for names in memory: what comes before the common end of
/// a bound module and its tensor is exchanged, and nothing outside of that part is looked at. Where the config names no
/// modules, or says "all-linear", those count that differ from a bound module in their numbers alone.
///
/// Not looked at: layers beyond those that the model has (a head for further tokens, say), experts that the adapter does not
/// name one by one, and parameters of `target_parameters`.
public struct NamedModules: Sendable {
    /// Modules that the config names and the base has, and that no tensor of the adapter changes; paths of the base's files, in
    /// their order.
    public let lost: [ExactString]
    /// Entries of the list `target_modules` that no module of the adapter meets.
    public let unmet: [String]

    /// - Parameters:
    ///   - bound: the modules that the adapter changes, each with a tensor of the base that it changes.
    /// - Returns: nil where the question does not arise: without a `peft_type`, without modules, with `target_parameters` or
    ///   `layer_replication`, whose modules have other names in memory, or with an embedding that is trained for its tie.
    public init?(config: AdapterConfig, base: BaseDirectory, bound: [(module: ExactString, tensor: ExactString)]) {
        guard config.peftType != nil, !bound.isEmpty, config["layer_replication"] == nil,
            (try? config.strings("target_parameters"))?.isEmpty == true, (try? config.flag("ensure_weight_tying")) == false
        else { return nil }
        let modules = Set(bound.map(\.module.text))
        let list = config["target_modules"]?.arrayValue == nil ? [] : (try? config.strings("target_modules")) ?? []
        unmet = Set(list).sorted().filter { target in !modules.contains { ConfigCoverage.meets($0, target) } }
        // BEFT changes nothing but biases: their modules' weights stand for them.
        let isOfBiases = bound.allSatisfy { $0.tensor.text.hasSuffix(".bias") }
        let bound = !isOfBiases ? bound : bound.map { module, tensor in
            (module: module, tensor: ExactString(tensor.text.dropLast("bias".count) + "weight"))
        }
        let claimed = Set(bound.map(\.tensor))
        guard let prefix = Prefix(bound.filter { $0.tensor.text.hasSuffix(".weight") }) else {
            lost = []
            return
        }
        let named = try? TargetModules(config)
        guard named != nil || config["target_modules"] == nil || config["target_modules"]?.stringValue != nil,
            let scope = try? TargetModules(anyOf: config)
        else { return nil }
        let siblings = Set(bound.map { NamedModules.unnumbered($0.tensor.text) })
        let dimensions = bound.contains { base.shapes[$0.tensor]?.count == 1 } ? 1 : 2
        let hasExperts = modules.contains { NamedModules.isExpert($0.dottedComponents) }
        lost = base.names.compactMap { name in
            guard name.text.hasSuffix(".weight"), !claimed.contains(name), (base.shapes[name]?.count ?? 0) >= dimensions,
                let path = prefix.inMemory(String(name.text.dropLast(".weight".count))),
                named?.contains(path) ?? (siblings.contains(NamedModules.unnumbered(name.text)) && scope.contains(path)),
                !NamedModules.isBeyond(name.text, base.layerCount)
            else { return nil }
            let parts = path.dottedComponents
            if parts.contains("experts"), !(hasExperts && NamedModules.isExpert(parts)) { return nil }
            return ExactString(String(name.text.dropLast(".weight".count)))
        }
    }

    /// What a merge says of it.
    func warnings(_ config: AdapterConfig) -> [String] {
        var rest = lost
        var result = unmet.map { target in
            let found = rest.filter { ConfigCoverage.meets($0.text, target) }
            rest.removeAll(where: found.contains)
            return "target_modules names \"\(target.printable)\", and the adapter has no tensors for such a module"
                + (found.isEmpty ? "" : ": \(found.count) of the base keep\(found.count == 1 ? "s" : "") the base's values")
        }
        if !rest.isEmpty {
            let shown = rest.prefix(3).map(\.text.printable).joined(separator: ", ")
            result.append(
                "the adapter has no tensors for \(rest.count) module\(rest.count == 1 ? "" : "s") that its config names and the base "
                    + "has, which keep\(rest.count == 1 ? "s" : "") the base's values: " + shown + (rest.count > 3 ? ", …" : ""))
        }
        return result
    }

    /// What bound modules have in front in memory and on disk.
    private struct Prefix {
        let memory: [Substring]
        let disk: [Substring]

        /// The commonest pair; nil where there is no module.
        init?(_ bound: [(module: ExactString, tensor: ExactString)]) {
            var counts: [String: (count: Int, memory: [Substring], disk: [Substring])] = [:]
            for (module, tensor) in bound {
                let memory = module.text.split(separator: ".", omittingEmptySubsequences: false)
                let disk = tensor.text.split(separator: ".", omittingEmptySubsequences: false).dropLast()
                let end = zip(memory.reversed(), disk.reversed()).prefix { $0 == $1 }.count
                guard end > 0 else { continue }
                let pair = (Array(memory.dropLast(end)), Array(disk.dropLast(end)))
                counts["\(pair.0) \(pair.1)", default: (0, pair.0, pair.1)].count += 1
            }
            guard let best = counts.max(by: { ($0.value.count, $1.key) < ($1.value.count, $0.key) })?.value else { return nil }
            (memory, disk) = (best.memory, best.disk)
        }

        /// The path in memory of a path on disk; nil for what lies elsewhere.
        func inMemory(_ path: String) -> String? {
            let parts = path.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.starts(with: disk) else { return nil }
            return (memory + parts.dropFirst(disk.count)).joined(separator: ".")
        }
    }

    /// The path with every number as `#`.
    private static func unnumbered(_ path: String) -> String {
        path.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) == nil ? $0 : "#" }.joined(separator: ".")
    }

    /// `experts.N.…`: an expert that is a module of its own.
    private static func isExpert(_ parts: [Substring]) -> Bool {
        parts.indices.dropLast().contains { parts[$0] == "experts" && Int(parts[$0 + 1]) != nil }
    }

    /// Whether the first number of a path is no layer of the model.
    private static func isBeyond(_ path: String, _ layers: Int?) -> Bool {
        guard let layers, let number = path.dottedComponents.lazy.compactMap({ Int($0) }).first else { return false }
        return number >= layers
    }
}
