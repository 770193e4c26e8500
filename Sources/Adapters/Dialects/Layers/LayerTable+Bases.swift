import ByteAccess

/// Which bases are of a table's model.
///
/// Models of one width share names in diffusers: HunyuanVideo has FLUX.1's blocks, Stable Diffusion 3 its double ones. A base says what it is by
/// `_class_name` in its config.json; where that is none that is known, or there is no config, by its layers: those in numbered blocks are all
/// the model's, and no other model has them and more of the rest.
///
/// Source: the classes of `_lora_loadable_modules` in the pipelines of src/diffusers/pipelines, which name the loader of their LoRA files.
extension LayerTable {
    /// Classes of diffusers with layers of the same names that have LoRA files of their own, and no table.
    private static let otherClasses: Set<String> = [
        "AuraFlowTransformer2DModel", "CogView4Transformer2DModel", "CogVideoXTransformer3DModel", "ErnieImageTransformer2DModel",
        "HiDreamImageTransformer2DModel", "Kandinsky5Transformer3DModel", "Krea2Transformer2DModel", "MochiTransformer3DModel",
        "QwenImageControlNetModel", "QwenImageTransformer2DModel", "SanaTransformer2DModel",
    ]

    /// Whether a class of diffusers is one of the model's.
    func hasClass(_ name: String) -> Bool { name == className || relatives.contains(name) }

    /// What the base is, where it is of another model than the table's; nil where it may be of this one.
    func contradiction(_ base: BaseDirectory) -> String? {
        if let name = base.className {
            if hasClass(name) { return nil }
            if LayerTable.otherClasses.contains(name) || LayerTable.all.contains(where: { $0.hasClass(name) }) { return name }
        }
        guard base.modelTypes.isEmpty else { return nil }
        let own = LayerTable.tables(of: base)
        if !own.isEmpty { return own.contains { $0.model == model } ? nil : own[0].model }
        let paths = LayerTable.matrices(of: base)
        if paths.contains(where: isStranger) { return "another model" }
        let known = Set(paths.filter { !originals(of: $0).isEmpty })
        return LayerTable.all.first { other in
            guard other.model != model, !paths.contains(where: other.isStranger) else { return false }
            let theirs = paths.filter { !other.originals(of: $0).isEmpty }
            return theirs.contains { path in other.blocks.contains { path.hasPrefix($0.other) } } && known.isStrictSubset(of: theirs)
        }?.model
    }

    /// Whether a module is of a block that no model of the table has: ComfyUI gives HunyuanVideo's layers FLUX.1's names, and has 20 and 40 blocks.
    ///
    /// Source: `HunyuanVideo` in comfy/ldm/hunyuan_video/model.py of comfyanonymous/ComfyUI, made of the blocks of comfy/ldm/flux/layers.py.
    func exceeds(_ module: String) -> Bool {
        counts.contains { front, count in
            let (path, front) = (LayerTable.underscored(module), LayerTable.underscored(front))
            guard path.hasPrefix(front), let number = Int(path.dropFirst(front.count).prefix(while: { $0 != "_" })) else { return false }
            return number >= count
        }
    }

    /// Whether a path lies in one of the blocks that diffusers has for the model, and is no layer of it. Processors may hold more.
    private func isStranger(_ path: String) -> Bool {
        guard !path.contains(".processor."), let block = blocks.first(where: { path.hasPrefix($0.other) }),
            path.dropFirst(block.other.count).prefix(while: { $0 != "." }).allSatisfy(\.isNumber)
        else { return false }
        return originals(of: path).isEmpty
    }

    /// The modules of a denoiser that hold matrices, below the front that it has.
    private static func matrices(of base: BaseDirectory) -> [String] {
        let names = base.names.filter { $0.text.hasSuffix(".weight") && (base.shapes[$0]?.count ?? 0) > 1 }.map { $0.text.dropLast(".weight".count) }
        let fronts = BaseModules.denoiserFronts.dropFirst()
        let front = fronts.first { front in names.contains { name in all.contains { $0.blocks.contains { name.hasPrefix(front + $0.other) } } } } ?? ""
        return names.filter { $0.hasPrefix(front) }.map { String($0.dropFirst(front.count)) }
    }
}

extension LayerTable {
    /// The model that a file says it was trained for: `modelspec.architecture` of ModelSpec, as trainers write it ("flux-1-dev/lora"), or XLabs' names,
    /// which are FLUX.1's alone. Nil where it says nothing, or names none of these.
    ///
    /// Source: `determine_architecture` in library/sai_model_spec.py of kohya-ss/sd-scripts; `build_metadata` in
    /// src/musubi_tuner/utils/sai_model_spec.py of kohya-ss/musubi-tuner.
    static func said(by file: DialectFile) -> LayerTable? {
        if XLabs().recognises(file) { return flux }
        guard let text = file.metadata("modelspec.architecture")?.lowercased() else { return nil }
        return all.first { table in table.architectures.contains(where: text.hasPrefix) && !text.hasPrefix("hunyuan-video-1.5") }
    }
}
