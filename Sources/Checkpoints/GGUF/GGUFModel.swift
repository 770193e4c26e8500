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
    /// Tensors of the Hub's model that the file has among its metadata, each a number: the activation's of Apertus.
    public private(set) var numbers: [StoredTensor] = []

    /// - Returns: nil for a file that is no model: an adapter, a vocabulary.
    /// - Throws: a `GGUFModelRule`, or what a scheme of quantisation refuses.
    init?(_ stored: Checkpoint) throws {
        guard let file = stored.shards.first?.file as? GGUFFile, file.value("general.type")?.stringValue ?? "model" == "model",
            let name = file.value("general.architecture")?.stringValue, !stored.tensors.isEmpty,
            !stored.tensors.contains(where: { $0.name.text.hasSuffix(".lora_a") })
        else { return nil }
        guard let architecture = GGUFArchitecture.named(name, isThere: { file.value(ExactString($0)) != nil }) else {
            let reason = GGUFModel.unread[name].map { ": \($0)" } ?? ""
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\", which is not read under the Hub's names\(reason)",
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
        let shapes = Dictionary(stored.tensors.map { ($0.name, stored.blocks(of: $0)?.shape ?? $0.shape) }) { first, _ in first }
        var claimed: [ExactString: Int] = [:]
        for tensor in stored.tensors {
            let blocks = stored.blocks(of: tensor)
            let type = blocks?.type ?? GGUFType(tensor.dtype) ?? .f32
            if blocks != nil { try GGUFBlocks.requireReadable(type, tensor: tensor.name, title: title) }
            let shape = blocks?.shape ?? tensor.shape
            let place = try place(of: tensor.name, among: names)
            let names = try place.map { try self.names($0, tensor.name, shape) } ?? []
            let formed = try place.map { try self.formed($0, tensor.name, shape, shapes) }
            for name in names {
                claimed[name, default: 0] += 1
                guard claimed[name] == 1 || place?.form?.isPart == true else {
                    throw GGUFModelRule.place.broken("is \(name) like another tensor of the file", tensor: tensor.name)
                }
            }
            tensors.append(
                GGUFTensor(
                    stored: tensor, type: type, shape: shape, names: names, isStack: place?.isStack ?? false,
                    order: try place?.rowOrder.map { try order($0, tensor.name, shape, queries, keys.isEmpty ? queries : keys) },
                    form: place?.form, cut: formed?.cut, modelShape: formed?.shape ?? shape,
                    shift: GGUFModel.shift(of: tensor.name, in: architecture)))
        }
        numbers = try GGUFModel.numbers(file, architecture)
    }

    /// Architectures that are known and not read, and why.
    private static let unread = [
        "falcon-h1": "its converter multiplies the weights with numbers of the config, which the file does not keep",
    ]

    /// The numbers among the metadata that are tensors of the Hub's, in F32 as the file has them.
    private static func numbers(_ file: GGUFFile, _ architecture: GGUFArchitecture) throws -> [StoredTensor] {
        try architecture.numbers.flatMap { key, hub, shape -> [StoredTensor] in
            guard let array = file.value(ExactString(key))?.arrayValue else { return [] }
            guard array.elementType == .float32, array.count <= 4096 else {
                throw GGUFModelRule.place.broken("has \(key), which is no array of FLOAT32, a number for each layer")
            }
            return (0..<array.count).map { layer in
                let begin = array.range.lowerBound + 4 * UInt64(layer)
                let name = hub.split(separator: ".").map { $0 == "{n}" ? "\(layer)" : String($0) }.joined(separator: ".")
                return StoredTensor(
                    info: TensorInfo(name: ExactString(name), dtype: .f32, shape: shape, begin: begin, end: begin + 4), shard: 0)
            }
        }
    }

    /// The shape of the Hub's tensor, and how the stored one lies in it.
    private func formed(
        _ place: GGUFPlace, _ name: ExactString, _ shape: Shape, _ shapes: [ExactString: Shape]
    ) throws -> (cut: GGUFCut?, shape: Shape) {
        let part = place.isStack ? Array(shape.dropFirst()) : shape
        switch place.form {
        case nil: return (nil, part)
        case .vector: return (nil, [shape.elementCount ?? 0])
        case .exponential(let isVector): return (nil, isVector ? [shape.elementCount ?? 0] : shape)
        case .filters:
            guard shape.count == 2 else {
                throw GGUFModelRule.place.broken("has the shape \(shape), and a matrix is expected", tensor: name)
            }
            return (nil, [shape[0], 1, shape[1]])
        case .some(let form):
            let others = architecture.parts(ofHub: place.hub).filter { $0.form?.isPart == true && $0.gguf != name.text && GGUFModel.fit(form, $0.form) }
            let other = others.lazy.compactMap { shapes[ExactString($0.gguf)] }.first
            guard !form.isPart || other != nil else {
                throw GGUFModelRule.place.broken("is one of two parts of \(place.hub), and the file has not the other", tensor: name)
            }
            guard let (cut, whole) = GGUFCut.of(form, shape, other: other) else {
                throw GGUFModelRule.place.broken(
                    "has the shape \(shape)\(other.map { ", and the other part of \(place.hub) the shape \($0)" } ?? "")", tensor: name)
            }
            return (cut, whole)
        }
    }

    /// Whether two forms are the two parts of one tensor.
    private static func fit(_ one: GGUFForm, _ other: GGUFForm?) -> Bool {
        switch (one, other) {
        case (.rows(let a), .rows(let b)): a != b
        case (.columns(let a, _), .columns(let b, _)): a != b
        case (.latentKeys, .latentValues), (.latentValues, .latentKeys): true
        default: false
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
        guard let place = architecture.place(ofHub: name.text), !place.isStack, place.rowOrder == nil, place.form == nil else { return nil }
        return ExactString(place.gguf)
    }

    /// The `model_type` of the checkpoint that it was made from, where memory calls its experts otherwise than the Hub's file does and a
    /// config.json would tell: `block_sparse_moe.experts.0.w1` is a part of `mlp.experts.gate_up_proj`. Nil for any other.
    public var expertsModelType: String? {
        if architecture.tellsModelType { return architecture.modelTypes.first ?? GGUFModel.variants[architecture.name] }
        guard tensors.contains(where: { $0.isStack && $0.names.first?.text.contains(".block_sparse_moe.") == true }) else { return nil }
        return architecture.name == "llama" ? "mixtral" : architecture.modelTypes.first
    }

    /// The `model_type` of architectures that are a variant of another's.
    private static let variants = ["nemotron_h_moe": "nemotron_h"]

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

    /// What is not known to the last bit: A_log, where it is written as numbers of its own; nil where there is none.
    public var logarithmNote: String? {
        let count = tensors.count { if case .exponential = $0.form { true } else { false } }
        guard count > 0 else { return nil }
        return "\(count) tensor\(count == 1 ? "" : "s") (A_log) \(count == 1 ? "is" : "are") the logarithm of what the GGUF file has, -exp(A_log) "
            + "in F32: in BF16 \(count == 1 ? "it is" : "they are") a BF16 model's own, in F32 the last bits may differ"
    }

    /// The checkpoint under the Hub's names.
    fileprivate func checkpoint(_ stored: Checkpoint) -> Checkpoint {
        let isQuantised = tensors.contains { $0.type.dtype == nil }
        var plain: [StoredTensor] = []
        var weights: [any QuantisedWeight] = []
        let parts = Dictionary(grouping: tensors.filter { $0.form?.isPart == true }) { $0.names.first }
        for tensor in tensors {
            if let name = tensor.names.first, !tensor.needsReader(isQuantised: isQuantised) {
                var renamed = tensor.stored
                renamed.info.name = name
                renamed.info.shape = tensor.modelShape
                plain.append(renamed)
                continue
            }
            // A tensor of several parts has the place of the first.
            let all = tensor.form?.isPart == true ? parts[tensor.names.first] ?? [] : []
            guard all.first.map({ $0.stored.name == tensor.stored.name }) ?? true else { continue }
            let types = Set(all.map(\.type))
            let dtype = types.count > 1 ? .f32 : tensor.type.dtype
            for weight in tensor.weights(plainDType: isQuantised ? nil : dtype, others: Array(all.dropFirst())) {
                plain.append(StoredTensor(weight, at: weights.count, shard: tensor.stored.shard))
                weights.append(weight)
            }
        }
        for number in numbers {
            let weight = GGUFWeight(
                name: number.name, shape: number.shape, codes: number, type: .f32, plainDType: isQuantised ? nil : .f32)
            plain.append(StoredTensor(weight, at: weights.count, shard: number.shard))
            weights.append(weight)
        }
        var result = Checkpoint(
            stored: stored, tensors: StoredTensors(plain),
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
