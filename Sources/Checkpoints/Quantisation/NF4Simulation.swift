public import ByteAccess
import Tensors

/// What QLoRA made of a 16-bit base before it trained: each linear layer but the head in NF4, and back.
///
/// The layers are those that transformers' `replace_with_bnb_linear` replaces, as far as a checkpoint tells them: matrices named
/// `….weight` that are neither embeddings nor an output head (`get_keys_to_not_convert`). Arithmetic is that of bitsandbytes on the
/// CPU; `NF4RoundTripWeight` states it.
public struct NF4Simulation: Sendable, Hashable {
    /// Elements of a block: 32, 64, 128 and so on to 4096.
    public var blockSize: Int
    /// Whether the blocks' magnitudes are quantised again.
    public var doubleQuantisation: Bool

    /// - Throws: `.usage` for a block size that bitsandbytes does not have.
    public init(blockSize: Int = 64, doubleQuantisation: Bool = false) throws {
        guard NF4Simulation.blockSizes.contains(blockSize) else {
            throw PeftfileError(
                .usage, "--block-size \(blockSize): "
                    + NF4Simulation.blockSizes.map { String($0) }.joined(separator: ", "), rule: "BlockSize")
        }
        self.blockSize = blockSize
        self.doubleQuantisation = doubleQuantisation
    }

    /// What `quantize_4bit` takes.
    static let blockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]

    /// As the receipt records it.
    public var json: JSONValue {
        .object([
            "as": "nf4", "block_size": .number(JSONNumber(blockSize)), "double_quant": .bool(doubleQuantisation),
        ])
    }

    /// Whether QLoRA would have quantised a tensor of a model of this `model_type`.
    static func quantises(_ tensor: StoredTensor, model: String = "") -> Bool {
        guard [.bf16, .f16, .f32].contains(tensor.dtype), tensor.shape.count == 2, tensor.info.elementCount > 0,
            tensor.name.text.hasSuffix(".weight")
        else { return false }
        let path = String(tensor.name.text.dropLast(7))
        let module = path.split(separator: ".").last.map(String.init) ?? ""
        if heads.contains(module) || tables.contains(module) || bareHeads.contains(path) { return false }
        if let kept = keptInF32[model], path.split(separator: ".").contains(where: { kept == $0 }) { return false }
        // Decoders of masked language models stand inside their head, whose other matrices are quantised.
        if path.hasSuffix("predictions.decoder") || path.hasSuffix("lm_head.decoder") { return false }
        return !module.hasPrefix("embed") && !module.hasSuffix("embeddings") && !module.hasSuffix("embedding") && !module.hasSuffix("norm")
    }

    /// What `get_output_embeddings` returns, and the last modules of models with a head.
    private static let heads: Set<String> = [
        "lm_head", "embed_out", "score", "classifier", "qa_outputs", "output_projection", "output_layer", "lm_loss", "proj_out",
        "generator_lm_head", "vocab_projector", "classification_head", "cls_head",
    ]
    /// Heads by their whole path: InternLM2's, RWKV's, ModernBERT's.
    private static let bareHeads: Set<String> = ["output", "head", "decoder"]
    /// Linear layers that `_keep_in_fp32_modules` of the model's class takes out, in transformers 4 and 5.
    private static let keptInF32 = [
        "t5": "wo", "mt5": "wo", "umt5": "wo", "udop": "wo", "pop2piano": "wo", "blip-2": "qformer",
    ]
    private static let tables: Set<String> = [
        "wte", "wpe", "shared", "relative_attention_bias", "tok_embeddings", "embed_positions", "codebook",
    ]
}

extension Checkpoint {
    /// The checkpoint with its linear layers taken through NF4.
    ///
    /// - Throws: `.refused` where the weights are quantised already, or none would be quantised.
    public func simulating(_ simulation: NF4Simulation) throws -> Checkpoint {
        if let quantisation {
            throw PeftfileError(
                .refused, "its weights are stored quantised already (\(quantisation.scheme)), and --base-as nf4 is for a base in 16 bits",
                file: path, rule: "BaseAs", help: "give the 16-bit base, or leave --base-as out")
        }
        let model = config?["model_type"]?.stringValue ?? ""
        guard !["gpt2", "openai-gpt", "imagegpt", "ctrl"].contains(model) else {
            throw PeftfileError(
                .refused, "bitsandbytes turns the matrices of \(model) before it quantises them, which is not built", file: path,
                rule: "BaseAs")
        }
        // In transformers 4 the experts are modules and most routers too, in 5 both are bare parameters that bitsandbytes leaves alone.
        if let expert = tensors.first(where: { $0.name.text.contains(".experts.") || $0.name.text.contains(".block_sparse_moe.") }) {
            throw PeftfileError(
                .refused, "belongs to a mixture of experts, and whether QLoRA quantised these depends on the version of transformers that trained",
                file: path, tensor: expert.name, rule: "BaseAs",
                help: "save the base in NF4 with the libraries of the training (load_in_4bit, save_pretrained), and merge onto that")
        }
        var weights: [any QuantisedWeight] = []
        var plain: [StoredTensor] = []
        for tensor in tensors {
            guard NF4Simulation.quantises(tensor, model: model) else {
                plain.append(tensor)
                continue
            }
            plain.append(StoredTensor(NF4RoundTripWeight(tensor, simulation), at: weights.count, shard: tensor.shard))
            weights.append(NF4RoundTripWeight(tensor, simulation))
        }
        guard !weights.isEmpty else {
            throw PeftfileError(.refused, "has no linear layer that QLoRA would quantise", file: path, rule: "BaseAs")
        }
        return Checkpoint(
            stored: self, tensors: StoredTensors(plain),
            quantisation: Quantisation(
                scheme: "16-bit weights as NF4, blocks of \(simulation.blockSize)"
                    + (simulation.doubleQuantisation ? ", double quantisation" : ""),
                weights: weights, dtype: Quantisation.dtype(of: config), simulation: simulation, components: ComponentReader(self)))
    }

    /// The simulation that this checkpoint's weights are taken through.
    public var simulation: NF4Simulation? { quantisation?.simulation }
}
