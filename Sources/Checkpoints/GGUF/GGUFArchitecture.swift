public import ByteAccess

/// How llama.cpp's converter writes the models of one architecture: what it calls the tensors, whose rows it reorders, and what it
/// adds to their values.
///
/// Names: `token_embd.weight` is `model.embed_tokens.weight`, `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`.
/// Sources in ggml-org/llama.cpp: `TENSOR_NAMES` in gguf-py/gguf/constants.py, gguf-py/gguf/tensor_mapping.py, and
/// `modify_tensors` of each model in conversion/.
public struct GGUFArchitecture: Sendable {
    /// `general.architecture`.
    public let name: String
    /// The Hub's names for llama.cpp's: outside of the layers, and inside.
    let outside: [String: String]
    let inside: [String: String]
    /// Stacks of one matrix an expert: the path of the experts in a layer, and the name of the matrix in each.
    let experts: [String: (path: String, matrix: String)]
    /// Whether the rows of the queries and keys are in the order of ggml's rotary embedding.
    let permutes: Bool
    /// What was added to the weights of all norms.
    let normShift: Double

    /// Where a tensor of llama.cpp's has its place in the Hub's model.
    public enum Place: Sendable, Hashable {
        case tensor(ExactString)
        /// A stack; expert e is `path.e.name`.
        case experts(path: String, name: String)
        /// Computed by the converter from the config: the Hub's model has no such tensor.
        case computed
    }

    /// Whose heads order a tensor's rows.
    public enum Heads: Sendable, Hashable {
        case queries, keys
    }

    /// The place of a tensor; nil where this architecture is not known to have it.
    public func place(of name: ExactString) -> Place? {
        let text = name.text
        guard let ending = [".weight", ".bias"].first(where: text.hasSuffix) else { return nil }
        let stem = String(text.dropLast(ending.count))
        if GGUFArchitecture.computed.contains(stem) { return .computed }
        if let hub = outside[stem] { return .tensor(ExactString(hub + ending)) }
        guard let (layer, part) = GGUFArchitecture.layer(stem) else { return nil }
        let path = "model.layers.\(layer)."
        if let hub = inside[part] { return .tensor(ExactString(path + hub + ending)) }
        guard ending == ".weight", let stack = experts[part] else { return nil }
        return .experts(path: path + stack.path, name: stack.matrix + ending)
    }

    func isStack(_ name: ExactString) -> Bool { if case .experts = place(of: name) { true } else { false } }

    /// llama.cpp's name for a tensor of the Hub's model that is stored alone; nil for the matrices of experts and what is not known.
    public func name(ofHub name: ExactString) -> ExactString? {
        let text = name.text
        guard let ending = [".weight", ".bias"].first(where: text.hasSuffix) else { return nil }
        let stem = String(text.dropLast(ending.count))
        if let known = outside.first(where: { $0.value == stem })?.key { return ExactString(known + ending) }
        let parts = stem.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, parts[0] == "model", parts[1] == "layers", GGUFArchitecture.isNumber(parts[2]),
            let known = inside.first(where: { $0.value == parts[3] })?.key
        else { return nil }
        return ExactString("blk.\(parts[2]).\(known)\(ending)")
    }

    /// The heads that the rows of a tensor were reordered by.
    public func heads(of name: ExactString) -> Heads? {
        guard permutes else { return nil }
        let parts = name.text.split(separator: ".")
        guard parts.count == 4, parts[0] == "blk" else { return nil }
        return parts[2] == "attn_q" ? .queries : parts[2] == "attn_k" ? .keys : nil
    }

    /// What the converter added to every element of a tensor.
    public func shift(of name: ExactString) -> Double { name.text.hasSuffix("norm.weight") ? normShift : 0 }

    private static let computed: Set<String> = ["rope_freqs", "rope_factors_long", "rope_factors_short"]

    /// The number of the layer and what is behind it in `blk.N.…`.
    private static func layer(_ stem: String) -> (String, String)? {
        let parts = stem.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts[0] == "blk", isNumber(parts[1]) else { return nil }
        return (parts[1], parts[2])
    }

    private static func isNumber(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count < 9 && text.utf8.allSatisfy { (0x30...0x39).contains($0) } && (text == "0" || text.first != "0")
    }
}
