import ByteAccess
import Tensors

/// FP8 (E4M3) weights with one scale a tensor, a row or a block: `quant_method` fp8 and fbgemm_fp8.
///
/// | tensor | dtype, shape | W = |
/// |---|---|---|
/// | `m.weight` | F8_E4M3 (out, in) | |
/// | `m.weight_scale` | one element, or (out, 1) | code · scale |
/// | `m.weight_scale_inv` | (⌈out/b0⌉, ⌈in/b1⌉) | code · scale: the name says otherwise |
///
/// The block is `weight_block_size` of the config and nothing else; edges may be short. `input_scale`, `input_scale_ub`, `k_scale`
/// and `v_scale` are of activations. Source: `Fp8Dequantize` in transformers/integrations/finegrained_fp8.py.
enum FineGrainedFP8: QuantisationScheme {
    static let name = "FP8"
    static let methods = ["fp8", "fbgemm_fp8"]
    static let marks = [".weight_scale_inv", ".weight_scale"]
    static let activations = [
        ".input_scale", ".input_scale_ub", ".activation_scale", ".output_scale", ".k_scale", ".v_scale", ".q_scale", ".prob_scale",
        ".k_proj.output_scale", ".v_proj.output_scale",
    ]

    static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { tensor in
            let name = tensor.name.text
            return tensor.dtype == .f8E4M3 && name.hasSuffix(".weight")
                && marks.contains { checkpoint[ExactString(name.dropLast(7) + $0)] != nil }
        }
    }

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        let isFBGEMM = base.method == "fbgemm_fp8"
        base.title = isFBGEMM ? "FBGEMM FP8" : "FP8"
        if let format = try base.text("fmt"), format != "e4m3", format != "float8_e4m3fn" {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "the format \(format) is not read; E4M3 is")
        }
        var block: [Int]?
        if let value = base.settings["weight_block_size"], !value.isNull {
            guard let sizes = value.arrayValue?.map(\.intValue), sizes.count == 2, sizes.allSatisfy({ ($0 ?? 0) > 0 }) else {
                throw QuantisationRule.groupSize.broken(base.title, "weight_block_size is no pair of positive integers")
            }
            block = sizes.compactMap(\.self)
            base.title = "FP8, blocks of \(block?[0] ?? 0) x \(block?[1] ?? 0)"
        }
        for (stem, codes) in base.stems(".weight") where codes.dtype == .f8E4M3 {
            let name = codes.name
            if let scale = base.tensor(stem + ".weight_scale_inv") {
                guard let block else {
                    throw QuantisationRule.settings.broken(
                        base.title, "has scales of blocks, and the config has no weight_block_size", tensor: name,
                        help: "put the base's config.json beside its weights")
                }
                try base.add(try scaled(base, codes, scale, block: (block[0], block[1])))
            } else {
                let scale = try base.component(stem + ".weight_scale", of: name)
                try base.add(try scaled(base, codes, scale, block: nil))
            }
        }
        base.drop(endingIn: activations)
    }

    /// A weight with its scales on a grid; without a block size they are one a tensor or one a row, by their shape.
    static func scaled(
        _ base: QuantisedBase, _ codes: StoredTensor, _ scale: StoredTensor, zero: StoredTensor? = nil,
        block: (rows: Int, columns: Int)?, others: [StoredTensor] = []
    ) throws(PeftfileError) -> ScaledWeight {
        let name = codes.name
        guard codes.shape.count == 2, codes.info.elementCount > 0 else {
            throw QuantisationRule.componentShape.broken(base.title, "is no matrix", tensor: name)
        }
        let (rows, columns) = (codes.shape[0], codes.shape[1])
        let size: (rows: Int, columns: Int)
        let shapes: [Shape]
        if let block {
            size = block
            shapes = [[(rows - 1) / block.rows + 1, (columns - 1) / block.columns + 1]]
        } else if scale.info.elementCount == 1 {
            size = (rows, columns)
            shapes = [[], [1], [1, 1]]
        } else {
            size = (1, columns)
            shapes = [[rows, 1], [rows]]
        }
        let shape = shapes.first { $0 == scale.shape } ?? shapes[0]
        try base.require(scale, [.f32, .bf16, .f16, .f8E8M0, .u8], shape, for: name)
        if let zero { try base.require(zero, [.i8, .u8], scale.shape, for: name) }
        return ScaledWeight(
            name: name, shape: codes.shape, codes: codes, scale: scale, zero: zero, block: size, divisor: 1,
            scaleIsExponent: scale.dtype == .u8, others: others)
    }
}
