import ByteAccess
import Tensors

/// The layers of FLUX.1 and Wan as their own repositories cut them, and as diffusers does.
///
/// | FLUX.1 | diffusers |
/// |---|---|
/// | `double_blocks.N.img_attn.qkv`, `txt_attn.qkv` | `transformer_blocks.N.attn.to_q`, `to_k`, `to_v`; `add_q_proj`, `add_k_proj`, `add_v_proj` |
/// | `….img_attn.proj`, `txt_attn.proj` | `….attn.to_out.0`, `attn.to_add_out` |
/// | `….img_mlp.0`, `img_mlp.2`, `img_mod.lin` | `….ff.net.0.proj`, `ff.net.2`, `norm1.linear`; of `txt` `ff_context`, `norm1_context` |
/// | `single_blocks.N.linear1` | `single_transformer_blocks.N.attn.to_q`, `to_k`, `to_v` with h rows each, `proj_mlp` with 4h |
/// | `….linear2`, `modulation.lin` | `….proj_out`, `norm.linear` |
/// | `final_layer.adaLN_modulation.1` | `norm_out.linear`, its halves the other way round |
///
/// | Wan | diffusers |
/// |---|---|
/// | `blocks.N.self_attn.q`, `k`, `v`, `o`; of `cross_attn` | `blocks.N.attn1.to_q`, `to_k`, `to_v`, `to_out.0`; of `attn2` |
/// | `….cross_attn.k_img`, `v_img`; `ffn.0`, `ffn.2` | `….attn2.add_k_proj`, `add_v_proj`; `ffn.net.0.proj`, `ffn.net.2` |
///
/// Where one layer is several, the rows of `lora_up` are cut and `lora_down` serves all. Other models have some of these names
/// (FLUX.2, HunyuanVideo, Qwen-Image), so a file is one of these models where all of its denoiser's modules are in the table with the
/// proportions of the layer, a numbered block among them.
///
/// Source: `_convert_kohya_flux_lora_to_diffusers`, `_convert_bfl_flux_control_lora_to_diffusers`,
/// `_convert_non_diffusers_wan_lora_to_diffusers` and `_convert_musubi_wan_lora_to_diffusers` in
/// src/diffusers/loaders/lora_conversion_utils.py; scripts/convert_wan_to_diffusers.py for the norms.
enum DiffusersLayers {
    /// What a layer is in diffusers.
    private struct Layer {
        /// The layers below each other, each with its share of the rows.
        let parts: [(name: String, share: Int)]
        /// The input in the measure of the shares; nil where the model's sizes decide.
        var input: Int?
        /// Whether the two halves of the rows change places.
        var isSwapped = false
    }

    /// The modules, each with what it is in diffusers as another form of it.
    static func adding(to modules: [DialectModule]) -> [DialectModule] {
        var result = modules
        for component in Set(modules.map(\.component)) {
            let own = modules.indices.filter { modules[$0].component == component }
            // A file of one model says by its names alone which that is.
            let isNamed = component.map { PipelineComponent($0) == .denoiser } ?? areFlux(own.map { modules[$0].name.text })
            for table in isNamed ? (component == nil ? [flux] : [flux, wan]) : [] {
                let found = own.map { modules[$0].elsewhere.isEmpty ? forms(of: modules[$0], table) : nil }
                guard found.allSatisfy({ $0 != nil }), own.contains(where: { block(modules[$0].name.text, table) != nil }) else { continue }
                for (index, forms) in zip(own, found) { result[index].elsewhere = forms ?? [] }
            }
        }
        return result
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
    ///
    /// Source: `_convert_non_diffusers_lumina2_lora_to_diffusers` and `_convert_non_diffusers_z_image_lora_to_diffusers` in
    /// src/diffusers/loaders/lora_conversion_utils.py; `convert_z_image_transformer_checkpoint_to_diffusers` in loaders/single_file_utils.py.
    static func isOriginal(_ path: String) -> Bool {
        if ["double_blocks.", "single_blocks.", "joint_blocks."].contains(where: path.hasPrefix) { return true }
        if [".attention.qkv", ".attention.out"].contains(where: path.hasSuffix) { return true }
        return block(path, wan) != nil
    }

    /// Whether diffusers' models have modules of this path: a UNet's, or those that the table leads to.
    static func isKnown(_ path: String) -> Bool {
        let fronts = [
            "down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.", "transformer_blocks.", "single_transformer_blocks.",
            "time_text_embed.", "condition_embedder.", "norm_out.",
        ]
        if fronts.contains(where: path.hasPrefix) { return true }
        if ["conv_in", "conv_out", "x_embedder", "context_embedder", "proj_out", "patch_embedding"].contains(path) { return true }
        let parts = path.dottedComponents
        return parts.count > 3 && parts[0] == "blocks" && parts[1].allSatisfy(\.isNumber) && ["attn1", "attn2", "ffn"].contains(parts[2])
    }

    /// Whether a path with dots is that of a layer of FLUX.1's own repository.
    static func isFlux(_ path: String) -> Bool {
        let parts = path.dottedComponents.map(String.init)
        func has(_ parts: [String], in layers: [String: Layer]) -> Bool {
            layers[parts.joined(separator: "_")] != nil
        }
        guard parts.count > 2, let number = Int(parts[1]), number >= 0, "\(number)" == parts[1] else { return has(parts, in: flux.others) }
        return flux.blocks.contains { front, _, layers in front.dropLast() == parts[0] && has(Array(parts[2...]), in: layers) && parts.count < 5 }
            && !["img_attn_qkv", "img_attn_proj", "txt_attn_qkv", "txt_attn_proj"].contains(parts[2])
    }

    /// Whether paths are of FLUX.1's own layers and nothing else, a block's among them. HunyuanVideo's repository writes the attention's with
    /// an underscore (`img_attn_qkv`).
    static func areFlux(_ paths: some Collection<String>) -> Bool {
        paths.allSatisfy(isFlux) && paths.contains { $0.hasPrefix("double_blocks.") || $0.hasPrefix("single_blocks.") }
    }

    // MARK: Tables

    private struct Table {
        /// Fronts of numbered blocks, with `_` for dots, and what diffusers calls them.
        let blocks: [(front: String, other: String, layers: [String: Layer])]
        let others: [String: Layer]
    }

    private static func one(_ name: String, _ share: Int = 1, of input: Int? = nil) -> Layer { Layer(parts: [(name, share)], input: input) }

    private static let flux: Table = {
        var double: [String: Layer] = [:]
        let streams = [
            ("img", "", ["to_q", "to_k", "to_v"], "to_out.0"), ("txt", "_context", ["add_q_proj", "add_k_proj", "add_v_proj"], "to_add_out"),
        ]
        for (stream, suffix, projections, output) in streams {
            double["\(stream)_attn_qkv"] = Layer(parts: projections.map { ("attn.\($0)", 1) }, input: 1)
            double["\(stream)_attn_proj"] = one("attn.\(output)", of: 1)
            double["\(stream)_mlp_0"] = one("ff\(suffix).net.0.proj", 4, of: 1)
            double["\(stream)_mlp_2"] = one("ff\(suffix).net.2", of: 4)
            double["\(stream)_mod_lin"] = one("norm1\(suffix).linear", 6, of: 1)
        }
        let single = [
            "linear1": Layer(parts: [("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1), ("proj_mlp", 4)], input: 1),
            "linear2": one("proj_out", of: 5), "modulation_lin": one("norm.linear", 3, of: 1),
        ]
        var others = [
            "img_in": one("x_embedder"), "txt_in": one("context_embedder"), "final_layer_linear": one("proj_out"),
            "final_layer_adaLN_modulation_1": Layer(parts: [("norm_out.linear", 2)], input: 1, isSwapped: true),
        ]
        for (own, other) in [("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder")] {
            others["\(own)_in_layer"] = one("time_text_embed.\(other).linear_1")
            others["\(own)_out_layer"] = one("time_text_embed.\(other).linear_2")
        }
        return Table(
            blocks: [("double_blocks_", "transformer_blocks.", double), ("single_blocks_", "single_transformer_blocks.", single)], others: others)
    }()

    private static let wan: Table = {
        var layers = ["ffn_0": one("ffn.net.0.proj"), "ffn_2": one("ffn.net.2"), "norm3": one("norm2")]
        for (own, other) in [("self_attn", "attn1"), ("cross_attn", "attn2")] {
            for (name, to) in [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k")] {
                layers["\(own)_\(name)"] = one("\(other).\(to)")
            }
        }
        for (name, to) in [("k_img", "add_k_proj"), ("v_img", "add_v_proj"), ("norm_k_img", "norm_added_k")] {
            layers["cross_attn_\(name)"] = one("attn2.\(to)")
        }
        let front = "condition_embedder."
        let others = [
            "patch_embedding": one("patch_embedding"), "head_head": one("proj_out"), "time_projection_1": one("\(front)time_proj"),
            "text_embedding_0": one("\(front)text_embedder.linear_1"), "text_embedding_2": one("\(front)text_embedder.linear_2"),
            "time_embedding_0": one("\(front)time_embedder.linear_1"), "time_embedding_2": one("\(front)time_embedder.linear_2"),
            "img_emb_proj_1": one("\(front)image_embedder.ff.net.0.proj"), "img_emb_proj_3": one("\(front)image_embedder.ff.net.2"),
        ]
        return Table(blocks: [("blocks_", "blocks.", layers)], others: others)
    }()

    /// Where a module of diffusers' FLUX.1 is in the model's own repository; nil where the table leads to no such module.
    static func original(ofFlux path: String) -> OriginalLayer? {
        func found(_ name: String, in layers: [String: Layer], front: String) -> OriginalLayer? {
            for (key, layer) in layers {
                guard let part = layer.parts.firstIndex(where: { $0.name == name }) else { continue }
                return OriginalLayer(name: front + key, part: part, shares: layer.parts.map(\.share), isSwapped: layer.isSwapped)
            }
            return nil
        }
        for (front, other, layers) in flux.blocks where path.hasPrefix(other) {
            let rest = path.dropFirst(other.count)
            guard let dot = rest.firstIndex(of: "."), let number = Int(rest[..<dot]), number >= 0, "\(number)" == rest[..<dot] else { continue }
            return found(String(rest[rest.index(after: dot)...]), in: layers, front: "\(front)\(number)_")
        }
        return found(path, in: flux.others, front: "")
    }

    /// The layer of a block, and what the block is called in diffusers.
    private static func block(_ path: String, _ table: Table) -> (front: String, layer: Layer)? {
        let name = String(path.map { $0 == "." ? "_" : $0 })
        for (front, other, layers) in table.blocks where name.hasPrefix(front) {
            let rest = name.dropFirst(front.count)
            guard let end = rest.firstIndex(of: "_"), let number = Int(rest[..<end]), number >= 0 else { continue }
            guard let layer = layers[String(rest[rest.index(after: end)...])] else { continue }
            return ("\(other)\(number).", layer)
        }
        return nil
    }

    // MARK: Forms

    /// What a module is in diffusers; nil where the table has no such layer, or the module is not of its proportions.
    private static func forms(of module: DialectModule, _ table: Table) -> [DialectModule]? {
        let other = table.others[String(module.name.text.map { $0 == "." ? "_" : $0 })].map { (front: "", layer: $0) }
        guard let (front, layer) = block(module.name.text, table) ?? other else { return nil }
        func named(_ module: DialectModule, _ path: String) -> DialectModule {
            var module = module
            module.own = ExactString(path)
            module.name = ExactString(module.naming == .path ? path : String(path.map { $0 == "." ? "_" : $0 }))
            return module
        }
        let names = layer.parts.map { front + $0.name }
        let total = layer.parts.reduce(0) { $0 + $1.share }
        guard let b = module.tensors.first(where: { $0.component == "lora_B" && $0.leaf == "weight" })?.view.info.shape,
            let a = module.tensors.first(where: { $0.component == "lora_A" })?.view.info.shape, b.count == 2, a.count == 2
        else { return layer.parts.count == 1 && !layer.isSwapped ? [named(module, names[0])] : nil }
        if let input = layer.input {
            guard a[1] % input == 0, b[0] == a[1] / input * total else { return nil }
        }
        if layer.isSwapped {
            return cut(module, [(b[0] / 2)..<b[0], 0..<(b[0] / 2)], of: b[0], number: 0).map { [named($0, names[0])] }
        }
        guard layer.parts.count > 1 else { return [named(module, names[0])] }
        var (forms, row) = ([DialectModule](), 0)
        for (index, part) in layer.parts.enumerated() {
            let rows = row..<(row + b[0] / total * part.share)
            guard let form = cut(module, [rows], of: b[0], number: index) else { return nil }
            forms.append(named(form, names[index]))
            row = rows.upperBound
        }
        return forms
    }

    /// The module with some of the rows of its output, in this order; nil for a form whose output is not rows of `lora_B`.
    private static func cut(_ module: DialectModule, _ ranges: [Range<Int>], of total: Int, number: Int) -> DialectModule? {
        var result = module
        for (index, tensor) in module.tensors.enumerated() {
            // One tensor of several modules has a name in each.
            let name = ExactString("\(tensor.view.info.name)[\(number)]")
            switch tensor.component {
            case "lora_A": result.tensors[index].view.info.name = name
            case "lora_B", "lora_magnitude_vector", "dora_scale":
                guard tensor.view.info.shape.first == total, let view = tensor.view.taking(ranges, named: name) else { return nil }
                result.tensors[index].view = view
            default: return nil
            }
        }
        return ranges.count == 1 ? withoutEmptyColumns(result) : result
    }

    /// Of `split_dims` each part has rows of `lora_down` for itself, and the others' are of no use to it.
    private static func withoutEmptyColumns(_ module: DialectModule) -> DialectModule {
        guard let a = module.tensors.firstIndex(where: { $0.component == "lora_A" }),
            let b = module.tensors.firstIndex(where: { $0.component == "lora_B" && $0.leaf == "weight" }),
            let part = module.tensors[b].view.parts.first, module.tensors[b].view.parts.count == 1, let scale = module.scale
        else { return module }
        let (view, width) = (module.tensors[a].view, part.matrix.columns)
        guard width < scale.rank,
            let own = view.taking([part.column..<(part.column + width)], named: view.info.name)
        else { return module }
        var result = module
        result.tensors[a].view = own
        result.tensors[b].view.parts[0].column = 0
        result.tensors[b].view.info.shape[1] = width
        result.scale = ModuleScale(rank: width, value: scale.value)
        return result
    }
}

extension TensorView {
    /// Rows of the tensor, below each other; nil where its parts are turned or read in other rows than the tensor.
    func taking(_ ranges: [Range<Int>], named name: ExactString) -> TensorView? {
        if info.shape.count == 1 {
            // Of a vector, which is a matrix of one row, elements are taken: it is read as one of one column.
            guard parts.count == 1, let part = parts.first, part.axes == nil, part.rows == nil, part.height == nil,
                part.stored.shape.count == 1, ranges.count == 1, let range = ranges.first, range.upperBound <= part.stored.elementCount
            else { return nil }
            var copy = part
            (copy.axes, copy.height, copy.rows) = ([0], part.stored.elementCount, range)
            return TensorView(name: name, shape: [range.count], parts: [copy])
        }
        var (cut, height): ([Part], Int) = ([], 0)
        for range in ranges {
            for part in parts {
                guard part.axes == nil, part.height == nil, parts.count > 1 || part.matrix.columns == info.shape.matrix.columns else { return nil }
                let own = part.rows ?? 0..<part.matrix.rows
                let (first, end) = (max(range.lowerBound, part.row), min(range.upperBound, part.row + own.count))
                guard first < end else { continue }
                var copy = part
                copy.rows = (own.lowerBound + first - part.row)..<(own.lowerBound + end - part.row)
                copy.row = height + first - range.lowerBound
                cut.append(copy)
            }
            height += range.count
        }
        guard !cut.isEmpty, !info.shape.isEmpty else { return nil }
        return TensorView(name: name, shape: [height] + info.shape.dropFirst(), parts: cut)
    }
}
