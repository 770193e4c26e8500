public import ByteAccess
import Containers
public import Tensors

/// A GGUF file read as the model that it was converted from: the Hub's names, the Hub's order of rows, blocks dequantised.
///
/// Where some tensors are blocks, every tensor of numbers has the checkpoint's dtype in a plain checkpoint, as the model had before it
/// was converted; the F32 of norms is llama.cpp's. Where none is, each keeps its own, and `--dtype` reaches the norms too.
public struct GGUFModel: Sendable {
    /// `general.architecture`, with its names and orders.
    public let architecture: GGUFArchitecture
    /// The stored tensors in the order of the file, each with what it is in the Hub's model.
    public private(set) var tensors: [GGUFTensor] = []

    /// - Returns: nil for a file that is no model: an adapter, a vocabulary.
    /// - Throws: a `GGUFModelRule`, or what a scheme of quantisation refuses.
    init?(_ stored: Checkpoint) throws {
        guard let file = stored.shards.first?.file as? GGUFFile, file.value("general.type")?.stringValue ?? "model" == "model",
            let name = file.value("general.architecture")?.stringValue, !stored.tensors.isEmpty,
            !stored.tensors.contains(where: { $0.name.text.hasSuffix(".lora_a") })
        else { return nil }
        guard let architecture = GGUFArchitecture.named(name) else {
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\", which is not read under the Hub's names",
                help: "use the safetensors checkpoint that it was made from")
        }
        self.architecture = architecture
        if let key = architecture.reorderedWith, file.value(ExactString("\(name).\(key)")) != nil {
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\" with \(key), whose queries and keys are in an order that is not read",
                help: "use the safetensors checkpoint that it was made from")
        }
        let names = Set(stored.tensors.map(\.name))
        let queries = try GGUFModel.counts(file, "\(name).attention.head_count")
        let keys = try GGUFModel.counts(file, "\(name).attention.head_count_kv")
        let title = GGUFBlocks.title(stored)
        for tensor in stored.tensors {
            let blocks = stored.blocks(of: tensor)
            let type = blocks?.type ?? GGUFType(tensor.dtype) ?? .f32
            if blocks != nil { try GGUFBlocks.requireReadable(type, tensor: tensor.name, title: title) }
            let shape = blocks?.shape ?? tensor.shape
            let place = try place(of: tensor.name, among: names)
            let isTransposed = place?.isTransposed ?? false
            guard !isTransposed || shape.count == 2 else {
                throw GGUFModelRule.place.broken("has the shape \(shape), and a matrix is expected", tensor: tensor.name)
            }
            tensors.append(
                GGUFTensor(
                    stored: tensor, type: type, shape: shape, names: try place.map { try self.names($0, tensor.name, shape) } ?? [],
                    isStack: place?.isStack ?? false,
                    order: try place?.rowOrder.map { try order($0, tensor.name, shape, queries, keys.isEmpty ? queries : keys) },
                    isTransposed: isTransposed, shift: GGUFModel.shift(of: tensor.name, in: architecture)))
        }
    }

    /// One number, or one for each layer.
    private static func counts(_ file: GGUFFile, _ key: String) throws -> [Int] {
        guard let value = file.value(ExactString(key)) else { return [] }
        if let array = value.arrayValue, array.count <= 4096 { return try file.elements(of: array).map { $0.intValue ?? 0 } }
        return [value.intValue ?? 0]
    }

    /// The name of a tensor that is stored alone; nil for an expert's matrix, and for what the architecture has not.
    public static func name(ofHub name: ExactString, in architecture: GGUFArchitecture) -> ExactString? {
        guard let place = architecture.place(ofHub: name.text), !place.isStack, place.rowOrder == nil, !place.isTransposed else { return nil }
        return ExactString(place.gguf)
    }

    /// The `model_type` of the checkpoint that it was made from, where memory calls its experts otherwise than the Hub's file does and a
    /// config.json would tell: `block_sparse_moe.experts.0.w1` is a part of `mlp.experts.gate_up_proj`. Nil for any other.
    public var expertsModelType: String? {
        guard tensors.contains(where: { $0.isStack && $0.names.first?.text.contains(".block_sparse_moe.") == true }) else { return nil }
        return architecture.name == "llama" ? "mixtral" : architecture.modelTypes.first
    }

    /// What the converter added to the elements of a tensor.
    public static func shift(of name: ExactString, in architecture: GGUFArchitecture) -> Double {
        name.text.hasSuffix("norm.weight") ? architecture.normOffset : 0
    }

    /// Tensors that the converter computes from the config; the Hub's model has none of them.
    private static let computed: Set<ExactString> = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"]

    /// - Returns: nil for a tensor that was computed.
    private func place(of name: ExactString, among names: Set<ExactString>) throws -> GGUFPlace? {
        if let place = architecture.place(ofGGUF: name.text, isThere: { names.contains(ExactString($0)) }) { return place }
        guard !GGUFModel.computed.contains(name) else { return nil }
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

    private func order(
        _ order: GGUFRowOrder, _ name: ExactString, _ shape: Shape, _ queries: [Int], _ keys: [Int]
    ) throws -> GGUFTensor.Order {
        let layer = name.text.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0
        func count(_ counts: [Int]) -> Int { counts.count == 1 ? counts[0] : counts.indices.contains(layer) ? counts[layer] : 0 }
        let heads = GGUFHeads(query: count(queries), key: count(keys))
        let rows = shape.first ?? 0
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

    /// What is rounded although the file has it as numbers: the F32 of norms and biases, where blocks are written in `dtype`, or by
    /// default in the checkpoint's; nil where nothing is.
    public func roundingNote(dtype: DType?, of checkpoint: Checkpoint) -> String? {
        guard tensors.contains(where: { $0.type.dtype == nil }), let dtype = dtype ?? checkpoint.quantisation?.dtype, dtype.bits < 32
        else { return nil }
        let rounded = tensors.filter { $0.type.dtype == .f32 && !$0.names.isEmpty }.count
        guard rounded > 0 else { return nil }
        return "\(rounded) tensor\(rounded == 1 ? "" : "s") that the GGUF file has in F32 (norms, biases) \(rounded == 1 ? "is" : "are") "
            + "written in \(dtype.rawValue) like its matrices: --dtype f32 keeps every bit"
    }

    /// The checkpoint under the Hub's names.
    fileprivate func checkpoint(_ stored: Checkpoint) -> Checkpoint {
        let isQuantised = tensors.contains { $0.type.dtype == nil }
        var plain: [StoredTensor] = []
        var weights: [any QuantisedWeight] = []
        for tensor in tensors {
            if let name = tensor.names.first, !tensor.needsReader(isQuantised: isQuantised) {
                var renamed = tensor.stored
                renamed.info.name = name
                plain.append(renamed)
                continue
            }
            for weight in tensor.weights(plainDType: isQuantised ? nil : tensor.type.dtype) {
                plain.append(StoredTensor(weight, at: weights.count, shard: tensor.stored.shard))
                weights.append(weight)
            }
        }
        var result = Checkpoint(
            stored: stored, tensors: plain,
            quantisation: Quantisation(
                scheme: GGUFBlocks.title(stored), weights: weights, dropped: tensors.filter(\.names.isEmpty).map(\.stored),
                dtype: Quantisation.dtype(of: stored.config), components: ComponentReader(stored)))
        result.gguf = self
        return result
    }
}

extension Checkpoint {
    /// The architecture of a GGUF model that stands under llama.cpp's own names and not under the Hub's; nil for anything else.
    public var unnamedArchitecture: String? {
        guard isGGUF, gguf == nil, let file = shards.first?.file as? GGUFFile,
            file.value("general.type")?.stringValue ?? "model" == "model"
        else { return nil }
        return file.value("general.architecture")?.stringValue
    }

    /// A GGUF model as the Hub has it; anything else as it is. Never throws: what stands in the way is in `quantisation.problem`, and
    /// the tensors then keep their names.
    func asModel() -> Checkpoint {
        guard isGGUF else { return dequantised() }
        do {
            guard let model = try GGUFModel(self) else { return dequantised() }
            return model.checkpoint(self)
        } catch {
            let known = (error as? PeftfileError) ?? PeftfileError(.io, "\(error)")
            return with(problem: known.inFile(path), scheme: GGUFBlocks.title(self))
        }
    }
}
