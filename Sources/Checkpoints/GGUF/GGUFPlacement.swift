import ByteAccess
import Containers
import Tensors

/// Where the tensors of a GGUF file are in the Hub's model: names, rows, what several make together and what is several in one.
///
/// Two options of llama.cpp's converter join what the Hub has apart: queries, keys and values of a layer below each other in `attn_qkv`
/// (`--fuse-qkv`), and of each expert the gate and the up projection in `ffn_gate_up_exps` (`--fuse-gate-up-exps`).
///
/// Source: `modify_tensors` of `ModelBase` in conversion/base.py of ggml-org/llama.cpp.
struct GGUFPlacement {
    private let file: GGUFFile
    private let architecture: GGUFArchitecture
    private let shapes: [ExactString: Shape]
    private let queries: [Int]
    private let keys: [Int]
    private let linear: GGUFLinearHeads?
    /// Rows that the embedding of each layer has in the Hub's model: what a config.json beside the file says, else as many as every Gemma 3n has.
    private let layerVocabulary: Int

    /// What a stored tensor is.
    struct Placed {
        var pieces: [GGUFTensor.Piece] = []
        var isStack = false
        var form: GGUFForm?
        var cut: GGUFCut?
    }

    init(_ stored: Checkpoint, _ file: GGUFFile, _ architecture: GGUFArchitecture) throws {
        self.file = file
        self.architecture = architecture
        shapes = Dictionary(stored.tensors.map { ($0.name, stored.blocks(of: $0)?.shape ?? $0.shape) }) { first, _ in first }
        queries = try GGUFPlacement.counts(file, "\(architecture.name).attention.head_count")
        let own = try GGUFPlacement.counts(file, "\(architecture.name).attention.head_count_kv")
        keys = own.isEmpty ? queries : own
        linear = GGUFLinearHeads(file, architecture.name)
        layerVocabulary = stored.config.flatMap { GGUFHeads.languageModel(of: $0)["vocab_size_per_layer_input"]?.intValue }.map { max(1, $0) } ?? 262_144
    }

    /// Tensors that the converter computes from the config; the Hub's model has none of them.
    private static let computed: Set<ExactString> = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"]

    /// The tensor's place; no pieces for one that was computed.
    ///
    /// - Throws: a `GGUFModelRule`.
    func place(_ name: ExactString) throws -> Placed {
        let shape = shapes[name] ?? []
        if let place = architecture.place(ofGGUF: name.text, isThere: { shapes[ExactString($0)] != nil }) {
            let formed = try formed(place, name, shape)
            let order = try place.rowOrder.map { try stored($0, name, shape.first ?? 0) }
            let size = formed.shape.elementCount ?? 0
            let pieces = try names(place, name, shape).enumerated().map {
                GGUFTensor.Piece(name: $1, shape: formed.shape, first: $0 * size, order: order)
            }
            return Placed(pieces: pieces, isStack: place.isStack, form: place.form, cut: formed.cut)
        }
        if let joined = try joined(name, shape) { return joined }
        guard !GGUFPlacement.computed.contains(name) else { return Placed() }
        throw GGUFModelRule.place.broken(
            "has no place that is known in a model of the architecture \"\(architecture.name)\"", tensor: name,
            help: "use the safetensors checkpoint that it was made from")
    }

    private func names(_ place: GGUFPlace, _ name: ExactString, _ shape: Shape) throws -> [ExactString] {
        guard place.isStack else { return [ExactString(place.hub)] }
        guard shape.count == 3, shape[0] <= 4096 else {
            throw GGUFModelRule.place.broken("has the shape \(shape), and a stack of experts is expected", tensor: name)
        }
        return (0..<shape[0]).map { ExactString(place.hubName(expert: $0)) }
    }

    // MARK: What the converter joined

    /// What the Hub has apart; nil for any other tensor.
    private func joined(_ name: ExactString, _ shape: Shape) throws -> Placed? {
        let parts = name.text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, let layer = Int(parts[1]) else { return nil }
        func places(_ leaves: [String]) -> [GGUFPlace]? {
            let found = leaves.compactMap { architecture.place(ofGGUF: "\(parts[0]).\(parts[1]).\($0).\(parts[3])") }
            return found.count == leaves.count ? found : nil
        }
        switch parts[2] {
        case "attn_qkv":
            guard let places = places(["attn_q", "attn_k", "attn_v"]), places.allSatisfy({ $0.form == nil }), let all = shape.first else { return nil }
            let (key, value) = try (rows("key_length", layer), rows("value_length", layer))
            guard key > 0, value > 0, all > key, all - key > value else {
                throw GGUFModelRule.heads.broken(
                    "has \(all) rows, and \(key) of keys and \(value) of values leave none for queries", tensor: name,
                    help: "\(architecture.name).attention.head_count_kv, key_length and value_length say how many they are")
            }
            var first = 0
            let pieces = try zip(places, [all - key - value, key, value]).map { place, rows in
                let order = try place.rowOrder.map { try stored($0, name, rows) }
                let own = [rows] + shape.dropFirst()
                defer { first += own.elementCount ?? 0 }
                return GGUFTensor.Piece(name: ExactString(place.hub), shape: own, first: first, order: order)
            }
            return Placed(pieces: pieces)
        case "ffn_gate_up_exps":
            guard let places = places(["ffn_gate_exps", "ffn_up_exps"]), places.allSatisfy({ $0.isStack && $0.form == nil }) else { return nil }
            guard shape.count == 3, shape[0] <= 4096, shape[1] % 2 == 0 else {
                throw GGUFModelRule.place.broken("has the shape \(shape), and a stack of experts with two projections each is expected", tensor: name)
            }
            let own = [shape[1] / 2, shape[2]]
            let pieces = (0..<(2 * shape[0])).map { number in
                GGUFTensor.Piece(
                    name: ExactString(places[number % 2].hubName(expert: number / 2)), shape: own, first: number * (own.elementCount ?? 0), order: nil)
            }
            return Placed(pieces: pieces, isStack: true)
        default: return nil
        }
    }

    /// The rows of all keys or values in a layer.
    private func rows(_ key: String, _ layer: Int) throws -> Int {
        let front = "\(architecture.name).attention."
        let pattern = try GGUFPlacement.counts(file, front + "sliding_window_pattern")
        let isSliding = pattern.indices.contains(layer) && pattern[layer] != 0
        let own = isSliding ? try GGUFPlacement.counts(file, front + key + "_swa").first : nil
        let width = file.value(ExactString("\(architecture.name).embedding_length"))?.intValue ?? 0
        let heads = heads(layer)
        let length = try own ?? GGUFPlacement.counts(file, front + key).first ?? (heads.query > 0 ? width / heads.query : 0)
        let (rows, overflow) = heads.key.multipliedReportingOverflow(by: length)
        return overflow ? 0 : rows
    }

    // MARK: The order of rows

    /// One number, or one for each layer; a BOOL counts as 1.
    private static func counts(_ file: GGUFFile, _ key: String) throws -> [Int] {
        guard let value = file.value(ExactString(key)) else { return [] }
        func count(_ value: GGUFValue) -> Int { value.intValue ?? (value.boolValue == true ? 1 : 0) }
        if let array = value.arrayValue, array.count <= 4096 { return try file.elements(of: array).map(count) }
        return [count(value)]
    }

    private func heads(_ layer: Int) -> GGUFHeads {
        func count(_ counts: [Int]) -> Int { counts.count == 1 ? counts[0] : counts.indices.contains(layer) ? counts[layer] : 0 }
        return GGUFHeads(query: count(queries), key: count(keys))
    }

    /// The heads of the layer that a tensor is of.
    private func heads(_ name: ExactString) -> GGUFHeads {
        heads(name.text.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0)
    }

    private func stored(_ order: GGUFRowOrder, _ name: ExactString, _ rows: Int) throws -> GGUFTensor.Order {
        let heads = heads(name)
        guard let stored = order.ggufRows(count: rows, heads: heads) else {
            throw GGUFModelRule.heads.broken(
                "has \(rows) rows, which \(heads.query) heads of queries and \(heads.key) of keys do not divide: their order cannot be told",
                tensor: name, help: "\(architecture.name).attention.head_count and head_count_kv say how many heads there are")
        }
        let own = order == .rotaryKey ? heads.key : heads.query
        let run = order.runs(of: rows, heads: heads)?.first?.count
        return .init(
            kind: order, heads: heads, storedRows: stored, groupSize: run == nil ? rows / own : rows, runLength: run ?? 1)
    }

    // MARK: What the converter cuts and turns

    /// The shape of the Hub's tensor, and how the stored one lies in it.
    private func formed(_ place: GGUFPlace, _ name: ExactString, _ shape: Shape) throws -> (cut: GGUFCut?, shape: Shape) {
        let part = place.isStack ? Array(shape.dropFirst()) : shape
        switch place.form {
        case nil: return (nil, part)
        case .vector: return (nil, [shape.elementCount ?? 0])
        case .exponential(let isVector): return (nil, isVector ? [shape.elementCount ?? 0] : shape)
        case .filters:
            // (1, channels, 1, length) where the converter keeps ggml's dimensions.
            let plain = shape.count == 4 && shape[0] == 1 && shape[2] == 1 ? [shape[1], shape[3]] : shape
            guard plain.count == 2 else {
                throw GGUFModelRule.place.broken("has the shape \(shape), and a matrix is expected", tensor: name)
            }
            return (nil, [plain[0], 1, plain[1]])
        case .lengthened:
            guard let rows = shape.first else { return (nil, shape) }
            return (nil, [min(rows, layerVocabulary)] + shape.dropFirst())
        case .packed(let part, let isGrouped):
            let all = architecture.parts(ofHub: place.hub)
            let found = all.filter { shapes[ExactString($0.gguf)] != nil }
            guard found.count == all.count else {
                throw GGUFModelRule.place.broken("is one of \(all.count) parts of \(place.hub), and the file has \(found.count) of them", tensor: name)
            }
            let heads = GGUFPackedHeads(heads: heads(name), isGrouped: isGrouped)
            let cuts = found.compactMap { other -> Shape? in
                guard case .packed(let part, _) = other.form, let shape = shapes[ExactString(other.gguf)] else { return nil }
                return heads.cut(part: part, shape)?.shape
            }
            guard cuts.count == all.count, Set(cuts).count == 1, let (cut, whole) = heads.cut(part: part, shape) else {
                throw GGUFModelRule.heads.broken(
                    "has the shape \(shape), and \(heads.heads.query) heads of queries and \(heads.heads.key) of keys do not make it a part of \(place.hub)",
                    tensor: name, help: "\(architecture.name).attention.head_count and head_count_kv say how many heads there are")
            }
            return (cut, whole)
        case .some(let form):
            let others = architecture.parts(ofHub: place.hub).filter {
                $0.form?.isPart == true && $0.gguf != name.text && GGUFPlacement.fit(form, $0.form)
            }
            let other = others.lazy.compactMap { shapes[ExactString($0.gguf)] }.first
            guard !form.isPart || other != nil else {
                throw GGUFModelRule.place.broken("is one of two parts of \(place.hub), and the file has not the other", tensor: name)
            }
            guard let (cut, whole) = GGUFCut.of(form, shape, other: other, heads: linear) else {
                throw GGUFModelRule.place.broken(
                    "has the shape \(shape)\(other.map { ", and the other part of \(place.hub) the shape \($0)" } ?? "")", tensor: name)
            }
            return (cut, whole)
        }
    }

    /// Whether two forms are the two parts of one tensor.
    private static func fit(_ one: GGUFForm, _ other: GGUFForm?) -> Bool {
        switch (one, other) {
        case (.rows(let a), .rows(let b)), (.linearProjection(let a), .linearProjection(let b)): a != b
        case (.columns(let a, _), .columns(let b, _)): a != b
        case (.latentKeys, .latentValues), (.latentValues, .latentKeys): true
        default: false
        }
    }
}
