import ByteAccess
import Checkpoints
import Tensors

/// The base as the adapters see it: its own tensors, with layers replicated where a config asks for that.
///
/// `layer_replication` [[start, end), …] stacks copies of the base's layers; adapter indices count the new stack. PEFT
/// shares the copies' weights in memory, so their merge would add every copy's update to one tensor; here each copy is
/// a tensor of its own. Source: `replicate_layers` in peft/tuners/tuners_utils.py.
struct BaseView {
    struct Entry {
        let name: ExactString
        let stored: StoredTensor
        let isAdded: Bool

        init(name: ExactString, stored: StoredTensor, isAdded: Bool) {
            (self.name, self.stored, self.isAdded) = (name, stored, isAdded)
        }

        /// A tensor of the base under its own name.
        init(_ stored: StoredTensor) { self.init(name: stored.name, stored: stored, isAdded: false) }
    }

    /// The new stack of layers; nil where it is the base's own, whose tensors need no second list.
    private let replicated: (entries: [Entry], positions: [ExactString: Int])?
    private let base: Checkpoint
    let configChanges: [Binding.ConfigChange]
    /// What name resolution needs to know of the base.
    let directory: BaseDirectory

    init(base: Checkpoint, adapters: [Adapter]) throws {
        let maps = try adapters.map(BaseView.layerMap)
        let map = maps.compactMap { $0 }.first
        if maps.contains(where: { $0 != map }) {
            throw PeftfileError(
                .refused, "the adapters disagree about layer_replication", rule: "LayerReplication",
                help: "merge them one after the other")
        }
        self.base = base
        guard let map else {
            (replicated, configChanges) = (nil, [])
            directory = BaseDirectory(tensors: base.tensors.map { (name: $0.name, shape: $0.shape) }, of: base)
            return
        }
        let (entries, changes) = try BaseView.replicated(base, map)
        replicated = (entries, Dictionary(entries.enumerated().map { ($1.name, $0) }) { first, _ in first })
        configChanges = changes
        directory = BaseDirectory(tensors: entries.map { (name: $0.name, shape: $0.stored.info.shape) }, of: base)
    }

    /// How many tensors there are.
    var count: Int { replicated?.entries.count ?? base.tensors.count }

    /// All tensors, those of new layers last.
    var entries: some Sequence<Entry> { (0..<count).lazy.map { replicated?.entries[$0] ?? Entry(base.tensors[$0]) } }

    subscript(name: ExactString) -> Entry? {
        guard let replicated else { return base[name].map(Entry.init) }
        return replicated.positions[name].map { replicated.entries[$0] }
    }

    /// The base layer of each layer of the new stack, or nil where nothing is replicated.
    private static func layerMap(_ adapter: Adapter) throws -> [Int]? {
        guard let config = adapter.config, let value = config["layer_replication"] else { return nil }
        guard let ranges = value.arrayValue, !ranges.isEmpty else {
            throw config.wrong("layer_replication", "a list of [start, end]")
        }
        var map: [Int] = []
        for range in ranges {
            guard let pair = range.arrayValue, pair.count == 2, let start = pair[0].intValue, let end = pair[1].intValue,
                start >= 0, start < end, end - start <= 100_000, map.count <= 100_000
            else { throw config.wrong("layer_replication", "a list of [start, end] with start before end") }
            map += Array(start..<end)
        }
        return map
    }

    /// Names of the layer list in the models that PEFT replicates: `layers`, `encoder.layer`, `h`.
    private static let layerLists = ["layers", "encoder.layer", "h"]

    private static func replicated(_ base: Checkpoint, _ map: [Int]) throws -> ([Entry], [Binding.ConfigChange]) {
        // prefix + "." + index + "." + rest
        var prefixes: Set<String> = []
        var split: [(prefix: String, layer: Int, rest: String)?] = []
        for tensor in base.tensors {
            let parts = layerParts(tensor.info.name.text)
            if let parts { prefixes.insert(parts.prefix) }
            split.append(parts)
        }
        guard prefixes.count == 1 else {
            throw PeftfileError(
                .refused, "layer_replication needs one list of layers, and the base has \(prefixes.count)",
                file: base.path, rule: "LayerReplication")
        }
        let stored = Set(split.compactMap { $0?.layer })
        let layers = (stored.max() ?? -1) + 1
        let missing = Set(map).subtracting(stored).sorted()
        guard missing.isEmpty else {
            let named = "layer\(missing.count == 1 ? "" : "s") " + missing.prefix(8).map(String.init).joined(separator: ", ")
            let more = missing.count > 8 ? " and \(missing.count - 8) more" : ""
            throw PeftfileError(
                .refused, "layer_replication copies \(named)\(more), and the base has no tensors of \(missing.count == 1 ? "it" : "them"): "
                    + "its layers are \(BaseView.spans(stored.sorted()))",
                file: base.path, rule: "LayerReplication", help: "merge onto the base that the adapter was trained on, whole")
        }
        var byLayer: [Int: [(rest: String, stored: StoredTensor)]] = [:]
        for (tensor, parts) in zip(base.tensors, split) {
            guard let parts else { continue }
            byLayer[parts.layer, default: []].append((parts.rest, tensor))
        }
        let prefix = prefixes.first ?? ""
        let names = Set(base.tensors.map(\.info.name))
        var added: [Entry] = []
        var sources: [ExactString: StoredTensor] = [:]
        for (layer, original) in map.enumerated() {
            for (rest, stored) in byLayer[original] ?? [] {
                let name = ExactString("\(prefix).\(layer).\(rest)")
                sources[name] = stored
                if !names.contains(name) { added.append(Entry(name: name, stored: stored, isAdded: true)) }
            }
        }
        var entries: [Entry] = []
        for (tensor, parts) in zip(base.tensors, split) {
            // A layer's old tensors go with it where the stack is shorter, or another layer of other parts takes its place.
            guard let stored = parts == nil ? tensor : sources[tensor.info.name] else { continue }
            entries.append(Entry(name: tensor.info.name, stored: stored, isAdded: false))
        }
        entries += added.sorted { $0.name < $1.name }
        return (entries, configChanges(base, layers: layers, map: map))
    }

    /// Ascending numbers as spans: `0 to 3, 5`.
    private static func spans(_ numbers: [Int]) -> String {
        var spans: [ClosedRange<Int>] = []
        for number in numbers {
            guard let last = spans.last, last.upperBound + 1 == number else {
                spans.append(number...number)
                continue
            }
            spans[spans.count - 1] = last.lowerBound...number
        }
        return spans.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound)" }.joined(separator: ", ")
    }

    private static func layerParts(_ name: String) -> (prefix: String, layer: Int, rest: String)? {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        for (position, part) in parts.enumerated() where position > 0 && position + 1 < parts.count {
            guard let layer = Int(part), layer >= 0, layer < 1_000_000 else { continue }
            let prefix = parts[..<position].joined(separator: ".")
            guard layerLists.contains(where: { prefix == $0 || prefix.hasSuffix("." + $0) }) else { continue }
            return (prefix, layer, parts[(position + 1)...].joined(separator: "."))
        }
        return nil
    }

    private static func configChanges(_ base: Checkpoint, layers: Int, map: [Int]) -> [Binding.ConfigChange] {
        guard let config = base.config else {
            return [.init(path: ["num_hidden_layers"], value: .number(JSONNumber(map.count)))]
        }
        var changes: [Binding.ConfigChange] = []
        let nested: [ExactString?] = [nil, "text_config"]
        for parent in nested {
            guard let object = parent.map({ config[$0]?.objectValue }) ?? config else { continue }
            let path = parent.map { [$0] } ?? []
            for key: ExactString in ["num_hidden_layers", "n_layer"] where object[key]?.intValue == layers {
                changes.append(.init(path: path + [key], value: .number(JSONNumber(map.count))))
            }
            // Per-layer lists follow their layers.
            if let types = object["layer_types"]?.arrayValue, types.count == layers {
                changes.append(.init(path: path + ["layer_types"], value: .array(map.map { types[$0] })))
            }
        }
        return changes
    }
}
