import ByteAccess
import Tensors

/// Parameters of diffusers' transformers in a base that is stored under the names of the model's own repository.
///
/// `transformer_blocks.0.attn.to_k` of FLUX.1 is the second third of the rows of `double_blocks.0.img_attn.qkv`, and `norm_out.linear` is
/// `final_layer.adaLN_modulation.1` with its halves the other way round. So an adapter that was trained in diffusers merges into the repository's
/// file, whatever its method.
///
/// A base is one of a model where all matrices in its numbered blocks are in the model's table with the proportions of their layers.
///
/// Source: ``LayerTable``, read from diffusers to the repository; `model_lora_keys_unet` in comfy/lora.py of ComfyUI does so with rows as
/// offsets (`flux_to_diffusers`, `mmdit_to_diffusers`, `z_image_to_diffusers` in comfy/utils.py).
struct OriginalRows: Sendable {
    private let tables: [LayerTable]

    init(base: BaseDirectory) { tables = LayerTable.tables(of: base) }

    /// The part of a stored tensor that `name` is, under the name that `spell` gives it; nil for any other.
    func locate(_ name: String, in base: BaseDirectory, spell: (String) -> String) -> StoredParameter? {
        guard !tables.isEmpty else { return nil }
        let spelled = spell(name)
        for name in spelled == name ? [name] : [name, spelled] {
            guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")) else { continue }
            let (module, leaf) = (name[..<dot], String(name[dot...]))
            for front in BaseModules.denoiserFronts where module.hasPrefix(front) {
                if let norm = OriginalRows.norm(String(module), leaf, in: base) { return StoredParameter(whole: norm.name, shape: norm.shape) }
                for table in tables {
                    for (path, layer, part) in table.originals(of: String(module.dropFirst(front.count))) {
                        if let found = OriginalRows.part(part, of: layer, at: front + path, leaf, in: base) { return found }
                    }
                }
            }
        }
        return nil
    }

    /// A parameter that is no module's weight and that adapters name as if it were: the modulation of Wan.
    static func bare(_ names: [String], in base: BaseDirectory) -> StoredParameter? {
        guard base.modelTypes.isEmpty else { return nil }
        for name in names where name.hasSuffix(".weight") {
            let own = String(name.dropLast(".weight".count))
            if isBare(own), let shape = base.shape(own) { return StoredParameter(whole: ExactString(own), shape: shape) }
        }
        return nil
    }

    /// Whether a stored tensor is such a parameter.
    static func isBare(_ name: String) -> Bool { ["modulation", "scale_shift_table"].contains(name.dottedComponents.last.map(String.init)) }

    private static func part(
        _ part: Int, of layer: LayerTable.Layer, at path: String, _ leaf: String, in base: BaseDirectory
    ) -> StoredParameter? {
        if let norm = norm(path, leaf, in: base) { return StoredParameter(whole: norm.name, shape: norm.shape) }
        guard let shape = base.shape(path + leaf), let total = shape.first, fits(layer, path, in: base), total % layer.total == 0 else { return nil }
        let tensor = ExactString(path + leaf)
        if layer.isSwapped {
            let halves = LayerTable.Layer.halves(of: total)
            let pieces = [
                ParameterPiece(rows: 0..<halves[0].count, tensor: tensor, storedOffset: halves[0].lowerBound),
                ParameterPiece(rows: halves[0].count..<total, tensor: tensor, storedOffset: halves[1].lowerBound),
            ]
            return StoredParameter(shape: shape, pieces: pieces)
        }
        let rows = layer.rows(of: part, among: total)
        let piece = ParameterPiece(rows: 0..<rows.count, tensor: tensor, storedOffset: rows.lowerBound)
        return StoredParameter(shape: [rows.count] + shape.dropFirst(), pieces: [piece])
    }

    /// A norm's weight where the repository calls it `scale`.
    private static func norm(_ path: String, _ leaf: String, in base: BaseDirectory) -> (name: ExactString, shape: Shape)? {
        guard leaf == ".weight", path.hasSuffix("_norm"), let shape = base.shape(path + ".scale"), shape.count == 1 else { return nil }
        return (ExactString(path + ".scale"), shape)
    }

    /// Whether a module's weight has the proportions of the layer.
    private static func fits(_ layer: LayerTable.Layer, _ path: String, in base: BaseDirectory) -> Bool {
        guard let weight = base.shape(path + ".weight"), let rows = weight.first else { return false }
        return layer.fits(rows: rows, columns: weight.count == 2 ? weight[1] : nil)
    }

    /// The modules of diffusers that a base of the repository holds, below the front that it has there, with the shapes of their weights.
    static func modules(of base: BaseDirectory, _ tables: [LayerTable]) -> [(path: String, shape: Shape)] {
        guard !tables.isEmpty else { return [] }
        var result: [(path: String, shape: Shape)] = []
        for name in base.names {
            guard let leaf = [".weight", "_norm.scale"].first(where: name.text.hasSuffix), let shape = base.shapes[name], let rows = shape.first
            else { continue }
            let path = leaf == ".weight" ? name.text.dropLast(leaf.count) : name.text.dropLast(".scale".count)
            for front in BaseModules.denoiserFronts where path.hasPrefix(front) {
                let own = String(path.dropFirst(front.count))
                for table in tables where table.isOwn(own) {
                    guard let (before, layers, _) = table.layers(of: own),
                        let layer = layers.first(where: { $0.fits(rows: rows, columns: shape.count == 2 ? shape[1] : nil) })
                    else { continue }
                    for (index, part) in layer.parts.enumerated() {
                        let count = layer.isSwapped ? rows : layer.rows(of: index, among: rows).count
                        result.append((front + before + part.name, [count] + shape.dropFirst()))
                    }
                }
            }
        }
        return result
    }
}

extension LayerTable {
    /// The models whose repository's names a base has.
    static func tables(of base: BaseDirectory) -> [LayerTable] {
        // transformers' models have a word for what they are, and none of these is one.
        guard base.modelTypes.isEmpty else { return [] }
        return all.filter { table in
            var isFound = false
            let fronts = BaseModules.denoiserFronts.map { front in (front, table.blocks.map { front + $0.front }) }
            for name in base.names where name.text.hasSuffix(".weight") {
                for (front, blocks) in fronts where blocks.contains(where: name.text.hasPrefix) {
                    guard let shape = base.shapes[name], shape.count == 2 else { continue }
                    let own = String(name.text.dropFirst(front.count).dropLast(".weight".count))
                    guard table.isOwn(own), let layers = table.layers(of: own)?.layers,
                        layers.contains(where: { $0.fits(rows: shape[0], columns: shape[1]) })
                    else { return false }
                    isFound = true
                }
            }
            return isFound
        }
    }
}
