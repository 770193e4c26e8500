import ByteAccess

extension BaseDirectory {
    /// Where a class with a head has a layer that a file of the bare model has under `module`: the hub's gpt2 and bloom have
    /// `h.0`, and `GPT2LMHeadModel` has `transformer.h.0` (`base_model_prefix` of transformers' modeling files).
    ///
    /// - Returns: nil where the base is no such file, or has the name in full.
    func pathUnderHead(of module: String) -> String? {
        guard let prefix = BasePrefixes.required(by: modelTypes), LayerPath(module) != nil, !module.hasPrefix(prefix + "."),
            !names.contains(where: { $0.text.hasPrefix(prefix + ".") })
        else { return nil }
        return "\(prefix).\(module)"
    }

    /// The same for a base of a model that makes text. Encoders are left as they are: adapters of them are trained on the bare
    /// model as often.
    func pathInGenerator(of module: String) -> String? {
        guard let prefix = BasePrefixes.required(by: modelTypes), BasePrefixes.generators.contains(prefix),
            names.contains(where: { $0.text == "\(module).weight" })
        else { return nil }
        return pathUnderHead(of: module)
    }
}
