import ByteAccess
import Checkpoints
import Tensors

/// The small model of ShadowPEFT that is made as the base is, with fewer layers, and which of its tensors a file lacks.
///
/// Its class is the base's own, so it has what each layer of the base has, under the same names. Not compared are embeddings, which the two
/// share, and bases that store their tensors under other names than their class has.
/// Source: `ShadowModel._build_shadow_backbone`, `_init_shadow_backbone` in peft/tuners/shadow/model.py.
struct MirroredBackbone {
    /// Names in the backbone, each with what is stored.
    private let stored: [String: ExactString]
    /// What the stored names have before that: `base_model.shadow_backbone.default.`.
    private let prefix: String
    private let layers: Int
    private let targets: [String]

    /// - Returns: nil where the config says that the small model is not made after the base.
    init?(_ adapter: Adapter, component: String) {
        guard let config = adapter.config, config["shadow_model"]?.stringValue ?? "mirror" == "mirror" else { return nil }
        layers = config["shadow_num_hidden_layers"]?.intValue ?? 1
        let own = adapter.keys.filter { $0.component == component }
        // PEFT leaves the adapter's name behind the component.
        let names = Set(own.map { $0.leaf.prefix { $0 != "." } })
        let name = names.count == 1 && names.first != "layers" ? "\(names.first ?? "")." : ""
        stored = Dictionary(own.map { (String($0.leaf.dropFirst(name.count)), $0.stored) }) { first, _ in first }
        prefix = "base_model.\(component).\(name.isEmpty ? "default." : name)"
        targets = Set(adapter.keys.filter { $0.component != component && $0.component != nil }.map(\.module.text)).sorted()
    }

    /// The tensors that are not there, each with one that is.
    func missing(beside base: Checkpoint?) -> [(tensor: ExactString, beside: ExactString)] {
        guard let beside = stored.values.min() else {
            return targets.first.map { [(ExactString("\(prefix)layers.0"), ExactString($0))] } ?? []
        }
        let wanted = base.flatMap { fromBase($0) } ?? fromTargets
        return wanted.map { (ExactString("\(prefix)\($0)"), beside) }
    }

    /// The targets of the backbone's own layers: a block that the adapter changes is one that the base's class has.
    private var fromTargets: [String] {
        targets.compactMap { target in
            let parts = target.dottedComponents.map { String($0) }
            guard let number = parts.firstIndex(where: \.isDecimal), number > 0, number + 1 < parts.count else { return nil }
            let layer = "\(parts[number - 1]).\(parts[number])."
            let path = "\(layer)\(parts[(number + 1)...].joined(separator: "."))."
            guard stored.keys.contains(where: { $0.hasPrefix(layer) }), !stored.keys.contains(where: { $0.hasPrefix(path) }) else { return nil }
            return "\(path)weight"
        }
    }

    /// What the base has in the layers that the backbone has too, and behind them; nil where the names are not the same.
    private func fromBase(_ base: Checkpoint) -> [String]? {
        let names = base.tensors.map(\.name.text)
        guard let any = stored.keys.max(by: { $0.count < $1.count }) else { return nil }
        let known = Set(names)
        let roots = names.filter { $0 == any || $0.hasSuffix(".\(any)") }.map { String($0.dropLast(any.count)) }
        guard let root = roots.first(where: { root in stored.keys.allSatisfy { known.contains(root + $0) } }) else { return nil }
        return base.tensors.filter { $0.name.text.hasPrefix(root) && stored[String($0.name.text.dropFirst(root.count))] == nil }.compactMap {
            let name = String($0.name.text.dropFirst(root.count))
            let parts = name.dottedComponents.map { String($0) }
            // A mask that older versions stored among the parameters is called bias.
            let isParameter = parts.last == "weight" || parts.last == "bias" && $0.shape.count == 1
            let layer = parts.first(where: \.isDecimal).flatMap { Int($0) }
            let isVocabulary = parts.dropLast().last.map { $0.utf8Contains("embed") || TiedWeights.vocabularyNames.contains($0) } ?? true
            return isParameter && !isVocabulary && layer ?? 0 < layers ? name : nil
        }
    }
}
