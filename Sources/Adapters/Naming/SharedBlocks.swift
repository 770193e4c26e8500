/// Blocks that a model holds once and runs at several layers, so that the file has them at one of these alone.
///
/// In memory each of the layers names the block's parameters (`model.layers.3.shared_transformer.…`), which are tied. DiffusionGemma's
/// encoder is its decoder under another name.
/// Source: `get_layers` in transformers' modeling_zamba.py and modeling_zamba2.py; `DiffusionGemmaModel._tied_weights_keys`.
struct SharedBlocks: Sendable {
    private static let names: Set<Substring> = ["shared_transf", "shared_transformer"]

    private let groups: [[Int]]
    private let isOneStack: Bool

    init(_ groups: [[Int]], modelTypes: [String] = []) {
        self.groups = groups.filter { $0.count > 1 }
        isOneStack = modelTypes.contains("diffusion_gemma")
    }

    /// The other names of the parameter `name`, in the order of the layers; empty where it is in no shared block.
    func partners(of name: String) -> [String] {
        if isOneStack { return otherStack(name) }
        guard !groups.isEmpty else { return [] }
        let parts = name.dottedComponents
        guard let place = parts.firstIndex(of: "layers"), parts.count > place + 2, SharedBlocks.names.contains(parts[place + 2]),
            let layer = Int(parts[place + 1]), let group = groups.first(where: { $0.contains(layer) })
        else { return [] }
        return group.filter { $0 != layer }.map { other in
            (parts[...place] + [Substring(String(other))] + parts[(place + 2)...]).joined(separator: ".")
        }
    }

    /// The stored one is the decoder's.
    private func otherStack(_ name: String) -> [String] {
        let (encoder, decoder) = ("encoder.language_model.", "decoder.")
        for front in ["", "model."] {
            if name.hasPrefix(front + encoder) { return [front + decoder + name.dropFirst((front + encoder).count)] }
            if name.hasPrefix(front + decoder) { return [front + encoder + name.dropFirst((front + decoder).count)] }
        }
        return []
    }
}
