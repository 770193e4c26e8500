public import ByteAccess

/// Gaps in the layers of an adapter, as far as its own names tell: a module that its neighbours have, in some layers.
///
/// A layer that has other children of the same parent, and lacks one that other layers have, has lost it (`self_attn.v_proj` in
/// layer 4 without `self_attn.q_proj`). A layer without any module between layers that have some is one as well, unless the
/// pattern is regular: models that alternate two kinds of layers have modules of one kind in every second, fourth or eighth.
public struct LayerGaps: Sendable {
    /// Modules that are lacking, sorted.
    public let modules: [String]

    /// - Returns: no gaps for configs that choose modules of some layers themselves.
    public init(_ adapter: Adapter) {
        guard let config = adapter.config, LayerGaps.meansAllLayers(config) else {
            modules = []
            return
        }
        let paths = Set(adapter.keys.filter { $0.component != nil && !$0.isPrompt && !$0.module.text.utf8Contains("experts") }.map(\.module.text))
        var layers: [String: Set<Int>] = [:]
        var children: [[String]: [String: Set<Int>]] = [:]
        for path in paths {
            // A second number counts something else: experts, blocks of a stage.
            guard let path = LayerPath(path), path.parts.count(where: { Int($0) != nil }) == 1, path.rest.count > 1,
                let name = path.parts.last
            else { continue }
            layers[path.stack, default: []].insert(path.layer)
            children[Array(path.slot.dropLast()), default: [:]][name, default: []].insert(path.layer)
        }
        var lost: Set<String> = []
        for (parent, names) in children {
            let all = names.values.reduce(into: Set<Int>()) { $0.formUnion($1) }
            for (name, present) in names {
                let missing = all.subtracting(present)
                // Half of the layers without it is another kind of layer.
                guard missing.count * 2 < all.count, !LayerGaps.isRegular(missing) else { continue }
                for layer in missing { lost.insert((parent.map { $0 == "*" ? "\(layer)" : $0 } + [name]).joined(separator: ".")) }
            }
        }
        for (stack, present) in layers {
            guard let first = present.min(), let last = present.max(), last - first < 100_000 else { continue }
            let missing = Set(first...last).subtracting(present)
            guard missing.count * 2 < present.count, !LayerGaps.isRegular(missing) else { continue }
            for layer in missing { lost.insert("\(stack).\(layer)") }
        }
        modules = lost.sorted()
    }

    /// Whether the config names modules by the ends of their paths and leaves no layer out.
    private static func meansAllLayers(_ config: AdapterConfig) -> Bool {
        guard config["layers_to_transform"] == nil, config["exclude_modules"] == nil, config["layer_replication"] == nil else { return false }
        if let text = config["target_modules"]?.stringValue { return text.lowercased() == "all-linear" }
        guard let names = try? config.strings("target_modules") else { return false }
        return !names.isEmpty && !names.contains { name in name.split(separator: ".").contains { Int($0) != nil } }
    }

    /// Whether two or more numbers have one distance.
    private static func isRegular(_ numbers: Set<Int>) -> Bool {
        let sorted = numbers.sorted()
        guard sorted.count > 1 else { return false }
        return Set(zip(sorted, sorted.dropFirst()).map { $1 - $0 }).count == 1
    }
}
