import ByteAccess
import Containers
import Tensors

/// A GGUF file read as the model that it was converted from: the Hub's names, the Hub's order of rows, blocks dequantised.
///
/// Where some tensors are blocks, every tensor of numbers has the checkpoint's dtype in a plain checkpoint, as the model had before it
/// was converted; the F32 of norms is llama.cpp's. Where none is, each keeps its own, and `--dtype` reaches the norms too.
public struct GGUFModel: Sendable {
    public let architecture: GGUFArchitecture
    /// The stored tensors in the order of the file, each with what it is in the Hub's model.
    public private(set) var tensors: [GGUFTensor] = []
    private let queryHeads: [Int]
    private let keyHeads: [Int]

    /// - Returns: nil for a file that is no model: an adapter, a vocabulary.
    /// - Throws: a `GGUFModelRule`, or what a scheme of quantisation refuses.
    init?(_ stored: Checkpoint) throws {
        guard let file = stored.shards.first?.file as? GGUFFile, file.value("general.type")?.stringValue ?? "model" == "model",
            let name = file.value("general.architecture")?.stringValue, !stored.tensors.isEmpty,
            !stored.tensors.contains(where: { $0.name.text.hasSuffix(".lora_a") })
        else { return nil }
        let experts = file.value(ExactString("\(name).expert_count"))?.intValue ?? 0
        guard let architecture = GGUFArchitecture.named(name, hasExperts: experts > 0) else {
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\", whose tensors are not known by the Hub's names",
                help: "use the safetensors checkpoint that it was made from")
        }
        self.architecture = architecture
        queryHeads = try GGUFModel.counts(file, "\(name).attention.head_count")
        let keys = try GGUFModel.counts(file, "\(name).attention.head_count_kv")
        keyHeads = keys.isEmpty ? queryHeads : keys
        let title = GGUFBlocks.title(stored)
        for tensor in stored.tensors {
            let blocks = stored.blocks(of: tensor)
            let type = blocks?.type ?? GGUFType(tensor.dtype) ?? .f32
            if blocks != nil { try GGUFBlocks.requireReadable(type, tensor: tensor.name, title: title) }
            let shape = blocks?.shape ?? tensor.shape
            tensors.append(
                GGUFTensor(
                    stored: tensor, type: type, shape: shape, names: try names(of: tensor, shape),
                    isStack: architecture.isStack(tensor.name),
                    heads: try heads(of: tensor, shape), shift: architecture.shift(of: tensor.name)))
        }
    }

    /// One number, or one for each layer.
    private static func counts(_ file: GGUFFile, _ key: String) throws -> [Int] {
        guard let value = file.value(ExactString(key)) else { return [] }
        if let array = value.arrayValue, array.count <= 4096 { return try file.elements(of: array).map { $0.intValue ?? 0 } }
        return [value.intValue ?? 0]
    }

    private func names(of tensor: StoredTensor, _ shape: Shape) throws -> [ExactString] {
        switch architecture.place(of: tensor.name) {
        case .computed: return []
        case .tensor(let name): return [name]
        case .experts(let path, let name):
            guard shape.count == 3, shape[0] <= 4096 else {
                throw GGUFModelRule.place.broken("has the shape \(shape), and a stack of experts is expected", tensor: tensor.name)
            }
            return (0..<shape[0]).map { ExactString("\(path).\($0).\(name)") }
        case nil:
            throw GGUFModelRule.place.broken(
                "has no place that is known in a model of the architecture \"\(architecture.name)\"", tensor: tensor.name,
                help: "use the safetensors checkpoint that it was made from")
        }
    }

    private func heads(of tensor: StoredTensor, _ shape: Shape) throws -> Int? {
        guard let kind = architecture.heads(of: tensor.name) else { return nil }
        let counts = kind == .queries ? queryHeads : keyHeads
        let layer = tensor.name.text.split(separator: ".").dropFirst().first.flatMap { Int($0) } ?? 0
        let heads = counts.count == 1 ? counts[0] : counts.indices.contains(layer) ? counts[layer] : 0
        let rows = shape.first ?? 0
        guard heads > 0, rows % heads == 0, rows / heads % 2 == 0 else {
            throw GGUFModelRule.heads.broken(
                "has \(rows) rows, which \(heads) heads do not divide into pairs: their order cannot be told", tensor: tensor.name,
                help: "\(architecture.name).attention.head_count and head_count_kv say how many heads there are")
        }
        return heads
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
