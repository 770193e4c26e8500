import ByteAccess
import Checkpoints
import Tensors

/// One bottleneck adapter: down-project, non-linearity, up-project, skip connection.
///
///     y = x + U f(D x + b) + c        D (bottleneck, hidden), U (hidden, bottleneck)
///
/// | library | keys below the module |
/// |---|---|
/// | adapters (AdapterHub) | `adapter_down.0.{weight,bias}` (`.1` behind a norm), `adapter_up.{weight,bias}`, and where the config asks for them `adapter_norm_before`, `adapter_norm_after`, `gate`, `scaling` |
/// | adapters, Compacter | `adapter_down.0.W_left`, `W_right`, `phm_rule`, `b` …: the matrices as Kronecker products |
/// | OpenDelta | `modulelist.down_proj.{weight,bias}`, `modulelist.up_proj.{weight,bias}` |
///
/// Source: `Adapter` in adapters/methods/modeling.py, `AdapterLayer` in opendelta/delta_models/adapter.py; N. Houlsby et
/// al., arXiv:1902.00751.
public struct BottleneckModule: Sendable {
    /// The library that wrote the file.
    public enum Library: String, Sendable {
        /// `adapters` of AdapterHub, and adapter-transformers before it.
        case adapterHub = "adapterhub"
        /// OpenDelta.
        case openDelta = "opendelta"
    }

    /// Whose names the tensors have.
    public let library: Library
    /// The path of the adapter's module, without wrappers.
    public let root: String
    /// The adapter's name, where the path holds one.
    public let name: String?
    /// The index of the transformer layer, where the path holds one.
    public let layer: Int?
    /// The path with the layer's index taken out: what is the same in every layer.
    public let location: String
    /// The tensors by the rest of their name.
    public private(set) var tensors: [String: PromptTensor] = [:]
    /// The rest of each tensor's name, in file order.
    public private(set) var leaves: [String] = []

    init(library: Library, root: [String]) {
        self.library = library
        self.root = root.joined(separator: ".")
        let position = root.firstIndex { Int($0) != nil }
        layer = position.flatMap { Int(root[$0]) }
        location = root.enumerated().map { $0.offset == position ? "*" : $0.element }.joined(separator: ".")
        // `….adapters.<name>`, and before version 3 `….attention_text_task_adapters.<name>`.
        let isNamed = library == .adapterHub && root.count > 1 && root[root.count - 2].hasSuffix("adapters")
        name = isNamed ? root.last : nil
    }

    mutating func add(_ tensor: PromptTensor, as leaf: String) {
        tensors[leaf] = tensor
        leaves.append(leaf)
    }

    /// D; behind a norm it is the second step of its sequence.
    public var down: PromptTensor? {
        tensors["adapter_down.0.weight"] ?? tensors["adapter_down.1.weight"] ?? tensors["modulelist.down_proj.weight"]
    }
    /// U.
    public var up: PromptTensor? { tensors["adapter_up.weight"] ?? tensors["modulelist.up_proj.weight"] }
    /// b and c.
    public var downBias: PromptTensor? {
        tensors["adapter_down.0.bias"] ?? tensors["adapter_down.1.bias"] ?? tensors["modulelist.down_proj.bias"]
    }
    /// c, (out).
    public var upBias: PromptTensor? { tensors["adapter_up.bias"] ?? tensors["modulelist.up_proj.bias"] }
    /// Whether the matrices are Kronecker products or low-rank ones, as in Compacter.
    public var isFactored: Bool {
        leaves.contains { $0.contains("W_left") || $0.contains("phm_rule") || $0.hasSuffix(".W") }
    }
    /// Norms, gates and learnt scales between the skip connection and the projections.
    public var extras: [String] {
        leaves.filter { $0.hasPrefix("adapter_norm") || $0.hasPrefix("gate") || $0 == "scaling" }
    }

    /// All bottleneck adapters among tensors, in file order.
    static func modules(among tensors: [PromptTensor]) -> [BottleneckModule] {
        var modules: [BottleneckModule] = []
        var positions: [ExactString: Int] = [:]
        for tensor in tensors {
            guard let (library, count) = place(tensor.parts) else { continue }
            let root = Array(tensor.parts[..<count])
            let key = ExactString(root.joined(separator: "."))
            let position = positions[key] ?? modules.count
            if position == modules.count {
                positions[key] = position
                modules.append(BottleneckModule(library: library, root: root))
            }
            modules[position].add(tensor, as: tensor.parts[count...].joined(separator: "."))
        }
        // A norm or a gate of that name alone is no adapter.
        return modules.filter { module in
            module.leaves.contains { $0.hasPrefix("adapter_down") || $0.hasPrefix("adapter_up") || $0.hasPrefix("modulelist.") }
        }
    }

    /// How many components of a name are the path of its adapter.
    private static func place(_ parts: [String]) -> (Library, Int)? {
        if let start = parts.lastIndex(of: "modulelist"), start + 2 < parts.count,
            ["down_proj", "up_proj"].contains(parts[start + 1])
        {
            return (.openDelta, start)
        }
        let names: Set<String> = [
            "adapter_down", "adapter_up", "adapter_norm_before", "adapter_norm_after", "gate", "scaling",
        ]
        guard let start = parts.lastIndex(where: names.contains), start > 1, parts[start - 2].hasSuffix("adapters") else {
            return nil
        }
        return (.adapterHub, start)
    }
}
