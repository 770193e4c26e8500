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
                for table in tables {
                    for (path, layer, part) in table.originals(of: String(module.dropFirst(front.count))) {
                        if let found = OriginalRows.part(part, of: layer, at: front + path, leaf, in: base) { return found }
                    }
                }
            }
        }
        return nil
    }

    private static func part(
        _ part: Int, of layer: LayerTable.Layer, at path: String, _ leaf: String, in base: BaseDirectory
    ) -> StoredParameter? {
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

    /// Whether a module's weight has the proportions of the layer.
    private static func fits(_ layer: LayerTable.Layer, _ path: String, in base: BaseDirectory) -> Bool {
        guard let weight = base.shape(path + ".weight"), let rows = weight.first else { return false }
        return layer.fits(rows: rows, columns: weight.count == 2 ? weight[1] : nil)
    }

    /// The modules of diffusers that a base of the repository holds, below the front that it has there, with the shapes of their weights.
    static func modules(of base: BaseDirectory, _ tables: [LayerTable]) -> [(path: String, shape: Shape)] {
        guard !tables.isEmpty else { return [] }
        var result: [(path: String, shape: Shape)] = []
        for name in base.names where name.text.hasSuffix(".weight") {
            guard let shape = base.shapes[name], let rows = shape.first else { continue }
            let path = name.text.dropLast(".weight".count)
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
            for name in base.names where name.text.hasSuffix(".weight") {
                for front in BaseModules.denoiserFronts {
                    guard table.blocks.contains(where: { name.text.hasPrefix(front + $0.front) }) else { continue }
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
