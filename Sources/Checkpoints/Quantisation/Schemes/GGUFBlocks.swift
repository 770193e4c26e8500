import ByteAccess
import Containers
import Tensors

/// The blocks of GGUF files: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, MXFP4, told by the type that the file gives each
/// tensor. `GGUFBlock` states the layouts.
///
/// `config.json` has no part in it. Other types (IQ…, Q2_K, Q3_K, TQ…, NVFP4) are listed and not read.
enum GGUFBlocks: QuantisationScheme {
    static let name = "GGUF"
    static let methods = ["gguf"]
    static let marks: [String] = []

    static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { checkpoint.blocks(of: $0) != nil }
    }

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        base.title = title(base.checkpoint)
        for tensor in base.tensors {
            guard let blocks = base.checkpoint.blocks(of: tensor) else { continue }
            try requireReadable(blocks.type, tensor: tensor.name, title: base.title)
            try base.add(GGUFWeight(name: tensor.name, shape: blocks.shape, codes: tensor, type: blocks.type))
        }
    }

    /// The types of blocks that a file has: `GGUF Q4_K, Q6_K`.
    static func title(_ checkpoint: Checkpoint) -> String {
        let types = Set(checkpoint.tensors.compactMap { checkpoint.blocks(of: $0)?.type ?? GGUFType($0.dtype) })
        return "GGUF " + types.sorted { $0.rawValue < $1.rawValue }.map(\.name).joined(separator: ", ")
    }

    static func requireReadable(_ type: GGUFType, tensor: ExactString, title: String) throws(PeftfileError) {
        guard GGUFBlock.types.contains(type) else {
            throw QuantisationRule.unsupportedPacking.broken(
                title, "blocks of \(type.name) are not read", tensor: tensor,
                help: "take a file of Q8_0, Q6_K, Q5_K, Q4_K, F16 or BF16, or the safetensors checkpoint that it was made from")
        }
    }
}

extension Checkpoint {
    /// The blocks of a stored tensor; nil where it is plain numbers.
    func blocks(of tensor: StoredTensor) -> TensorBlocks? { shards[tensor.shard].file.blocks(of: tensor.info) }

    /// The type that a tensor's elements have in the file: its dtype, the type of its blocks, or for a weight that is computed
    /// when it is read that of its codes. Parts of several types are named with all of them.
    public func storedType(of tensor: StoredTensor) -> String {
        guard let number = tensor.quantised, let weight = quantisation?.weights[number] else {
            return blocks(of: tensor)?.type.name ?? tensor.dtype.rawValue
        }
        guard let weight = weight as? GGUFWeight else { return weight.codes.dtype.rawValue }
        let types = Set(weight.parts.map(\.type)).union(weight.parts.isEmpty ? [weight.type] : [])
        return types.map(\.name).sorted().joined(separator: ", ")
    }

    /// Whether all tensors come from GGUF files.
    var isGGUF: Bool { !shards.isEmpty && shards.allSatisfy { $0.file.kind == .gguf } }
}
