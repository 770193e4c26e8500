import ByteAccess
import Tensors

/// The layers of diffusion transformers as their own repositories cut them, and as diffusers does.
///
/// One table for each model says which is which (``LayerTable``). Models share some of these names, so a file is one of a model where all of its
/// denoiser's modules are in the model's table with the proportions of the layer, a numbered block among them. Where that leaves several, the
/// base decides; without one, names that two models' layers would have otherwise are refused.
///
/// Source: src/diffusers/loaders/lora_conversion_utils.py and single_file_utils.py, by function in each table.
enum DiffusersLayers {
    /// The modules, each with what it is in diffusers as another form of it.
    ///
    /// - Parameters:
    ///   - takesUnnamed: whether modules without a component are of a denoiser.
    ///   - takesOthers: whether the other forms are asked for whatever the base has; names that are those of two models are refused then, and
    ///     stay without other forms else.
    /// - Throws: `.refused` where two models have the names, and nothing tells which it is; where the base is of another model.
    static func adding(
        to modules: [DialectModule], bases: [BaseDirectory], takesUnnamed: Bool, takesOthers: Bool, file: DialectFile
    ) throws -> [DialectModule] {
        let said = LayerTable.said(by: file)
        var result = modules
        for component in Set(modules.map(\.component)) {
            let own = modules.indices.filter { modules[$0].component == component }
            guard component.map({ PipelineComponent($0) == .denoiser }) ?? takesUnnamed else { continue }
            let members = own.map { modules[$0] }
            var candidates = LayerTable.all.compactMap { Candidate(members, $0) }
            if let said, candidates.contains(where: { $0.table.model == said.model }) { candidates.removeAll { $0.table.model != said.model } }
            guard !candidates.isEmpty || said != nil else { continue }
            let known = bases.map { BaseModules($0) }
            // diffusers' names are those of several models, and the file may say of which.
            let forms = [members, taking(members)]
            if let said, let base = try known.first(where: { base in try forms.contains { try base.hasAll($0, component: component) } }) {
                try requireModel(said, base.base, isSaid: true, file)
            }
            guard !candidates.isEmpty else { continue }
            var chosen: Candidate?
            if let repository = try known.first(where: { try $0.hasAll(members, component: component) }) {
                // A base of the repository has the names as they stand.
                guard takesOthers, !repository.tables.isEmpty else { continue }
                let tables = repository.tables.map(\.model)
                if candidates.contains(where: { tables.contains($0.table.model) }) { candidates.removeAll { !tables.contains($0.table.model) } }
            } else if !known.isEmpty {
                let placed = try candidates.compactMap { candidate in
                    try known.first { try $0.hasAll(candidate.modules, component: component) }.map { (candidate: candidate, base: $0.base) }
                }
                chosen = placed.first { $0.candidate.hasMoreBlocks || $0.candidate.table.contradiction($0.base) == nil }?.candidate
                if chosen == nil, let first = placed.first { try requireModel(first.candidate.table, first.base, isSaid: said != nil, file) }
                chosen = chosen ?? candidates[0]
            }
            if chosen == nil, candidates.contains(where: { $0.names != candidates[0].names }) {
                chosen = Candidate.ofKnownWidth(candidates)
                guard chosen != nil || takesOthers else { continue }
                guard chosen != nil else { throw Candidate.refusal(candidates, file.path) }
            }
            guard let chosen = chosen ?? candidates.first else { continue }
            for (index, forms) in zip(own, chosen.forms) { result[index].elsewhere = forms }
        }
        return result
    }

    /// - Parameter isSaid: whether the file's metadata name the model, and not its layers.
    /// - Throws: `.refused` where the base is of another model.
    private static func requireModel(_ table: LayerTable, _ base: BaseDirectory, isSaid: Bool, _ file: DialectFile) throws {
        guard let other = table.contradiction(base) else { return }
        throw file.refusal(
            (isSaid ? "says that it is for \(table.model)" : "its layers are those of \(table.model)")
                + ", and the base is \(other == "another model" ? other : "of \(other)"), which has layers of the same names", nil, rule: "ModelMismatch",
            help: "merge onto the model that the adapter was trained for")
    }

    /// Modules as layers of one model.
    private struct Candidate {
        let table: LayerTable
        /// What each module is in diffusers.
        let forms: [[DialectModule]]
        private let isOfWidth: Bool
        /// Whether some are of blocks that the table's model has not.
        let hasMoreBlocks: Bool

        var modules: [DialectModule] { forms.flatMap { $0 } }
        var names: [String] { forms.flatMap { $0.map { $0.own?.text ?? $0.name.text } } }

        init?(_ modules: [DialectModule], _ table: LayerTable) {
            guard modules.contains(where: { table.layers(of: $0.name.text)?.isInBlock == true }) else { return nil }
            var (forms, isOfWidth) = ([[DialectModule]](), false)
            for module in modules {
                // With its dots a name says more than with underscores: HunyuanVideo has `img_attn_qkv` where FLUX.1 has `img_attn.qkv`.
                guard module.elsewhere.isEmpty, module.naming == .underscored || table.isOwn(module.name.text) else { return nil }
                guard let own = DiffusersLayers.forms(of: module, table) else { return nil }
                forms.append(own)
                let shapes = module.tensors.map(\.view.info.shape)
                isOfWidth = isOfWidth || shapes.contains { shape in shape.contains(where: table.widths.contains) }
            }
            (self.table, self.forms, self.isOfWidth) = (table, forms, isOfWidth)
            hasMoreBlocks = modules.contains { table.exceeds($0.name.text) }
        }

        static func refusal(_ candidates: [Candidate], _ path: String) -> PeftfileError {
            PeftfileError(
                .refused,
                "its names are layers of \(candidates.map(\.table.model).joined(separator: " and of ")), and diffusers has those of each under other "
                    + "names: nothing tells which model it is for",
                file: path, rule: "NotConvertible", help: "name the model as diffusers has it: --base PIPELINE")
        }

        /// The one whose model there is in this width.
        static func ofKnownWidth(_ candidates: [Candidate]) -> Candidate? {
            let fitting = candidates.filter(\.isOfWidth)
            return fitting.count == 1 ? fitting[0] : nil
        }
    }

    /// The modules in diffusers' forms, under names with dots.
    static func taking(_ modules: [DialectModule]) -> [DialectModule] {
        modules.flatMap { module -> [DialectModule] in
            guard !module.elsewhere.isEmpty else { return [module] }
            return module.elsewhere.map { form in
                var form = form
                (form.name, form.naming) = (form.own ?? form.name, .path)
                return form
            }
        }
    }

    /// Whether a path with dots is that of a layer that diffusers has otherwise.
    ///
    /// Z-Image and Lumina 2 have `attention.qkv` and `attention.out` in their own repositories, and no transformer of diffusers has either.
    static func isOriginal(_ path: String) -> Bool {
        if ["double_blocks.", "single_blocks.", "joint_blocks."].contains(where: path.hasPrefix) { return true }
        if [".attention.qkv", ".attention.out"].contains(where: path.hasSuffix) { return true }
        if path.hasPrefix("layers."), path.hasSuffix(".adaLN_modulation.1") { return true }
        return LayerTable.wan.layers(of: path)?.isInBlock == true
    }

    /// Whether diffusers' models have modules of this path: a UNet's, or those that the tables lead to.
    static func isKnown(_ path: String) -> Bool {
        let fronts = [
            "down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.", "transformer_blocks.", "single_transformer_blocks.",
            "time_text_embed.", "condition_embedder.", "norm_out.",
        ]
        if fronts.contains(where: path.hasPrefix) { return true }
        if ["conv_in", "conv_out", "x_embedder", "context_embedder", "proj_out", "patch_embedding"].contains(path) { return true }
        let parts = path.dottedComponents
        if parts.count > 3 && parts[0] == "blocks" && parts[1].allSatisfy(\.isNumber) && ["attn1", "attn2", "ffn"].contains(parts[2]) { return true }
        return LayerTable.all.contains { !$0.originals(of: path).isEmpty }
    }

    /// Whether a path with dots lies in a numbered block of a diffusion transformer, as its own repository or diffusers has it. Of names that language
    /// models have too (`layers.N.feed_forward.w1`) others must be there; none has refiners.
    static func isInBlock(_ path: String) -> Bool {
        let parts = path.dottedComponents
        guard parts.count > 2, parts[1].isDecimal else { return false }
        let fronts = [
            "transformer_blocks", "single_transformer_blocks", "double_blocks", "single_blocks", "joint_blocks", "joint_transformer_blocks",
            "double_stream_blocks", "single_stream_blocks",
        ]
        if fronts.contains(String(parts[0])) { return true }
        return (parts[2] != "feed_forward" || parts[0].hasSuffix("_refiner"))
            && LayerTable.all.contains { $0.layers(of: path)?.isInBlock == true && $0.isOwn(path) || $0.isInBlockOfDiffusers(path) }
    }

    /// Whether a path with dots is that of a layer of FLUX.1's own repository.
    static func isFlux(_ path: String) -> Bool { LayerTable.flux.isOwn(path) }

    /// Whether paths are of FLUX.1's own layers and nothing else, a block's among them. HunyuanVideo's repository writes the attention's with
    /// an underscore (`img_attn_qkv`).
    static func areFlux(_ paths: some Collection<String>) -> Bool {
        paths.allSatisfy(isFlux) && paths.contains { $0.hasPrefix("double_blocks.") || $0.hasPrefix("single_blocks.") }
    }

    /// Where a module of diffusers' FLUX.1 is in the model's own repository; nil where the table leads to no such module.
    static func original(ofFlux path: String) -> OriginalLayer? {
        LayerTable.flux.originals(of: path).first.map { own, layer, part in
            OriginalLayer(
                name: LayerTable.underscored(own), part: part, shares: layer.parts.map(\.share), isSwapped: layer.isSwapped)
        }
    }
}
