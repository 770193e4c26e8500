import ByteAccess
import Tensors

/// MLX's quantisation: affine of 1, 2, 3, 4, 5, 6 or 8 bits, W = scale · code + bias for each group of a row, and the modes mxfp4, nvfp4 and
/// mxfp8 of ``MLXFloatWeight``.
///
/// | tensor | dtype, shape |
/// |---|---|
/// | `m.weight` | U32 (out, in·bits/32), a bit stream along the row |
/// | `m.scales`, `m.biases` | 16-bit (out, in/group); of the other modes U8, and no biases |
///
/// Of a stack of experts (`switch_mlp.up_proj`) all of them have the experts as a first dimension.
///
/// `quantization` in config.json has `group_size`, `bits` and `mode`, and under a module's full name settings of its own or false. What these leave
/// out is as in `to_quantized`: affine, of 4 bits in groups of 64.
/// Source: `nn.quantize`, `affine_quantize` and `fp_quantize` in mlx; `QuantizedSwitchLinear` in mlx_lm/models/switch_layers.py.
enum MLXAffine: QuantisationScheme {
    static let name = "MLX affine"
    static let methods = ["mlx"]
    static let marks = [".scales", ".biases"]

    static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { tensor in
            let name = tensor.name.text
            return tensor.dtype == .u32 && name.hasSuffix(".weight") && checkpoint[ExactString(name.dropLast(7) + ".scales")] != nil
        }
    }

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        let common = (try base.integer("bits"), try base.integer("group_size"))
        base.title = "MLX affine, \(common.0) bits"
        var widths: Set<Int> = []
        var modes: Set<MLXFloatWeight.Mode> = []
        for (stem, codes) in base.stems(".weight") where codes.dtype == .u32 {
            var (bits, size) = common
            var mode = try base.text("mode") ?? "affine"
            if let own = base.settings[ExactString(stem)]?.objectValue {
                // They go to `to_quantized`, whose defaults are not the model's.
                mode = try base.text("mode", in: own) ?? "affine"
                let known = MLXFloatWeight.Mode(rawValue: mode)
                bits = own["bits"] == nil ? known?.bits ?? 4 : try base.integer("bits", in: own)
                size = own["group_size"] == nil ? known?.groupSize ?? 64 : try base.integer("group_size", in: own)
            }
            if let mode = MLXFloatWeight.Mode(rawValue: mode) {
                try base.add(try weight(base, stem, codes, mode, bits: bits, groupSize: size))
                modes.insert(mode)
                continue
            }
            guard mode == "affine" else {
                throw QuantisationRule.unsupportedPacking.broken(base.title, "mode \(mode) is not read", tensor: codes.name)
            }
            try base.add(try weight(base, stem, codes, bits: bits, groupSize: size))
            widths.insert(bits)
        }
        if widths.count > 1 {
            let sorted = widths.sorted().map { String($0) }
            base.title = "MLX affine, \(sorted.dropLast().joined(separator: ", ")) and \(sorted.last ?? "") bits"
        }
        guard !modes.isEmpty else { return }
        let names = MLXFloatWeight.Mode.allCases.filter(modes.contains).map(\.rawValue)
        base.title = "MLX " + names.joined(separator: ", ") + (widths.isEmpty ? "" : " and " + base.title.dropFirst("MLX ".count))
    }

    /// A weight whose codes are floats; bits and group size are those of the mode, or mlx takes them for a mistake.
    private static func weight(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, _ mode: MLXFloatWeight.Mode, bits: Int, groupSize: Int
    ) throws(PeftfileError) -> MLXFloatWeight {
        let name = codes.name
        guard bits == mode.bits, groupSize == mode.groupSize else {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "mode \(mode.rawValue) has \(mode.bits) bits and groups of \(mode.groupSize), and the config says \(bits) and \(groupSize)",
                tensor: name)
        }
        guard (2...3).contains(codes.shape.count), codes.info.elementCount > 0, let words = codes.shape.last, words * 32 / bits % groupSize == 0 else {
            throw QuantisationRule.componentShape.broken(
                base.title, "has shape \(codes.shape), which is no whole number of groups of \(groupSize) a row", tensor: name)
        }
        let columns = words * 32 / bits
        let scale = try base.component(stem + ".scales", of: name)
        try base.require(scale, [.u8], Array(codes.shape.dropLast() + [columns / groupSize]), for: name)
        return MLXFloatWeight(name: name, shape: codes.shape.dropLast() + [columns], codes: codes, mode: mode, scale: scale)
    }

    private static func weight(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, bits: Int, groupSize: Int
    ) throws(PeftfileError) -> RowPackedWeight {
        let name = codes.name
        guard [1, 2, 3, 4, 5, 6, 8].contains(bits) else {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "\(bits) bits are not read", tensor: name)
        }
        guard groupSize > 0 else {
            throw QuantisationRule.groupSize.broken(base.title, "group_size \(groupSize) is not positive", tensor: name)
        }
        guard codes.shape.count >= 2, codes.info.elementCount > 0, let words = codes.shape.last, words * 32 % bits == 0 else {
            throw QuantisationRule.componentShape.broken(
                base.title, "has shape \(codes.shape), which is no whole number of \(bits)-bit codes a row", tensor: name)
        }
        let columns = words * 32 / bits
        guard columns % groupSize == 0 else {
            throw QuantisationRule.groupSize.broken(
                base.title, "group_size \(groupSize) does not divide \(columns) columns", tensor: name)
        }
        let scale = try base.component(stem + ".scales", of: name)
        let biases = try base.component(stem + ".biases", of: name)
        let grid = codes.shape.dropLast() + [columns / groupSize]
        try base.require(scale, [.bf16, .f16, .f32], Array(grid), for: name)
        try base.require(biases, [.bf16, .f16, .f32], Array(grid), for: name)
        guard codes.shape.count <= 3 else {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "has shape \(codes.shape), and a matrix or a stack of matrices is read", tensor: name)
        }
        return RowPackedWeight(
            name: name, shape: codes.shape.dropLast() + [columns], codes: codes, bits: bits, groupSize: groupSize, scale: scale,
            offset: .biases(biases), groupIndex: nil, others: [])
    }
}
