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
        guard var architecture = GGUFArchitecture.named(name, isThere: { file.value(ExactString($0)) != nil }) else {
            let reason = GGUFModel.unread[name].map { ": \($0)" } ?? ""
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\", which is not read under the Hub's names\(reason)",
                help: "use the safetensors checkpoint that it was made from")
        }
        if architecture.hasPredictors, let blocks = file.value(ExactString("\(name).block_count"))?.intValue,
            let predictors = file.value(ExactString("\(name).nextn_predict_layers"))?.intValue, (1..<max(2, blocks)).contains(predictors)
        {
            architecture.layers = blocks - predictors
        }
        self.architecture = architecture
        if let key = architecture.reorderedWith, file.value(ExactString("\(name).\(key)")) != nil {
            throw GGUFModelRule.architecture.broken(
                "is a model of the architecture \"\(name)\" with \(key), whose queries and keys are in an order that is not read",
                help: "use the safetensors checkpoint that it was made from")
        }
        let placement = try GGUFPlacement(stored, file, architecture)
        let title = GGUFBlocks.title(stored)
        var claimed: Set<ExactString> = []
        for tensor in stored.tensors {
            let blocks = stored.blocks(of: tensor)
            let type = blocks?.type ?? GGUFType(tensor.dtype) ?? .f32
            if blocks != nil { try GGUFBlocks.requireReadable(type, tensor: tensor.name, title: title) }
            let placed = try placement.place(tensor.name)
            for piece in placed.pieces {
                guard claimed.insert(piece.name).inserted || placed.form?.isPart == true else {
                    throw GGUFModelRule.place.broken("is \(piece.name) like another tensor of the file", tensor: tensor.name)
                }
            }
            tensors.append(
                GGUFTensor(
                    stored: tensor, type: type, shape: blocks?.shape ?? tensor.shape, pieces: placed.pieces, isStack: placed.isStack,
                    form: placed.form, cut: placed.cut, shift: GGUFModel.shift(of: tensor.name, in: architecture)))
        }
        numbers = try GGUFModel.numbers(file, architecture)
    }

    /// Architectures that are known and not read, and why.
    private static let unread = [
        "bitnet": "its converter rounds the weights to -1, 0 and 1 times a number, and the file does not keep the model's own",
        "nomic-bert-moe": "its converter leaves the bias of the experts out",
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

    /// The name of a tensor that is stored alone; nil for an expert's matrix, and for what the architecture has not.
    public static func name(ofHub name: ExactString, in architecture: GGUFArchitecture) -> ExactString? {
        guard let place = architecture.place(ofHub: name.text), !place.isStack, place.rowOrder == nil, place.form == nil else { return nil }
        return ExactString(place.gguf)
    }

    /// The stored tensor that is one of the Hub's, row for row and number for number; nil where there is none.
    public func tensorAlone(_ name: ExactString) -> GGUFTensor? {
        tensors.first { tensor in
            tensor.pieces.count == 1 && tensor.pieces[0].name == name && tensor.pieces[0].order == nil && tensor.cut == nil && tensor.form == nil
                && tensor.shift == 0 && !tensor.isStack
        }
    }

    /// The stored tensor in which the converter joined one of the Hub's with others; nil where it did not.
    public func joined(_ name: ExactString) -> ExactString? {
        tensors.first { tensor in
            tensor.pieces.count > 1 && tensor.pieces.contains { $0.name == name } && architecture.place(ofGGUF: tensor.stored.name.text) == nil
        }?.stored.name
    }

    /// The `model_type` of the checkpoint that it was made from, where memory calls its experts otherwise than the Hub's file does and a
    /// config.json would tell: `block_sparse_moe.experts.0.w1` is a part of `mlp.experts.gate_up_proj`. Nil for any other.
    public var expertsModelType: String? {
        if architecture.tellsModelType { return architecture.kinds.first }
        guard tensors.contains(where: { $0.isStack && $0.pieces.first?.name.text.contains(".block_sparse_moe.") == true }) else { return nil }
        return architecture.name == "llama" ? "mixtral" : architecture.modelTypes.first
    }

    /// What the converter added to the elements of a tensor.
    public static func shift(of name: ExactString, in architecture: GGUFArchitecture) -> Double {
        name.text.hasSuffix("norm.weight") && !name.text.hasSuffix(".ssm_norm.weight") ? architecture.normOffset : 0
    }

    /// What is rounded although the file has it as numbers: the F32 of norms and biases, where blocks are written in `dtype`, or by
    /// default in the checkpoint's; nil where nothing is.
    public func roundingNote(dtype: DType?, of checkpoint: Checkpoint) -> String? {
        guard tensors.contains(where: { $0.type.dtype == nil }), let dtype = dtype ?? checkpoint.quantisation?.dtype, dtype.bits < 32
        else { return nil }
        let rounded = tensors.filter { $0.type.dtype == .f32 && !$0.pieces.isEmpty }.count
        guard rounded > 0 else { return nil }
        return "\(rounded) tensor\(rounded == 1 ? "" : "s") that the GGUF file has in F32 (norms, biases) \(rounded == 1 ? "is" : "are") "
            + "written in \(dtype.rawValue) like its matrices: --dtype f32 keeps every bit"
    }

    /// What is not known to the last bit: A_log, where it is written as numbers of its own; nil where there is none.
    public var logarithmNote: String? {
        let count = tensors.count { $0.form?.isExponential == true }
        guard count > 0 else { return nil }
        return "\(count) tensor\(count == 1 ? "" : "s") (A_log) \(count == 1 ? "is" : "are") the logarithm of what the GGUF file has, -exp(A_log) "
            + "in F32: in BF16 \(count == 1 ? "it is" : "they are") a BF16 model's own, in F32 the last bits may differ"
    }

    /// The checkpoint under the Hub's names.
    fileprivate func checkpoint(_ stored: Checkpoint) -> Checkpoint {
        let isQuantised = tensors.contains { $0.type.dtype == nil }
        var plain: [StoredTensor] = []
        var weights: [any QuantisedWeight] = []
        let parts = Dictionary(grouping: tensors.filter { $0.form?.isPart == true }) { $0.pieces.first?.name }
        for tensor in tensors {
            if let piece = tensor.pieces.first, !tensor.needsReader(isQuantised: isQuantised) {
                var renamed = tensor.stored
                renamed.info.name = piece.name
                renamed.info.shape = piece.shape
                plain.append(renamed)
                continue
            }
            // A tensor of several parts has the place of the first.
            let all = tensor.form?.isPart == true ? parts[tensor.pieces.first?.name] ?? [] : []
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
                scheme: GGUFBlocks.title(stored), weights: weights, dropped: tensors.filter(\.pieces.isEmpty).map(\.stored),
                dtype: Quantisation.dtype(of: stored.config), components: ComponentReader(stored)))
        result.gguf = self
        return result
    }
}

extension Checkpoint {
    /// Opens a checkpoint as ``open(_:entire:)`` does, and a GGUF model of an architecture without a table under llama.cpp's own names:
    /// its numbers are still its numbers.
    ///
    /// - Throws: what opening throws; what else stands in the way of its weights is in `quantisation.problem`.
    public static func openUnderAnyNames(_ path: String) throws -> Checkpoint {
        let named = try open(path)
        return named.quantisation?.problem?.rule == GGUFModelRule.architecture.rawValue ? try open(path, entire: true) : named
    }

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
